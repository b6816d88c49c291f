"""The disk with a job's directory, or the one with temporary files, is full for some seconds at a random moment.

So is the quota on a job's directory, while the disk has room. The program goes on, what was committed is whole
meanwhile, nothing is said again and again, and space that is freed is used: there is another generation then. Needs
root, which mounts the disks; quotas need mkfs.btrfs and are left out without it.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from faults.figures import End, Trial
from kit.bench import Workbench, counted
from kit.processes import kill_all
from kit.waits import LONG_S, happens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from kit.bench import Process

JOBS, TEMPORARY, QUOTA = "the disk with the job", "the disk with temporary files", "the job's quota"
KINDS = (JOBS, TEMPORARY, *([QUOTA] if shutil.which("mkfs.btrfs") else []))
_STEPS = 60
_MOST_WARNINGS = 3


def campaign(bench: Workbench, seeds: Iterable[int]) -> Iterator[Trial]:
    """Fill a disk once for each of SEEDS."""
    for seed in seeds:
        kind, chosen = KINDS[seed % len(KINDS)], random.Random(seed)
        folder = bench.folder / f"{seed}" / "work"
        folder.mkdir(parents=True)
        one = Workbench(folder, bench.engine)
        disk = one.temporary if kind == TEMPORARY else one.jobs
        disk.mkdir(exist_ok=True, mode=0o700)
        with _small(kind, disk):
            problem = _problem(one, disk, chosen)
        warned = "checkpoint failed" in one.said()
        yield Trial(kind, End.WRONG if problem else End.DETECTED if warned else End.SURVIVED, f"seed {seed} {problem}")


def _small(kind: str, place: Path) -> AbstractContextManager[None]:
    if kind == QUOTA:
        return _quota(place, "400m")
    return _mounted(place, "tmpfs", f"size={'400m' if kind == JOBS else '64m'},mode=0700,uid={os.getuid()}", "small")


@contextmanager
def _quota(place: Path, size: str) -> Iterator[None]:
    """Make PLACE a directory that may hold SIZE bytes, on a disk of 2 GiB."""
    image, volume = place.with_name("disk"), place.with_name("volume")
    image.touch()
    os.truncate(image, 2 << 30)
    volume.mkdir()
    _run("mkfs.btrfs", "--quiet", image)
    with _mounted(volume, "btrfs", "loop", image):
        for words in (["quota", "enable", volume], ["subvolume", "create", volume / "of-the-job"]):
            _run("btrfs", *words)
        (volume / "of-the-job").chmod(0o700)
        _run("btrfs", "qgroup", "limit", size, volume / "of-the-job")
        with _mounted(place, "none", "bind", volume / "of-the-job"):
            yield
    image.unlink()


@contextmanager
def _mounted(place: Path, kind: str, options: str, device: str | Path) -> Iterator[None]:
    _run("mount", "-t", kind, "-o", options, device, place)
    try:
        yield
    finally:
        _run("umount", "--lazy", place)


def _run(*words: str | Path) -> None:
    subprocess.run(words, timeout=LONG_S, check=True, stdout=subprocess.DEVNULL)


def fill(disk: Path, leave_bytes: int) -> Path:
    """Fill DISK, or the quota on it, but for some bytes, and return the file that does."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        found = os.statvfs(disk)
        size, piece = 0, found.f_bavail * found.f_frsize
        while piece >= 4096:
            try:
                os.posix_fallocate(file.fileno(), size, piece)
                size += piece
            except OSError:
                piece //= 2
        file.truncate(max(size - leave_bytes, 0))
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
