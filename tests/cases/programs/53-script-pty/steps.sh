#!/bin/bash
[ -t 1 ] && kind=terminal || kind="no terminal"
stty -echo cols 91 rows 33
for i in {1..18}; do
    echo "step $i on a $kind of $(stty size)"
    sleep 0.55
done
exit 23
