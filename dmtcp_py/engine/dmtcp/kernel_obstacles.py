"""Obstacles that only the kernel knows: DMTCP does not see them, and restores the program without them or not at all.

Observed with 3.2, 4.2 and 5.0.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress

from dmtcp_py.engine.dmtcp.obstacles import ONCE_CLOSED, UNPROTECTED, USE_CRIU, Obstacle
from dmtcp_py.engine.kernel_state import is_filtered, namespace_of_its_own, tracer_of
from dmtcp_py.system.proc import name_of, open_descriptors, process_tree

_OWN = range(821, 848)
"""The descriptors that DMTCP keeps for itself (src/protectedfds.h, the widest of the three), from the lowest on."""
_COORDINATOR = _OWN[0]
_OURS = re.compile(r".*/dmtcp-run-[0-9a-f]{12}-[^/]+/")
"""The paths of DMTCP's own files, which are in the computation's folder."""
_O_PATH = getattr(os, "O_PATH", 0o10000000)


def kernel_obstacle(pid: int) -> Obstacle | None:
    """Return what in process PID prevents a checkpoint, as the kernel shows it; None if nothing does.

    Raises FileNotFoundError or ProcessLookupError if the process has ended.
    """
    return _traced(pid) or _confined(pid) or _filtered(pid) or _descriptor(pid)


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


def _descriptor(pid: int) -> Obstacle | None:
    """Find a descriptor that DMTCP takes for its own, or at which it ends the program."""
    for place, target, flags in open_descriptors(pid):
        with suppress(ValueError):
            number = int(place.name)
            if number in _OWN and number != _COORDINATOR and not _is_of_dmtcp(target):
                return Obstacle(
                    f"process {pid} ({name_of(pid)}) has more than {_COORDINATOR} files open, and DMTCP does not "
                    f"restore descriptors {_OWN[0]} to {_OWN[-1]}",
                    USE_CRIU,
                )
        if flags & _O_PATH and not _is_of_dmtcp(target):
            return Obstacle(
                f"process {pid} ({name_of(pid)}) has {target} open for its path only (O_PATH), and DMTCP would end it",
                f"{USE_CRIU}; or {ONCE_CLOSED}",
            )
    return None


def _is_of_dmtcp(target: str) -> bool:
    # while it starts or restarts a process DMTCP has sockets of its own here
    return _OURS.match(target) is not None or target.startswith("socket:")
