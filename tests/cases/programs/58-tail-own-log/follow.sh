#!/bin/bash
: > run.log
for i in {1..36}; do echo "entry $i"; sleep 0.25; done >> run.log &
tail -n +1 -s 0.1 -f --pid=$! run.log | while read -r line; do echo "seen: $line"; done
wait
[ "$(wc -l < run.log)" = 36 ] && exit 35
exit 1
