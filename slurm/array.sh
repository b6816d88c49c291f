#!/bin/bash
# The same program for many inputs, side by side. Submit with: sbatch array.sh [STEPS]
# The time limit of each task.
#SBATCH --time=12:00:00
#SBATCH --open-mode=append
# Five tasks, two at a time. Each is a job of its own: it stops, is requeued and resumes on its own, on any node.
#SBATCH --array=1-5%2
#SBATCH --job-name=array

# The task's number is part of the job's name, so all tasks may use the same line. Here it selects the work too.
dmtcp-run --stdout "out.$SLURM_ARRAY_TASK_ID.txt" build/count $((${1:-360000} + SLURM_ARRAY_TASK_ID))
