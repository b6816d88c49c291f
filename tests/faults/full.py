"""The disk with a job's directory, or the one with temporary files, is full for some seconds at a random moment.

The program goes on, what was committed is whole meanwhile, nothing is said again and again, and space that is freed is
used: there is another generation then. Needs root, which mounts the disks.
"""

from __future__ import annotations

import os
import random
import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from faults.figures import End, Trial
from kit.bench import Workbench, counted
from kit.processes import kill_all
from kit.waits import LONG_S, happens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from kit.bench import Process

JOBS, TEMPORARY = "the disk with the job", "the disk with temporary files"
KINDS = (JOBS, TEMPORARY)
_STEPS = 60
_MOST_WARNINGS = 3


def campaign(bench: Workbench, seeds: Iterable[int]) -> Iterator[Trial]:
    """Fill a disk once for each of SEEDS."""
    for seed in seeds:
        kind, chosen = KINDS[seed % len(KINDS)], random.Random(seed)
        folder = bench.folder / f"{seed}" / "work"
        folder.mkdir(parents=True)
        one = Workbench(folder, bench.engine)
        disk = one.jobs if kind == JOBS else one.temporary
        disk.mkdir(exist_ok=True, mode=0o700)
        with small_disk(disk, "400m" if kind == JOBS else "64m"):
            problem = _problem(one, disk, chosen)
        warned = "checkpoint failed" in one.said()
        yield Trial(kind, End.WRONG if problem else End.DETECTED if warned else End.SURVIVED, f"seed {seed} {problem}")


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    """Mount a file system of SIZE at PLACE."""
    options = f"size={size},mode=0700,uid={os.getuid()}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "small", place], timeout=LONG_S, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], timeout=LONG_S, check=True)


def fill(disk: Path, leave_bytes: int) -> Path:
    """Fill DISK but for some bytes, and return the file that does."""
    filler = disk / "filler"
    with filler.open("wb") as file, suppress(OSError):
        left = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, max(left.f_bavail * left.f_frsize - leave_bytes, 1))
    return filler


def _problem(bench: Workbench, disk: Path, chosen: random.Random) -> str:
    line = ["-i", "1", "--job", "fills", "--stdout", "out.txt", *bench.counting(_STEPS, until="go")]
    process = bench.start(*line)
    try:
        found = _while_it_runs(bench, process, disk, chosen)
        (bench.folder / "go").touch()
        return found or _at_the_end(bench, process)
    except AssertionError as error:
        return str(error)
    finally:
        kill_all(process)


def _while_it_runs(bench: Workbench, process: Process, disk: Path, chosen: random.Random) -> str:
    bench.wait_generations(1, process)
    happens(lambda: False, chosen.uniform(0, 1.5))
    filler = fill(disk, chosen.choice([0, 0, 4096, chosen.randrange(1 << 26)]))
    happens(lambda: False, chosen.uniform(1, 5))
    checked = bench.ctl("verify", "fills")
    filler.unlink()
    if checked.returncode != 0:
        return f"what was committed is not whole: {checked.stdout}{checked.stderr}"
    newest = bench.newest
    if not happens(lambda: bench.newest > newest + 1 or process.poll() is not None) or process.poll() is not None:
        return f"the space that was freed is not used:\n{bench.said()}"
    return ""


def _at_the_end(bench: Workbench, process: Process) -> str:
    status = process.wait(LONG_S)
    if status != 0:
        return f"it ended with {status}:\n{bench.said()}"
    if (bench.folder / "out.txt").read_bytes() != counted(_STEPS):
        return "its output is another"
    if (times := bench.said().count("checkpoint failed")) > _MOST_WARNINGS:
        return f"{times} warnings:\n{bench.said()}"
    return ""
