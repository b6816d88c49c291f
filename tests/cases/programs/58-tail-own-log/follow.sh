#!/bin/bash
: > run.log
for i in {1..18}; do echo "entry $i"; sleep 0.55; done >> run.log &
tail -n +1 -s 0.1 -f --pid=$! run.log | while read -r line; do echo "seen: $line"; done
wait
[ "$(wc -l < run.log)" = 18 ] && exit 35
exit 1
