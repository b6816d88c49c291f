"""Obstacles to a checkpoint in a running process, looked for before each one, because DMTCP does not report them.

With any of these a checkpoint hangs, kills the program, silently leaves out a process, or cannot be restarted (3.2, 4.2
and 5.0).
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from dmtcp_py.engine.dmtcp.passed_descriptors import target_of
from dmtcp_py.engine.executable import LAUNCHES_ELSEWHERE, SCHEDULER_LAUNCHERS
from dmtcp_py.errors import BlockedError
from dmtcp_py.system.proc import DELETED, command_of, name_of, names_left, state_of

_DEVICES = r"/dev/(nvidia\d|nvidiactl|kfd|dri/renderD)"
_IN_MPI_INIT = "/memfd:dmtcp-run: MPI_Init"
"""A descriptor that native/openmpi.c keeps open while MPI_Init runs."""
_IN_FLIGHT = r"(?m)^scm_fds:\s*[1-9]"
"""A line of fdinfo (Linux 5.6 and later) for a socket in which descriptors wait to be received."""
_HANDLES_OUR_SIGNAL = "/memfd:dmtcp-run: handles the checkpoint signal"
"""A descriptor that native/signals.c opens if the program handles the signal that DMTCP uses in place of SIGUSR2."""
_RING = "anon_inode:[io_uring]"
_LOST = (
    r"anon_inode:\[?(?!eventfd\]|eventpoll\])(?P<kind>[\w-]+)",
    r"(?P<kind>pidfd):",
    r"/dev/(?P<kind>pts/ptmx|ptmx)$",
    r"/(?P<kind>memfd):(?!dmtcp-run: )",
    r".*/(?P<kind>#)\d+ \(deleted\)$",
)
"""Descriptors that a restart closes, breaks or empties. Of those without a file DMTCP restores eventfd and epoll."""
_WHAT = {
    "pts/ptmx": "a pseudo-terminal of its own",
    "ptmx": "a pseudo-terminal of its own",
    "memfd": "a file in memory (memfd)",
    "#": "a file without a name (O_TMPFILE)",
}
"""What to call those whose kind does not say it."""
_CRIU_HANDLES = {*_WHAT, "timerfd", "signalfd", "pidfd", "inotify", "fanotify"}
"""The kinds with which programs were seen to come through under CRIU."""
_DMTCPS_NUMBERS = range(822, 842)
"""The numbers that DMTCP's own descriptors get, after the one for its coordinator."""
_DMTCPS_FILE = r"(?s).*/(dmtcp-run-[0-9a-f]{12}-[^/]+|ckpt_[^/]+_files)/"
"""What DMTCP opens: in its temporary folder, and its copies of files, which it leaves open after a restart."""
_SETUID_COPY = r"(?s).*/dmtcp-[^/]+@[^/]+/[^/]+$"
"""The paths to which DMTCP copies setuid programs, to run the copies."""
_SPAWNED = ("multiprocessing.spawn", "multiprocessing.forkserver", "--multiprocessing-fork")
"""Words in the command lines of processes with which a checkpoint hangs, unless native/forks.c is loaded into them."""
USE_CRIU = "--engine criu can checkpoint it"
_THREADS = {
    "gloo_tcp_loop": ("belongs to PyTorch's distributed training (gloo), which DMTCP cannot restart", USE_CRIU),
    "jemalloc_bg_thd": (
        "has a background thread of jemalloc, which DMTCP does not see",
        f"set MALLOC_CONF=background_thread:false; or {USE_CRIU}",
    ),
}
"""Names of threads that DMTCP cannot checkpoint (3.2, 4.2; 5.0 fails at the start with jemalloc's): why, and a hint."""
_LIBRARY = "libdmtcp"
_FORKS = "/native/forks."
_STATE = "/native/state."
UNPROTECTED = "--allow-unprotected runs it without checkpoints"
ONCE_CLOSED = "a checkpoint is possible once it is closed"
TRIED_AGAIN = "dmtcp-run tries again later"


