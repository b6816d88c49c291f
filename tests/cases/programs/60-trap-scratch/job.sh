#!/bin/bash
scratch=$PWD/scratch.$$
seen=0
trap 'seen=$((seen + 1))' USR1
trap 'rm -rf "$scratch"; echo "cleaned"' EXIT
mkdir "$scratch"
for i in {1..18}; do
    echo "value $i" >> "$scratch/values"
    kill -USR1 $$
    echo "step $i signals $seen values $(wc -l < "$scratch/values")"
    sleep 0.55
done
cp "$scratch/values" result.txt
exit 39
