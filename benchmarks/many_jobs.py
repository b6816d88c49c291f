"""Measure a directory with many jobs, and many supervisors on one machine: what an array job makes of both.

Run it with ``make bench-many``. The jobs are copies of one that has run, with five generations each; images are hard
links. Each command is timed once with a warm cache. The supervisors supervise programs that sleep; their memory is the
proportional set size, which counts shared pages once, and their time on a processor is that of a minute without a
checkpoint. Programs and engines are not counted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

JOBS = int(os.environ.get("JOBS", "1000"))
SUPERVISORS = int(os.environ.get("SUPERVISORS", "100"))
GENERATIONS = 5
SETTLED_S = 120.0
WATCHED_S = 60.0
LARGEST_RECORD = 100_000
BOUND_S = 900.0
COMMANDS = (
    ["status"],
    ["report", "--all", "-o", "report.html"],
    ["list"],
    ["list", "--json"],
    ["prune", "--keep", "2", "--dry-run"],
    ["prune", "--keep", "2"],
)
RUN = shutil.which("dmtcp-run") or sys.exit("dmtcp-run is not on PATH: run this with 'make bench-many'")
CTL = shutil.which("dmtcp-ctl") or "dmtcp-ctl"


def main() -> None:
    """Measure and print both."""
    with tempfile.TemporaryDirectory(prefix="bench-many-") as folder:
        measure_commands(Path(folder) / "jobs")
        measure_supervisors(Path(folder) / "supervisors")


def measure_commands(folder: Path) -> None:
    """Print how long each command takes with JOBS jobs."""
    folder.mkdir()
    make_jobs(folder)
    print(f"{JOBS} jobs with {GENERATIONS} generations each")
    for words in COMMANDS:
        seconds = [timed(folder, words) for _ in range(2 if words[-1] != "2" else 1)]
        print(f"  dmtcp-ctl {' '.join(words):28} {seconds[-1]:6.2f} s")


def make_jobs(folder: Path) -> None:
    """Run one program with GENERATIONS checkpoints, and copy its job."""
    words = [RUN, "-q", "-i", "0", "--keep", str(GENERATIONS), "--job", "job0000", "sleep", "600"]
    run = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    jobs = folder / ".dmtcp-run"
    wait_until((jobs / "job0000/state.json").exists)
    for _ in range(GENERATIONS):
        ctl(folder, "checkpoint", "job0000")
    ctl(folder, "stop", "job0000")
    run.wait(BOUND_S)
    for number in range(1, JOBS):
        shutil.copytree(jobs / "job0000", jobs / f"job{number:04}", symlinks=True, copy_function=copy)


def copy(source: str, target: str) -> str:
    """Link an image, and copy a record."""
    if Path(source).stat().st_size > LARGEST_RECORD:
        os.link(source, target)
    else:
        shutil.copy2(source, target)
    return target


def measure_supervisors(folder: Path) -> None:
    """Print what SUPERVISORS supervisors use together, and how often their busiest file is rewritten."""
    folder.mkdir()
    argv = [RUN, "-q", "-i", "1h"]
    nothing = subprocess.DEVNULL
    started = [
        subprocess.Popen([*argv, "--job", f"job{n}", "sleep", "3600"], cwd=folder, stdout=nothing, stderr=nothing)
        for n in range(SUPERVISORS)
    ]
    try:
        jobs = folder / ".dmtcp-run"
        wait_until(lambda: len(list(jobs.glob("job*/state.json"))) == SUPERVISORS)
        # the first checkpoint comes early, to learn what one costs
        time.sleep(SETTLED_S)
        supervisors = [psutil.Process(one.pid) for one in started]
        before, began = cpu_s(supervisors), time.monotonic()
        most = rewrites(jobs, WATCHED_S)
        took = time.monotonic() - began
        memory = sum(one.memory_full_info().pss for one in supervisors)
        resident = sum(one.memory_info().rss for one in supervisors)
        print(f"{SUPERVISORS} supervisors: {memory / 1e9:.2f} GB (each page once; {resident / 1e9:.2f} GB resident)")
        print(f"  {100 * (cpu_s(supervisors) - before) / took:.1f} % of a core")
        print(f"  most rewritten file: {most[0]}, {most[1] / took:.2f} times a second")
    finally:
        for one in started:
            one.terminate()
        for one in started:
            with suppress(subprocess.TimeoutExpired):
                one.wait(BOUND_S)


def rewrites(jobs: Path, seconds: float) -> tuple[str, int]:
    """Return the file below JOBS that was changed most often within SECONDS, and how often; of ten jobs."""
    changes: Counter[str] = Counter()
    known: dict[Path, tuple[int, int]] = {}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for path in (path for n in range(10) for path in (jobs / f"job{n}").glob("*") if path.is_file()):
            with suppress(FileNotFoundError):
                found = path.stat()
                stamp = (found.st_ino, found.st_mtime_ns)
                changes[path.name + f" of {path.parent.name}"] += path in known and known[path] != stamp
                known[path] = stamp
        time.sleep(0.1)
    return changes.most_common(1)[0]


def cpu_s(processes: list[psutil.Process]) -> float:
    """Return the time on a processor that PROCESSES have used."""
    return sum(sum(one.cpu_times()[:2]) for one in processes)


def timed(folder: Path, words: list[str]) -> float:
    """Return how long ``dmtcp-ctl WORDS`` takes in FOLDER, in seconds."""
    began = time.perf_counter()
    ctl(folder, *words)
    return time.perf_counter() - began


def ctl(folder: Path, *words: str) -> None:
    """Run ``dmtcp-ctl WORDS`` in FOLDER."""
    subprocess.run([CTL, *words], cwd=folder, check=True, timeout=BOUND_S, stdout=subprocess.DEVNULL)


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until CONDITION is true."""
    until = time.monotonic() + BOUND_S
    while not condition():
        if time.monotonic() > until:
            sys.exit("waited in vain")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
