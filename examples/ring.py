"""Pass numbers around a ring of processes, and sum them over all processes, with mpi4py: ring.py [STEPS] [STATUS]."""

import sys
import time

from mpi4py import MPI

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
world = MPI.COMM_WORLD
rank, size = world.Get_rank(), world.Get_size()
x = rank + 1
seen = []
for step in range(1, steps + 1):
    got = world.sendrecv({"x": x, "padding": "." * 100_000}, (rank + 1) % size, source=(rank - 1) % size)
    x = (16807 * got["x"] + step) % 2147483647
    seen.append(world.allreduce(x))
    if rank == 0:
        print(step, seen[-1], sum(seen) % 1000003, flush=True)
    time.sleep(0.1)
if rank == 0:
    print("done", steps, sum(seen), flush=True)
sys.exit(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
