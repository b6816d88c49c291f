import os, sys, tempfile, time

named = open("scratch.dat", "w+b")
os.unlink("scratch.dat")  # and used on, as C programs do
nameless = tempfile.TemporaryFile(dir=".")
for step in range(36):
    for file in (named, nameless):
        file.seek(step * 100)
        file.write(b"%04d" % step * 25)
        file.flush()
    if step % 4 == 0:
        with open("scratch.dat", "a") as other:  # the same name again
            other.write(f"{step}\n")
    sums = []
    for file in (named, nameless):
        file.seek(0)
        sums.append(sum(file.read()) % 10007)
    print("step", step, *sums, os.fstat(named.fileno()).st_nlink, flush=True)
    time.sleep(0.25)
sys.exit(47)
