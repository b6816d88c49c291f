"""Write stdout, stderr and three open files in DIR: files.py [STEPS] [DIR]."""

import sys
import time
import zlib
from pathlib import Path

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
folder = Path(sys.argv[2] if len(sys.argv) > 2 else ".")
names = [folder / name for name in ("files.log", "files.out", "files.dat")]
names[0].unlink(missing_ok=True)

with (
    open(names[0], "a") as log,
    open(names[1], "w") as out,
    open(names[2], "w+b") as dat,
):
    dat.write(b"%09d\n" % 1 * (steps + 1))
    for step in range(1, steps + 1):
        dat.seek(10 * (step - 1))
        x = (16807 * int(dat.read(10)) + step) % 99999989
        dat.seek(10 * step)
        dat.write(b"%09d\n" % x)
        log.write(f"step {step}\n")
        log.flush()
        out.write(f"{step} {x}\n")
        print(step, x)
        print("warning:", step, "of", steps, file=sys.stderr)
        time.sleep(0.1)

print("done", steps, *[zlib.crc32(name.read_bytes()) for name in names])
