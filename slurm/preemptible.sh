#!/bin/bash
# One program in a partition whose jobs may be ended at any moment. Submit with: sbatch preemptible.sh [STEPS]
#SBATCH --partition=preemptible
#SBATCH --time=12:00:00
#SBATCH --open-mode=append
# Slurm itself brings a preempted job back; some sites do that only for jobs that ask for it.
#SBATCH --requeue
#SBATCH --job-name=preemptible

# exec: Slurm's SIGTERM reaches dmtcp-run, and not a shell that dies of it; a last checkpoint is then tried in the few
# seconds that are left. -i 5m: where they are too few, no more is lost than the time since the checkpoint before.
exec dmtcp-run -i 5m --stdout out.txt build/count "${1:-360000}"
