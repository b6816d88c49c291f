import sys, time

source = open("input.txt")
out = open("result.txt", "w")
for step in range(40):
    line = source.readline().strip()
    out.write(f"{step} {line}\n")
    out.flush()
    print("step", step, line, flush=True)
    time.sleep(0.25)
sys.exit(39)
