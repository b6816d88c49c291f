#!/bin/bash
# OpenPBS and PBS Professional. Submit with: qsub [-v STEPS=…] openpbs.sh
# The time limit; the program may run many times as long.
#PBS -l select=1:ncpus=1 -l walltime=12:00:00
#PBS -j oe

cd "$PBS_O_WORKDIR" || exit
# Stops before the time limit with a checkpoint, and submits this script again, to run after this job.
dmtcp-run --stdout out.txt build/count "${STEPS:-360000}"
