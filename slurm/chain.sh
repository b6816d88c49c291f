#!/bin/bash
# One program, where the site does not let jobs be requeued. Submit with: sbatch chain.sh [STEPS]
#SBATCH --time=12:00:00
# All jobs of the chain write to one log.
#SBATCH --open-mode=append
#SBATCH --output=chain.log
# As the site has it; with this no node failure and no preemption brings the job back either.
#SBATCH --no-requeue
#SBATCH --job-name=chain

# --at-limit resubmit: before the limit the same script is submitted once more with the same options and arguments, as
# a job that runs after this one. This one ends with 85, the last of the chain with the program's own status.
dmtcp-run --at-limit resubmit --stdout out.txt build/count "${1:-360000}"
