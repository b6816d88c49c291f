#!/bin/bash
# a producer and a consumer with a named pipe between them, as workflow tools connect two programs
mkfifo rows
bash producer.sh > rows &
n=0
while read -r word number; do
    n=$((n + number)); echo "$word $number sum $n"
done < rows
wait $!
producer=$?
rm rows
[ $n = 171 ] && exit $((producer + 8))
exit 1
