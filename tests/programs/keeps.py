"""Keep lines in files in one of the ways that programs do: keeps.py WAY [STEPS].

append      a file stays open for append
reopen      it is opened for append, written and closed each time
rewrite     a new file takes its place each time
temporary   a file in TMPDIR, with a name
deleted     a file without a name any more, read back at the end
mapped      a file mapped as shared memory and written there
locked      a file with a lock, updated in place
"""

import fcntl
import mmap
import os
import sys
import tempfile
import time

way = sys.argv[1]
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 300
x = 1


def next_line(step):
    """Return the line of a step, and go on to the next."""
    global x
    x = (16807 * x + step) % 2147483647
    return f"{step:06} {x:010}\n".encode()


def appended(step):
    """Write to a file that stays open."""
    log.write(next_line(step))
    log.flush()


def reopened(step):
    """Open, write, close."""
    with open("kept.txt", "ab") as file:
        file.write(next_line(step))


def rewritten(step):
    """Make a new file of the old one's lines and one more."""
    old = open("kept.txt", "rb").read() if step > 1 else b""
    with open("kept.new", "wb") as file:
        file.write(old + next_line(step))
        os.fsync(file.fileno())
    os.replace("kept.new", "kept.txt")


def mapped(step):
    """Write into memory that is the file."""
    line = next_line(step)
    memory[len(line) * (step - 1) : len(line) * step] = line


def locked(step):
    """Replace the first line under a lock that is always held, and add one."""
    line = next_line(step)
    log.seek(0)
    log.write(line)
    log.seek(0, os.SEEK_END)
    log.write(line)
    log.flush()
    other = open("kept.txt", "rb")
    fcntl.flock(log, fcntl.LOCK_EX)
    try:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        print("the lock is lost")
    except BlockingIOError:
        pass
    other.close()


if way in ("append", "locked"):
    log = open("kept.txt", "ab" if way == "append" else "w+b")
elif way in ("temporary", "deleted"):
    log = tempfile.NamedTemporaryFile() if way == "temporary" else tempfile.TemporaryFile(dir=".")
elif way == "mapped":
    log = open("kept.txt", "w+b")
    log.truncate(18 * steps)
    memory = mmap.mmap(log.fileno(), 0)
if way == "locked":
    fcntl.flock(log, fcntl.LOCK_EX)
step_of = {"reopen": reopened, "rewrite": rewritten, "mapped": mapped, "locked": locked}.get(way, appended)
for step in range(1, steps + 1):
    step_of(step)
    print(step, x, flush=True)
    time.sleep(0.1)
if way in ("temporary", "deleted"):
    log.seek(0)
    open("kept.txt", "wb").write(log.read())
    print(os.fstat(log.fileno()).st_nlink)
print("done", steps, x)
