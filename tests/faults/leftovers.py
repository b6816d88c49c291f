"""What a job that has ended may not leave: processes, locks, mounts, sockets, shared memory, temporary files."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from kit.waits import LONG_S

if TYPE_CHECKING:
    from kit.bench import Workbench

_NEW_MOUNTS, _NEW_IPC = 0x00020000, 0x08000000
_LISTS = ("/proc/sysvipc/shm", "/proc/sysvipc/sem", "/proc/sysvipc/msg")
_OF_A_JOB = {
    "README",
    "job.json",
    "lock",
    "state.json",
    "history.jsonl",
    "requests",
    "epochs",
    "epochs/N",
    "generations",
    "generations/N",
    "staging",
    "undo",
    "set-aside",
}
"""What is in the folder of a job that has finished; N stands for a number. What a generation has, its manifest says."""
_alone = False


def be_alone() -> None:
    """Have mounts, /dev/shm and System V objects of our own from now on, so that nobody else's are taken for a job's.

    Does nothing for those who are not root.
    """
    global _alone  # noqa: PLW0603 - a property of this process
    if os.geteuid() == 0 and ctypes.CDLL(None).unshare(_NEW_MOUNTS | _NEW_IPC) == 0:
        subprocess.run(["mount", "--make-rprivate", "/"], check=True, timeout=LONG_S)
        subprocess.run(["mount", "-t", "tmpfs", "shm", "/dev/shm"], check=True, timeout=LONG_S)
        _alone = True


def left_of(bench: Workbench) -> list[str]:
    """Return what is left of the job in BENCH, which has finished, or been killed and ended by what watches it."""
    return [*_processes(bench), *_names(bench), *_held(bench), *_mounts(bench), *_sockets(bench), *_shared_memory()]


def _processes(bench: Workbench) -> list[str]:
    folder, temporary = os.path.realpath(bench.folder), bench.environ["TMPDIR"]
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            is_here = os.path.realpath(one.cwd()) == folder
            if one.pid != os.getpid() and (is_here or one.environ().get("TMPDIR") == temporary):
                found.append(f"process {one.pid} {one.name()} {one.cmdline()}")
    return found


def _names(bench: Workbench) -> list[str]:
    found = [str(path) for path in bench.temporary.iterdir()]
    for job in bench.jobs.iterdir() if bench.jobs.is_dir() else []:
        names = [path.relative_to(job) for path in job.rglob("*") if job.is_dir()]
        shapes = [re.sub(r"\b[0-9]{6,}\b", "N", str(name)) for name in names]
        found += [f"{job.name}/{name}" for name in shapes if not _belongs(name)]
    return found


def _belongs(name: str) -> bool:
    is_below = name.startswith(("generations/N/", "undo/", "set-aside/")) and not Path(name).name.startswith(".")
    return name in _OF_A_JOB or is_below


def _held(bench: Workbench) -> list[str]:
    found = []
    for lock in bench.jobs.glob("*/lock"):
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(f"the lock {lock}")
    return found


def _mounts(bench: Workbench) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [f"mount {line}" for line in lines if f"{bench.folder.parent}/" in line]


def _sockets(bench: Workbench) -> list[str]:
    lines = Path("/proc/net/unix").read_text().splitlines()
    return [f"socket {line}" for line in lines if str(bench.folder.parent) in line]


def _shared_memory() -> list[str]:
    if not _alone:
        return []
    found = [str(path) for path in Path("/dev/shm").iterdir()]
    return found + [f"{name}: {line}" for name in _LISTS for line in Path(name).read_text().splitlines()[1:]]
