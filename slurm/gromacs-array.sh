#!/bin/bash
# GROMACS in a chain of short jobs: an array, one task at a time. Submit with: sbatch gromacs-array.sh [STEPS]
# The time limit of each task.
#SBATCH --time=12:00:00
#SBATCH --open-mode=append
# At most ten tasks; %1 runs one at a time.
#SBATCH --array=1-10%1
#SBATCH --job-name=gromacs

# --array-chain: all tasks continue one job. If a task was cancelled or preempted, or may not be requeued, the next one
# resumes. Tasks left over when mdrun has finished end at once, with its status. Without an array and this option, one
# job that requeues itself does the same.
# -cpt -1: mdrun writes no checkpoints of its own. -reprod, with a fixed number of threads: equal numbers in every run.
dmtcp-run --array-chain --stdout out.txt --stderr mdrun.txt gmx mdrun -s build/water.tpr -deffnm water \
    -ntmpi 1 -ntomp "${SLURM_CPUS_PER_TASK:-1}" -pin off -reprod -cpt -1 -nsteps "${1:-500000000}"
