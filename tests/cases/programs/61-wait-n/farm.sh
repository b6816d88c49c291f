#!/bin/bash
task() { sleep "$2"; echo "task $1 done" >> "task-$1.log"; exit "$1"; }
next=1; running=0; sum=0
for length in 0.9 1.3 0.9 1.3 0.9 1.3 0.9 1.3 0.9 1.3 0.9 1.3; do
    if [ $running = 2 ]; then wait -n; sum=$((sum + $?)); running=$((running - 1)); echo "ended, sum $((sum > 0))"; fi
    task $next "$length" & next=$((next + 1)); running=$((running + 1))
done
while [ $running -gt 0 ]; do wait -n; sum=$((sum + $?)); running=$((running - 1)); echo "ended, sum $((sum > 0))"; done
echo "sum of all statuses $sum"
exit $((sum - 35))
