"""Measure how pause, commit and resume grow with a program's memory, processes, changed files, and generations.

Run it with ``make bench-scale`` on an idle machine; it takes about ten minutes. ENGINE chooses the engine (dmtcp), RUNS
how often each point is measured (3), and MOST_MB the largest program (8000), which needs twice its memory: images are
on a file system in memory, and the program's files on the disk of TMPDIR. A point is one life: checkpoints, SIGKILL,
and a resume. Below each series stand its slopes: what one more of its kind costs, by least squares over all its points.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from bare import BOUND_S

from engines import CTL, LOOP, RUN, EngineHere, start, wait_for

RUNS = int(os.environ.get("RUNS", "3"))
MOST_MB = int(os.environ.get("MOST_MB", "8000"))
HERE = EngineHere("", os.environ.get("ENGINE", "dmtcp"), {})
PROGRAM = """
import os, sys, time
size, processes, files = map(int, sys.argv[1:])
memory = bytearray(size * 1_000_000)
with open("/dev/urandom", "rb", buffering=0) as source:
    done, view = 0, memoryview(memory)
    while done < len(memory):
        done += source.readinto(view[done : done + 1_000_000])
mother = os.getpid()
for number in range(processes - 1):
    if os.fork() == 0:
        while os.getppid() == mother:
            time.sleep(1)
        os._exit(0)
def write():
    for number in range(files):
        with open(f"file-{number}", "w") as file:
            file.write("changed")
write()
asked = write
"""


class Size(NamedTuple):
    """How large a program is; FILES are changed before its checkpoint, and once more after it."""

    mb: int = 10
    processes: int = 1
    files: int = 0
    generations: int = 1


class Seen(NamedTuple):
    """What a point costs, in seconds."""

    pause_s: float
    commit_s: float
    resume_s: float


SERIES = {
    "memory, MB": [Size(mb=mb) for mb in (10, 100, 1000, 2000, 4000, 8000) if mb <= MOST_MB],
    "processes": [Size(processes=number) for number in (1, 10, 50, 100, 200)],
    "files changed": [Size(files=number) for number in (10, 1_000, 10_000, 100_000)],
    "generations": [Size(generations=number) for number in (1, 5, 20)],
}


def main() -> None:
    """Print each series, and its slopes."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        os.chdir(folder)
        job = Path(memory) / "job"
        for field, (name, sizes) in enumerate(SERIES.items()):
            print(f"{name:20}{'pause s':>10}{'commit s':>10}{'resume s':>10}")
            points = {size[field]: median([measure(size, job) for _ in range(RUNS)]) for size in sizes}
            for number, seen in points.items():
                print(f"{number:<20}" + "".join(f"{value:10.3f}" for value in seen), flush=True)
            columns = zip(*points.values(), strict=True)
            slopes = [statistics.linear_regression(list(points), column).slope for column in columns]
            print(f"{'one more, in ms':20}" + "".join(f"{1000 * slope:10.4f}" for slope in slopes) + "\n", flush=True)
        os.chdir("/")


def median(found: list[Seen]) -> Seen:
    """Return the median of each column."""
    return Seen(*map(statistics.median, zip(*found, strict=True)))


def measure(size: Size, job: Path) -> Seen:
    """Return what the last checkpoint of a program, and its resume, cost; the images are in the directory of JOB."""
    shutil.rmtree(job.parent / job.name, ignore_errors=True)
    for path in Path.cwd().iterdir():
        path.unlink()
    there, keep = ["--dir", str(job.parent)], ["--keep", str(size.generations)]
    options = ["--engine", HERE.name, *there, *keep, "--job", job.name, "-i", "0", "--json"]
    line = [RUN, *options, sys.executable, "-c", PROGRAM + LOOP, *map(str, size[:3])]
    process = start(line, HERE)
    wait_for(Path("ready").exists, process)
    for _ in range(size.generations):
        subprocess.run([CTL, *there, "checkpoint", job.name], check=True, capture_output=True, timeout=BOUND_S)
    Path("ask").touch()
    wait_for(lambda: not Path("ask").exists(), process)
    pause_s = float(Path("pause").read_text(encoding="ascii"))
    process.kill()
    process.wait(BOUND_S)
    manifest = json.loads((job / f"generations/{size.generations:06}/manifest.json").read_bytes())
    began = time.monotonic()
    process = start(line, HERE)
    wait_for(lambda: '"resumed"' in Path("err").read_text(encoding="utf-8"), process)
    resume_s = time.monotonic() - began
    Path("stop").touch()
    process.wait(BOUND_S)
    return Seen(pause_s, manifest["cost"]["commit_s"], resume_s)


if __name__ == "__main__":
    main()
