#!/bin/bash
# Submit with: bsub < lsf.sh
# The time limit, in hours and minutes; the program may run many times as long.
#BSUB -W 12:00
#BSUB -o lsf.%J.log
# Jobs that end with this status are requeued. Without this line dmtcp-run uses brequeue.
#BSUB -Q "85"

# Stops before the time limit with a checkpoint and exits with 85. So this must be the last line, or: dmtcp-run … || exit
dmtcp-run --stdout out.txt build/count "${STEPS:-360000}"
