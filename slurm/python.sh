#!/bin/bash
# A program in Python. Submit with: sbatch python.sh [STEPS]
#SBATCH --time=12:00:00
#SBATCH --open-mode=append
#SBATCH --job-name=python

# Activate an environment before this line (. venv/bin/activate). It must be on a file system that all nodes see.
dmtcp-run --stdout out.txt python3 counter.py "${1:-360000}"
