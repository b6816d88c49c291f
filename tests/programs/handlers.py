"""Handle SIGUSR1 and SIGTERM, which a child sends: handlers.py [STEPS]. Ends by SIGTERM's handler with status 9."""

import os
import signal
import sys
import time

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
counted = []


def count(number, _):
    """Count a signal."""
    counted.append(signal.Signals(number).name)


def leave(*_):
    """Say what was counted, and leave."""
    print("done", len(counted), sorted(set(counted)), flush=True)
    sys.exit(9)


signal.signal(signal.SIGUSR1, count)
signal.signal(signal.SIGTERM, count)
child = os.fork()
if child == 0:
    while True:
        signal.pause()
for step in range(1, steps + 1):
    os.kill(os.getpid(), signal.SIGUSR1 if step % 2 else signal.SIGTERM)
    print(step, counted[-1], len(counted), flush=True)
    time.sleep(0.1)
os.kill(child, signal.SIGKILL)
print(os.waitpid(child, 0)[1])
signal.signal(signal.SIGTERM, leave)
os.kill(os.getpid(), signal.SIGTERM)
