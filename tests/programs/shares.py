"""shares.py FOLDER STEPS: uses files that its user reaches through a group alone, and makes and removes others there."""

import os
import sys
import time

folder, steps = sys.argv[1], int(sys.argv[2])
table, log = open(f"{folder}/table", "r+b"), open(f"{folder}/log", "a")
for step in range(steps):
    table.seek(8 * (step % 16))
    table.write(b"%07d\n" % step)
    table.flush()
    print(step, file=log, flush=True)
    with open(f"{folder}/new", "w") as new:
        new.write(str(step))
    os.replace(f"{folder}/new", f"{folder}/new{step % 7}")
    if step % 5 == 4:
        os.unlink(f"{folder}/new{step % 7}")
    print(step, open(f"{folder}/read").read(), len(os.listdir(folder)), flush=True)
    time.sleep(0.1)
