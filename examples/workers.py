"""Share each step among forked worker processes: workers.py [STEPS]."""

import multiprocessing
import sys
import time


def work(x):
    """Iterate a random number generator from x, then rest."""
    for _ in range(10000):
        x = (1103515245 * x + 12345) % 2**31
    time.sleep(0.04)
    return x


def main():
    """Let three workers turn six numbers into the next six."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    values = list(range(6))
    with multiprocessing.get_context("fork").Pool(3) as pool:
        for step in range(1, steps + 1):
            values = pool.map(work, values, chunksize=1)
            values[step % 6] += values[0]
            print(step, sum(values))
    print("done", steps, *values)


if __name__ == "__main__":
    main()
