"""Keep the running total in a file, overwritten each step: ledger.py [STEPS] [FILE]."""

import sys
import time

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
name = sys.argv[2] if len(sys.argv) > 2 else "ledger.dat"

with open(name, "w+") as ledger:
    ledger.write("000000001\n")
    for step in range(1, steps + 1):
        ledger.seek(0)
        total = (16807 * int(ledger.readline()) + step) % 99999989
        ledger.seek(0)
        ledger.write(f"{total:09d}\n")
        ledger.flush()
        print(step, total)
        time.sleep(0.1)

print("done", steps, total)
