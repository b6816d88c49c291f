"""Count, with a running sum: counter.py [STEPS]."""

import sys
import time

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
total = 0

for step in range(1, steps + 1):
    for i in range(20000):
        total = (total * 31 + i + step) % 1000003
    print("counter", step, "total", total)
    time.sleep(0.1)

print("done", steps, total)