class Obstacle(Struct, frozen=True):
    """What prevents a checkpoint, and what the user can do about it."""

    what: str
    hint: str
    is_temporary: bool = False
    """Whether it goes away on its own, however long that takes."""
    needs_confirmation: bool = False
    """Whether it may be a trace that a process leaves for a moment when it ends."""

    @property
    def error(self) -> BlockedError:
        """The error for a checkpoint that it prevents."""
        return BlockedError(self.what, self.hint, for_another=USE_CRIU in self.hint)


def obstacle_in(pid: int, *, is_below: bool) -> Obstacle | None:
    """Return what in process PID prevents a checkpoint; None if nothing does.

    IS_BELOW says whether PID is the program's first process or a descendant of it. Raises FileNotFoundError or
    ProcessLookupError if the process has ended.
    """
    found = _launches_elsewhere(pid) or _not_under_dmtcp(pid) if is_below else None
    return found or _stopped(pid) or _spawned(pid) or _threads(pid) or _open_file(pid, is_below=is_below)


def is_inside(pid: int) -> bool:
    """Return whether DMTCP's library is loaded in process PID, or the process is ending and has no memory left."""
    maps = _maps(pid)
    return not maps or _LIBRARY in maps


def _launches_elsewhere(pid: int) -> Obstacle | None:
    """Find a launcher of the scheduler: neither it nor what it launches can be checkpointed."""
    if name_of(pid) not in SCHEDULER_LAUNCHERS:
        return None
    return Obstacle(
        f"process {pid} ({name_of(pid)}) {LAUNCHES_ELSEWHERE}",
        f"use mpirun instead, with --nodes auto if a script calls it; {UNPROTECTED}",
    )


def _not_under_dmtcp(pid: int) -> Obstacle | None:
    """Find a process that does not run under DMTCP."""
    try:
        if re.match(_SETUID_COPY, os.readlink(f"/proc/{pid}/exe")):
            return Obstacle(
                f"process {pid} ({name_of(pid)}) is a setuid program, which DMTCP runs without its privileges",
                UNPROTECTED,
            )
        if is_inside(pid):
            return None
    except PermissionError:
        return _out_of_reach(pid)
    return Obstacle(
        f"process {pid} ({name_of(pid)}) does not run under DMTCP: it is statically linked, or dropped its environment",
        USE_CRIU,
    )


def _out_of_reach(pid: int) -> Obstacle:
    """Say why this user may not look into process PID."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    uids = next((line.split()[1:] for line in status.splitlines() if line.startswith("Uid:")), [])
    if set(uids) == {str(os.geteuid())}:
        return Obstacle(
            f"process {pid} ({name_of(pid)}) hides its memory from its own user (PR_SET_DUMPABLE), and DMTCP runs as "
            "that user",
            UNPROTECTED,
        )
    return Obstacle(f"process {pid} ({name_of(pid)}) has other privileges, and DMTCP cannot checkpoint it", USE_CRIU)


def _stopped(pid: int) -> Obstacle | None:
    """Find a process that cannot suspend itself for a checkpoint, because it is stopped."""
    if state_of(pid) != "T":
        return None
    return Obstacle(f"process {pid} ({name_of(pid)}) is stopped", f"{TRIED_AGAIN}; {USE_CRIU}", is_temporary=True)


def _maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")


def _spawned(pid: int) -> Obstacle | None:
    words = " ".join(command_of(pid)[0])
    if not any(text in words for text in _SPAWNED) or _FORKS in _maps(pid):
        return None
    return Obstacle(
        f"process {pid} was started by Python's multiprocessing with spawn or forkserver, and a checkpoint would hang, "
        "because there was no C compiler when dmtcp-py was installed",
        f"{USE_CRIU}, or use the start method fork",
    )


def _threads(pid: int) -> Obstacle | None:
    """Find a thread whose name shows that DMTCP cannot checkpoint the process."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (known := _THREADS.get(_thread_name(task))) is not None:
            what, hint = known
            return Obstacle(f"process {pid} ({name_of(pid)}) {what}", hint)
    return None


