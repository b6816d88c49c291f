#!/bin/bash
# Pipes and children: short-lived ones in each step, and lasting ones around all steps: pipeline.sh [STEPS]
export LC_ALL=C
steps=${1:-300}

numbers() {
    awk -v seed="$1" 'BEGIN { x = seed; for (i = 0; i < 200; i++) print x = (x * 16807) % 2147483647 }'
}

x=1
for ((step = 1; step <= steps; step++)); do
    x=$(numbers "$x" | sort -n | sed -n '1~9p' | (read -r least; cksum | sed 's/ .*//'; echo "$least") |
        awk '{ s += $1 } END { print s % 2147483646 + 1 }')
    echo "$step $x"
    sleep 0.08
done | awk '{ total = (total * 31 + $2) % 1000000007; last = $1; print $0, total }
    END { print "done", last + 0, total + 0 }' | sed 's/^/pipeline /; s/^pipeline done/done/'
