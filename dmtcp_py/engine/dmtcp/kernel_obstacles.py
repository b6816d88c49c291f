"""Obstacles that only the kernel knows: DMTCP does not see them, and restores the program without them or not at all.

Observed with 3.2, 4.2 and 5.0.
"""

from __future__ import annotations

import os
import re
import select
from contextlib import suppress
from pathlib import Path

from dmtcp_py.engine.dmtcp import robust_locks
from dmtcp_py.engine.dmtcp.obstacles import ONCE_CLOSED, UNPROTECTED, USE_CRIU, Obstacle
from dmtcp_py.engine.kernel_state import is_filtered, namespace_of_its_own, tracer_of
from dmtcp_py.system.proc import DELETED, name_of, process_tree, shared_writable_maps

_O_PATH = getattr(os, "O_PATH", 0o10000000)
_O_ASYNC = os.O_ASYNC
_AIO = "/[aio]"
_LEASE = r"(?m)^lock:.*\bLEASE\b"
_WATCHED = r"(?m)^tfd:.*events:\s*([0-9a-f]+)"
_ALWAYS_WATCHED = select.EPOLLERR | select.EPOLLHUP | select.EPOLLONESHOT | select.EPOLLET
"""What is left in the events of a descriptor once the only one has come."""


def kernel_obstacle(pid: int) -> Obstacle | None:
    """Return what in process PID prevents a checkpoint, as the kernel shows it; None if nothing does.

    Raises FileNotFoundError or ProcessLookupError if the process has ended.
    """
    found = _traced(pid) or _confined(pid) or _filtered(pid) or _in_removed_directory(pid)
    return found or _asynchronous(pid) or _descriptor(pid) or _robust(pid)


def _traced(pid: int) -> Obstacle | None:
    tracer = tracer_of(pid)
    if not tracer:
        return None
    is_ours = tracer in {member for member, _ in process_tree(os.getpid())}
    return Obstacle(
        f"process {pid} ({name_of(pid)}) is traced by process {tracer} ({name_of(tracer)}), and no engine can "
        "checkpoint it",
        UNPROTECTED if is_ours else "a checkpoint is possible once the tracer has left it",
        # somebody's debugger that looks at the program for a while
        is_temporary=not is_ours,
        needs_confirmation=True,
    )


def _confined(pid: int) -> Obstacle | None:
    kind = namespace_of_its_own(pid, os.getpid())
    if kind is None:
        return None
    return Obstacle(
        f"process {pid} ({name_of(pid)}) is in its own {kind} namespace, which no engine restores",
        f"start dmtcp-run inside the namespace, as in 'unshare … dmtcp-run …'; {UNPROTECTED}",
    )


def _filtered(pid: int) -> Obstacle | None:
    if not is_filtered(pid):
        return None
    return Obstacle(
        f"process {pid} ({name_of(pid)}) has a filter for system calls (seccomp), which DMTCP does not restore",
        USE_CRIU,
    )


def _in_removed_directory(pid: int) -> Obstacle | None:
    """Find a working directory that DMTCP could not enter again: it ends the program at the checkpoint."""
    if not os.readlink(f"/proc/{pid}/cwd").endswith(DELETED):
        return None
    return Obstacle(
        f"process {pid} ({name_of(pid)}) is in a directory that was removed, and DMTCP would end it",
        f"{USE_CRIU}; or start the program in another directory",
    )


def _asynchronous(pid: int) -> Obstacle | None:
    """Find what io_setup(2) has made: it is gone after a restart."""
    if not any(path.startswith(_AIO) for _, path, _ in shared_writable_maps(pid)):
        return None
    return Obstacle(
        f"process {pid} ({name_of(pid)}) uses the kernel's asynchronous I/O (io_setup), which DMTCP does not restore",
        USE_CRIU,
    )


def _robust(pid: int) -> Obstacle | None:
    """Find a lock whose owner's death would go unnoticed: whoever waits for it would do so for ever."""
    if not robust_locks.holds_one(pid):
        return None
    return Obstacle(
        f"process {pid} ({name_of(pid)}) holds a robust lock (PTHREAD_MUTEX_ROBUST), which DMTCP does not restore",
        f"a checkpoint is possible once it has released it; {USE_CRIU}",
        is_temporary=True,
        needs_confirmation=True,
    )


def _descriptor(pid: int) -> Obstacle | None:
    """Find a descriptor that has what DMTCP does not restore, or that makes it end the program."""
    for entry in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - only names are needed
        with suppress(OSError):
            info = Path(f"/proc/{pid}/fdinfo/{entry}").read_text(encoding="ascii", errors="replace")
            if (what := _lost_of(info)) is not None:
                target = os.readlink(f"/proc/{pid}/fd/{entry}")
                return Obstacle(f"process {pid} ({name_of(pid)}) has {target} {what}", f"{USE_CRIU}; or {ONCE_CLOSED}")
    return None


def _lost_of(info: str) -> str | None:
    """Return what DMTCP would lose of a descriptor with this INFO in /proc, as the end of a sentence."""
    flags = int(info.partition("flags:")[2].split()[0], 8)
    if flags & _O_PATH:
        return "open for its path only (O_PATH), and DMTCP would end it"
    # the kernel sets the other flag for a lease too
    if re.search(_LEASE, info):
        return "leased (F_SETLEASE), which DMTCP does not restore"
    if flags & _O_ASYNC:
        return "open so that a signal announces data (O_ASYNC), which DMTCP does not restore"
    if any(_has_come(int(events, 16)) for events in re.findall(_WATCHED, info)):
        return "watching a descriptor of which an event has come (EPOLLONESHOT), which DMTCP would let come once more"
    return None


def _has_come(events: int) -> bool:
    """Whether EVENTS were to come once, and one has come; a program may also watch for none at all, as MPICH does."""
    return bool(events & select.EPOLLONESHOT) and not events & ~_ALWAYS_WATCHED
