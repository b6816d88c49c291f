#!/bin/bash
# One program, on a site that does not allow requeueing. Submit with: sbatch chain.sh [STEPS]
#SBATCH --time=12:00:00
# All jobs of the chain append to one log.
#SBATCH --open-mode=append
#SBATCH --output=chain.log
# As the site sets it. It also keeps Slurm from requeueing the job after a node failure or a preemption.
#SBATCH --no-requeue
#SBATCH --job-name=chain

# --at-limit resubmit: before the time limit, dmtcp-run submits the same script again, with the same options and
# arguments, as a job that runs after this one. This job exits with 85, the last one with the program's own status.
dmtcp-run --at-limit resubmit --stdout out.txt build/count "${1:-360000}"
