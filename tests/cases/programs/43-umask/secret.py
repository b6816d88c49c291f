import os, stat, sys, time

os.umask(0o077)  # results are nobody else's business
for step in range(40):
    with open(f"result-{step:02}.txt", "w") as f:
        f.write(f"{step}\n")
    print("step", step, oct(stat.S_IMODE(os.stat(f"result-{step:02}.txt").st_mode)), flush=True)
    time.sleep(0.25)
sys.exit(3)
