"""A job that submitit submits to Slurm. Run with: python3 workflows/submitit_job.py [STEPS]

dmtcp-run stops before the time limit and requeues the job; submitit's own signal is not needed.
"""

import sys

import submitit

steps = sys.argv[1] if len(sys.argv) > 1 else "360000"
executor = submitit.AutoExecutor(folder="submitit", cluster="slurm")
executor.update_parameters(timeout_min=720, slurm_additional_parameters={"open_mode": "append"})
count = submitit.helpers.CommandFunction(["dmtcp-run", "--stdout", "out.txt", "build/count", steps], verbose=False)
job = executor.submit(count)
print(job.job_id, flush=True)
job.result()
