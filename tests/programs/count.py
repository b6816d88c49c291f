"""Count, with a running number from a generator: count.py STEPS [NAME...] [OPTIONS].

Each step prints its number and the generator's, at once. NAMEs change nothing: they make two command lines differ.
The output depends on STEPS only, whatever memory, files and pauses the options ask for.
"""

import argparse
import os
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("steps", type=int)
parser.add_argument("names", nargs="*")
parser.add_argument("--pause", type=float, default=0.1, help="seconds between two steps")
parser.add_argument("--status", type=int, default=0, help="exit status")
parser.add_argument("--signal", type=int, default=0, help="signal that the program sends itself at its end")
parser.add_argument("--ballast", type=int, default=0, help="megabytes of memory, from the start")
parser.add_argument("--ballast-when", metavar="FILE", help="160 MB of memory, from the moment at which FILE exists")
parser.add_argument("--ledger", metavar="FILE", help="add the number of each step to FILE, opened for each step")
parser.add_argument("--append", metavar="FILE", help="the same, with a file that stays open for append")
parser.add_argument("--write", metavar="FILE", help="the same, with a file that is overwritten at the start")
parser.add_argument("--stamps", metavar="FOLDER", help="make a file in FOLDER for each step, named by step and time")
parser.add_argument("--stderr", action="store_true", help="print each line to standard error too, after the word err")
parser.add_argument("--terminal", action="store_true", help="add to each line whether it goes to a terminal")
parser.add_argument("--until", metavar="FILE", help="wait for FILE after the last step")
words = parser.parse_intermixed_args()

ballast = bytes(range(256)) * (words.ballast << 12 or 1)
later = None
kept = open(words.append, "a") if words.append else open(words.write, "w") if words.write else None
x = words.steps
for step in range(1, words.steps + 1):
    x = (16807 * x + ballast[x % len(ballast)]) % 2147483647
    line = f"{step} {x}"
    if words.terminal:
        line += f" {sys.stdout.isatty()}"
    print(line, flush=True)
    if words.stderr:
        print("err", line, file=sys.stderr, flush=True)
    if words.ledger:
        with open(words.ledger, "a") as ledger:
            ledger.write(f"{step}\n")
    if kept:
        print(step, file=kept, flush=True)
    if words.stamps:
        os.mknod(f"{words.stamps}/{step}.{time.time_ns()}")
    if words.ballast_when and later is None and os.path.exists(words.ballast_when):
        later = bytes(range(256)) * (160 << 12)
    time.sleep(words.pause)
while words.until and not os.path.exists(words.until):
    time.sleep(0.02)
print("done", words.steps, x, flush=True)
if words.signal:
    os.kill(os.getpid(), words.signal)
sys.exit(words.status)
