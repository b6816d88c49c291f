#!/bin/bash
# One program. Submit with: sbatch single.sh [STEPS]
# A time limit with a short wait in the queue; the program may run many times as long.
#SBATCH --time=12:00:00
# A requeued job appends to its log; without this option it would empty it.
#SBATCH --open-mode=append
#SBATCH --job-name=single

# Stops before the time limit with a checkpoint, requeues the job, and resumes there. As the last line, its status is the
# job's: at the end, the program's own. --stdout writes the file that an uninterrupted run would have written.
dmtcp-run --stdout out.txt build/count "${1:-360000}"
