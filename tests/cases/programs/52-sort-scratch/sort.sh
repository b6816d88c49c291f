#!/bin/bash
# the input comes slowly and is larger than the memory that sort may have, so that it writes and merges parts
set -o pipefail
exec 3>&1
mkdir -p scratch
for i in {1..18}; do
    awk -v i="$i" 'BEGIN { for (k = 0; k < 3000; k++) printf "%08d line %d of %d\n", (k * 7919 + i * 104729) % 1000003, k, i }'
    echo "part $i" >&3
    sleep 0.55
done | sort -S 64K --batch-size=4 -T scratch -o sorted.txt
status=$?
echo "left in scratch: $(ls scratch | wc -l)"
md5sum < sorted.txt
exit $((status + 21))
