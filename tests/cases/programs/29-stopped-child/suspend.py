import os, signal, subprocess, sys, time

child = subprocess.Popen(
    [
        sys.executable,
        "-u",
        "-c",
        "import time\nfor i in range(72):\n    open('child.txt', 'a').write(f'{i}\\n')\n    time.sleep(0.25)",
    ]
)
time.sleep(1)
os.kill(child.pid, signal.SIGSTOP)  # as a scheduler or a workflow tool suspends what waits for memory
for step in range(28):
    print("step", step, flush=True)
    time.sleep(0.25)
os.kill(child.pid, signal.SIGCONT)
for line in range(8, 72, 4):
    while len(open("child.txt").read().split()) < line:
        time.sleep(0.05)
    print("child wrote", line, flush=True)
print("child", child.wait(), len(open("child.txt").read().split()), flush=True)
sys.exit(49)
