#!/bin/bash
# One program. Submit with: sbatch single.sh [STEPS]
# A limit that the site gives soon; the program may take many times as long.
#SBATCH --time=12:00:00
# A requeued job adds to its log; without this it would begin with an empty one.
#SBATCH --open-mode=append
#SBATCH --job-name=single

# Ends before the limit with a checkpoint, requeues the job, and resumes there. As the last line its status is the
# job's: the program's own at the end. --stdout gives the file that an uninterrupted run would have written.
dmtcp-run --stdout out.txt build/count "${1:-360000}"
