#!/bin/bash
# One program in a partition whose jobs may be ended at any moment. Submit with: sbatch preemptible.sh [STEPS]
#SBATCH --partition=preemptible
#SBATCH --time=12:00:00
#SBATCH --open-mode=append
# Slurm requeues a preempted job; some sites do so only for jobs with this option.
#SBATCH --requeue
#SBATCH --job-name=preemptible

# exec: Slurm's SIGTERM reaches dmtcp-run instead of a shell that dies of it. dmtcp-run then tries a last checkpoint in
# the few seconds that are left. -i 5m: if they are too few, only the time since the previous checkpoint is lost.
exec dmtcp-run -i 5m --stdout out.txt build/count "${1:-360000}"
