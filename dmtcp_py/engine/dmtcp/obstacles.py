"""What of a running program DMTCP cannot take: looked for before each checkpoint, as DMTCP finds out by hanging.

With any of these a checkpoint hangs, kills the program, or leaves a process out unseen (3.2, 4.2 and 5.0).
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dmtcp_py.engine.dmtcp.passed_descriptors import target_of
from dmtcp_py.engine.executable import LAUNCHES_ELSEWHERE, SCHEDULERS_LAUNCHERS
from dmtcp_py.system.proc import DELETED, command_of, name_of

_DEVICES = re.compile(r"/dev/(nvidia\d|nvidiactl|kfd|dri/renderD)")
_STARTING = "/memfd:dmtcp-run: MPI_Init"
"""native/openmpi.c opens it for as long as MPI_Init takes."""
_ON_THEIR_WAY = re.compile(r"^scm_fds:\s*[1-9]", re.MULTILINE)
"""What the kernel (5.6 and later) tells of a socket in which descriptors wait to be received."""
_RING = "anon_inode:[io_uring]"
_LOST = (
    (re.compile(r"anon_inode:\[timerfd\]"), "a timer that is a file (timerfd)"),
    (re.compile(r"anon_inode:\[signalfd\]"), "a file from which it reads its signals (signalfd)"),
    (re.compile(r"/dev/(pts/)?ptmx$"), "a pseudo-terminal of its own"),
    (re.compile(r"/memfd:(?!dmtcp-run: )"), "a file in memory (memfd)"),
    (re.compile(r".*/#\d+ \(deleted\)$"), "a file that never had a name (O_TMPFILE)"),
)
"""Descriptors that are closed after a restart, or dead, or without what was in them, and what they are."""
_COPY = re.compile(r".*/dmtcp-[^/]+@[^/]+/[^/]+$")
"""Where DMTCP copies setuid programs to, and runs the copies."""
_SPAWNED = ("multiprocessing.spawn", "multiprocessing.forkserver", "--multiprocessing-fork")
"""In the lines of processes with which a checkpoint hangs, unless native/forks.c tells DMTCP of what they hold."""
CRIU_TAKES_IT = "--engine criu takes it"
_THREADS = {
    "gloo_tcp_loop": (
        "is one of PyTorch's distributed training (gloo), which DMTCP would not bring up again",
        CRIU_TAKES_IT,
    ),
    "jemalloc_bg_thd": (
        "has a background thread of jemalloc, which DMTCP does not see",
        f"set MALLOC_CONF=background_thread:false; or {CRIU_TAKES_IT}",
    ),
}
"""What DMTCP cannot take, by the name of a thread (3.2, 4.2; 5.0 ends at its start with jemalloc's), and what to do."""
_LIBRARY = "libdmtcp"
_FORKS = "/native/forks."
UNPROTECTED = "--allow-unprotected runs it without checkpoints"


@dataclass(frozen=True)
class Obstacle:
    """What stands in the way of a checkpoint, and what the user can do."""

    what: str
    hint: str
    is_temporary: bool = False
    """Whether it will be over by itself, however long that takes."""
    needs_confirmation: bool = False
    """Whether it may be nothing but what a process leaves for a moment that has just ended."""


def obstacle_in(pid: int, *, is_below: bool) -> Obstacle | None:
    """Return what of process PID, which IS BELOW the program's first one or not, DMTCP cannot take; None for nothing.

    Raises FileNotFoundError or ProcessLookupError where it is gone.
    """
    found = _launches_elsewhere(pid) or _outside(pid) if is_below else None
    return found or _spawned(pid) or _threads(pid) or _held(pid)


def is_inside(pid: int) -> bool:
    """Whether DMTCP's library is in the process, or the process is at its end and has no memory any more."""
    maps = _maps(pid)
    return not maps or _LIBRARY in maps


def _launches_elsewhere(pid: int) -> Obstacle | None:
    """Look whether it is a launcher of the scheduler's, which is no more DMTCP's than what it launches."""
    if name_of(pid) not in SCHEDULERS_LAUNCHERS:
        return None
    return Obstacle(
        f"process {pid} ({name_of(pid)}) {LAUNCHES_ELSEWHERE}",
        f"use mpirun in its workspace, and --nodes auto where a script calls it; {UNPROTECTED}",
    )


def _outside(pid: int) -> Obstacle | None:
    """Look whether DMTCP is in the process at all."""
    try:
        if _COPY.match(os.readlink(f"/proc/{pid}/exe")):
            return Obstacle(
                f"process {pid} ({name_of(pid)}) is a setuid program, which DMTCP runs without its privileges",
                UNPROTECTED,
            )
        if is_inside(pid):
            return None
    except PermissionError:
        return Obstacle(
            f"process {pid} ({name_of(pid)}) runs with other privileges, and DMTCP cannot take it", CRIU_TAKES_IT
        )
    return Obstacle(
        f"process {pid} ({name_of(pid)}) is not in DMTCP's hands: it is statically linked, or dropped its environment",
        CRIU_TAKES_IT,
    )


def _maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")


def _spawned(pid: int) -> Obstacle | None:
    words = " ".join(command_of(pid)[0])
    if not any(text in words for text in _SPAWNED) or _FORKS in _maps(pid):
        return None
    return Obstacle(
        f"process {pid} was made by Python's multiprocessing with spawn or forkserver, and a checkpoint would hang, as "
        "there was no C compiler when dmtcp-py was installed",
        f"{CRIU_TAKES_IT}, or use the start method fork",
    )


def _threads(pid: int) -> Obstacle | None:
    """Look for a thread by whose name it is known that DMTCP cannot take the process."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (known := _THREADS.get(_thread_name(task))) is not None:
            what, hint = known
            return Obstacle(f"process {pid} ({name_of(pid)}) {what}", hint)
    return None


def _thread_name(task: Path) -> str:
    """Return the name of a thread; nothing where it has ended, which says nothing of the others."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return (task / "comm").read_text(encoding="utf-8", errors="replace").rstrip("\n")
    return ""


def _held(pid: int) -> Obstacle | None:
    """Look for open files that DMTCP cannot take: GPUs, io_uring, what it loses, FIFOs whose name is gone."""
    folder = Path(f"/proc/{pid}/fd")
    given = {target_of(f"/proc/self/fd/{stream}") for stream in range(3)}
    for entry in os.listdir(folder):  # noqa: PTH208 - names are all that is wanted
        with suppress(OSError):
            target = os.readlink(folder / entry)
            if target == _RING:
                return Obstacle(
                    f"process {pid} ({name_of(pid)}) uses io_uring, and DMTCP cannot take it",
                    "--engine criu takes what can do without (libuv, torchrun)",
                )
            if _DEVICES.match(target):
                return Obstacle(
                    f"process {pid} ({name_of(pid)}) uses {target}, and DMTCP cannot take a GPU", UNPROTECTED
                )
            if target.startswith(_STARTING):
                what = f"process {pid} ({name_of(pid)}) is within MPI_Init, and a restart would end it there"
                return Obstacle(what, "it is tried again later", is_temporary=True)
            if _ON_THEIR_WAY.search(Path(f"/proc/{pid}/fdinfo/{entry}").read_text(encoding="ascii", errors="replace")):
                what = f"process {pid} ({name_of(pid)}) is being sent a descriptor, which DMTCP would lose on its way"
                return Obstacle(what, "it is tried again later", is_temporary=True)
            lost = next((what for pattern, what in _LOST if pattern.match(target)), None)
            if lost and target not in given:
                return Obstacle(
                    f"process {pid} ({name_of(pid)}) has {lost}, which DMTCP would not bring up again", CRIU_TAKES_IT
                )
            if target.endswith(DELETED) and (folder / entry).is_fifo():
                return Obstacle(
                    f"process {pid} ({name_of(pid)}) has the FIFO {target} open, and DMTCP would not find it",
                    "it is tried again later",
                )
    return None
