#!/bin/bash
# All files of a directory, one after another, in one job. Submit with: sbatch campaign.sh [INPUTS [RESULTS]]
# For inputs side by side see array.sh.
#SBATCH --time=12:00:00
#SBATCH --open-mode=append
#SBATCH --job-name=campaign

inputs=${1:-inputs}
results=${2:-results}
mkdir -p "$results"

for input in "$inputs"/*; do
    result=$results/${input##*/}
    # An input with a result is finished: by an earlier run of this job, or by a job submitted before.
    [ -e "$result" ] && continue
    # Another input is another job, with its own checkpoints. 'exit' keeps the status: 85 means that this input is
    # checkpointed, and the requeued job resumes it. Any other status is the program's, and stops the campaign.
    dmtcp-run --stdin "$input" --stdout "$result.part" python3 lines.py || exit
    # Only a complete result has the final name.
    mv "$result.part" "$result"
done
