#!/bin/bash
# A program in R. Submit with: sbatch r.sh [STEPS]
#SBATCH --time=12:00:00
#SBATCH --open-mode=append
#SBATCH --job-name=r

# Load modules before this line (module load R): the program keeps the environment of its first start.
dmtcp-run --stdout out.txt Rscript walk.R "${1:-360000}"
