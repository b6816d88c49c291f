#!/bin/bash
# A program in GNU Octave, or MATLAB. Submit with: sbatch octave.sh [STEPS]
#SBATCH --time=12:00:00
#SBATCH --open-mode=append
#SBATCH --job-name=octave

# octave-cli opens no windows, which could not be checkpointed. With MATLAB, -nodisplay and -nojvm do the same, and
# -batch makes MATLAB exit with the program's status:
#     dmtcp-run --stdout out.txt matlab -nodisplay -nojvm -batch simulate
dmtcp-run --stdout out.txt octave-cli iterate.m "${1:-360000}"
