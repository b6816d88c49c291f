import fcntl, os, subprocess, sys, time

OTHER = """
import fcntl, sys
busy = []
for name, take in (("whole", fcntl.flock), ("record", fcntl.lockf)):
    with open(name + ".lock", "a+") as file:
        try:
            take(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            busy.append("free")
        except OSError:
            busy.append("busy")
print(*busy)
"""
whole, record = open("whole.lock", "a+"), open("record.lock", "a+")
fcntl.flock(whole, fcntl.LOCK_EX)
fcntl.lockf(record, fcntl.LOCK_EX)
for step in range(17):
    other = subprocess.run([sys.executable, "-S", "-c", OTHER], capture_output=True, text=True)
    print("step", step, other.stdout.strip(), flush=True)
    time.sleep(0.55)
sys.exit(19)
