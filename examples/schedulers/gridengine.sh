#!/bin/bash
# Submit with: qsub gridengine.sh [STEPS]
#$ -S /bin/bash -cwd -j y
# The time limit; the program may run many times as long.
#$ -l h_rt=12:00:00

# Stops before the time limit with a checkpoint and exits with 99, for which Grid Engine requeues the job. So this must be
# the last line, or: dmtcp-run … || exit
dmtcp-run --stdout out.txt build/count "${1:-360000}"
