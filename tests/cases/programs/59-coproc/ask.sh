#!/bin/bash
coproc SQUARE { total=0; while read -r number; do total=$((total + number * number)); echo "$number $total"; done; exit 5; }
for i in {1..18}; do
    echo "$i" >&"${SQUARE[1]}"
    read -r -t 20 number total <&"${SQUARE[0]}" || exit 1
    echo "asked $i, answer $number $total"
    sleep 0.55
done
pid=$SQUARE_PID
exec {SQUARE[1]}>&-
wait "$pid"
exit $((32 + $?))
