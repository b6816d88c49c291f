import os, resource, sys, time

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
os.mkdir("parts")
files = [open(f"parts/{number:04}", "w+") for number in range(1000)]
for step in range(30):
    for number, file in enumerate(files):
        file.write(f"{step} {number}\n")
        file.flush()
    wrong = sum(os.fstat(file.fileno()).st_size != os.stat(file.name).st_size for file in files)
    print("step", step, "wrong", wrong, resource.getrlimit(resource.RLIMIT_NOFILE)[0], flush=True)
    time.sleep(0.3)
sys.exit(45)