def _thread_name(task: Path) -> str:
    """Return the name of a thread; nothing if it has ended, as its process may run on."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return (task / "comm").read_text(encoding="utf-8", errors="replace").rstrip("\n")
    return ""


def _open_file(pid: int, *, is_below: bool) -> Obstacle | None:
    """Find an open file that DMTCP cannot checkpoint or restore: a GPU, io_uring, a FIFO without a name, or `_LOST`."""
    folder = Path(f"/proc/{pid}/fd")
    streams = {target_of(f"/proc/self/fd/{stream}") for stream in range(3)}
    for entry in os.listdir(folder):  # noqa: PTH208 - names are all that is wanted
        with suppress(OSError):
            target = os.readlink(folder / entry)
            if target == _RING:
                return Obstacle(
                    f"process {pid} ({name_of(pid)}) uses io_uring, which DMTCP cannot checkpoint",
                    "--engine criu can checkpoint programs that also run without io_uring (libuv, torchrun)",
                )
            if re.match(_DEVICES, target):
                return Obstacle(
                    f"process {pid} ({name_of(pid)}) uses {target}, and DMTCP cannot checkpoint a GPU", UNPROTECTED
                )
            if is_below and int(entry) in _DMTCPS_NUMBERS and not re.match(_DMTCPS_FILE, target):
                return Obstacle(
                    f"process {pid} ({name_of(pid)}) has more than 800 open descriptors ({target} is descriptor "
                    f"{entry}), and DMTCP uses these numbers for its own",
                    USE_CRIU,
                )
            if target.startswith(_HANDLES_OUR_SIGNAL):
                return Obstacle(
                    f"process {pid} ({name_of(pid)}) handles the real-time signal that DMTCP uses for checkpoints",
                    USE_CRIU,
                )
            if target.startswith(_IN_MPI_INIT):
                what = f"process {pid} ({name_of(pid)}) is in MPI_Init, which would fail after a restart"
                return Obstacle(what, TRIED_AGAIN, is_temporary=True)
            if re.search(_IN_FLIGHT, Path(f"/proc/{pid}/fdinfo/{entry}").read_text(encoding="ascii", errors="replace")):
                what = f"process {pid} ({name_of(pid)}) is being sent a descriptor, which a checkpoint would lose"
                return Obstacle(what, TRIED_AGAIN, is_temporary=True)
            if target not in streams and (lost := _lost(pid, target)):
                return lost
            if target.endswith(DELETED) and (removed := _removed(pid, folder / entry, target)):
                return removed
    return None


def _removed(pid: int, entry: Path, target: str) -> Obstacle | None:
    """Return the obstacle that the removed file TARGET is, which ENTRY of process PID has open; None if it is none."""
    what = f"process {pid} ({name_of(pid)}) has"
    if entry.is_fifo():
        return Obstacle(f"{what} the FIFO {target} open, which DMTCP cannot checkpoint", ONCE_CLOSED)
    if names_left(entry) == []:
        return Obstacle(
            f"{what} {target.removesuffix(DELETED)} open, which has another name now, in another directory, and DMTCP "
            "would restore a copy",
            ONCE_CLOSED,
        )
    if entry.is_file() and os.path.lexists(target.removesuffix(DELETED)) and _STATE not in _maps(pid):
        return Obstacle(
            f"{what} {target} open, whose name another file has now, and DMTCP restores both under that name",
            f"{ONCE_CLOSED}; {USE_CRIU}",
        )
    return None


def _lost(pid: int, target: str) -> Obstacle | None:
    """Return the obstacle that a descriptor of process PID to TARGET is, as a restart would lose it."""
    found = next((found for pattern in _LOST if (found := re.match(pattern, target))), None)
    if found is None:
        return None
    what = f"process {pid} ({name_of(pid)}) uses {_WHAT.get(found['kind'], found['kind'])}"
    hint = USE_CRIU if found["kind"] in _CRIU_HANDLES else UNPROTECTED
    return Obstacle(f"{what}, which DMTCP does not restore", hint)
