"""Have a child compute each step: children.py WAY [STEPS]; WAY is subprocess, system or blas (with numpy besides)."""

import os
import subprocess
import sys
import time

way = sys.argv[1]
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 100
x, trace = 1, ""
if way == "blas":
    import numpy as np

    a = np.arange(90000.0).reshape(300, 300) ** 2 % 1009
    power = np.eye(300)

for step in range(1, steps + 1):
    if way == "system":
        status = os.system(f"exit $(({x} * 69 % 251 + 1))")
        x = os.waitstatus_to_exitcode(status) + step
    else:
        line = ["sh", "-c", f"echo $(((16807 * {x} + {step}) % 2147483647))"]
        x = int(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
    if way == "blas":
        power = (a @ power + step) % 1009
        trace = int(power.trace())
    print(step, x, trace, flush=True)
    time.sleep(0.6)
print("done", steps, x, trace)
