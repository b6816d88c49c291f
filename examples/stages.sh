#!/bin/bash
# Numbers pass through a pipe that lasts as long as the script; one child in each step: stages.sh [STEPS]
# A step lasts half a second.
steps=${1:-300}
x=1

for ((step = 1; step <= steps; step++)); do
    x=$(((1103515245 * x + 12345 + step) % 2147483648))
    echo "$step $x"
    sleep 0.5
done | awk '{ total = (total * 31 + $2) % 1000000007; print $1, $2, total } END { print "done", NR, total }' |
    sed 's/^/stages /; s/^stages done/done/'
