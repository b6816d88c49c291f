import os, signal, subprocess, sys, time

seen = 0


def handler(signum, frame):
    global seen
    seen += 1


signal.signal(signal.SIGUSR2, handler)
for step in range(40):
    os.kill(os.getpid(), signal.SIGUSR2)
    time.sleep(0.25)
    print("step", step, "signals", seen, flush=True)
sys.exit(12 if seen == 40 else 1)
