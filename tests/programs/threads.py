"""Share each step among threads that wait for each other: threads.py [STEPS]."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
values = [1, 2, 3, 4]
lock = threading.Condition()


def work(x):
    """Iterate a random number generator from x, then rest."""
    for _ in range(1000):
        x = (1103515245 * x + 12345) % 2**31
    with lock:
        lock.wait(0.08)
    return x


with ThreadPoolExecutor(4) as pool:
    for step in range(1, steps + 1):
        values = list(pool.map(work, values))
        print(step, sum(values), flush=True)
        time.sleep(0.02)
print("done", steps, *values)
