import subprocess, sys, time

quick = [subprocess.Popen(["sh", "-c", f"exit {code}"]) for code in (7, 0, 5)]
killed = subprocess.Popen(["sh", "-c", "kill -TERM $$"])
for step in range(40):
    print("step", step, flush=True)
    time.sleep(0.25)
codes = [one.wait() for one in quick] + [killed.wait()]
print("children ended with", codes, flush=True)
sys.exit(4 if codes == [7, 0, 5, -15] else 1)
