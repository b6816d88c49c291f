"""Obstacles that only the kernel knows: DMTCP does not see them, and restores the program without them or not at all.

Observed with 3.2, 4.2 and 5.0.
"""

from __future__ import annotations

import os

from dmtcp_py.engine.dmtcp.obstacles import ONCE_CLOSED, UNPROTECTED, USE_CRIU, Obstacle
from dmtcp_py.engine.kernel_state import is_filtered, namespace_of_its_own, tracer_of
from dmtcp_py.system.proc import name_of, open_descriptors, process_tree

_O_PATH = getattr(os, "O_PATH", 0o10000000)


def kernel_obstacle(pid: int) -> Obstacle | None:
    """Return what in process PID prevents a checkpoint, as the kernel shows it; None if nothing does.

    Raises FileNotFoundError or ProcessLookupError if the process has ended.
    """
    return _traced(pid) or _confined(pid) or _filtered(pid) or _opened_for_path(pid)


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


def _opened_for_path(pid: int) -> Obstacle | None:
    """Find a descriptor whose options cannot be read: DMTCP ends the program at a checkpoint."""
    for _, target, flags in open_descriptors(pid):
        if flags & _O_PATH:
            return Obstacle(
                f"process {pid} ({name_of(pid)}) has {target} open for its path only (O_PATH), and DMTCP would end it",
                f"{USE_CRIU}; or {ONCE_CLOSED}",
            )
    return None
