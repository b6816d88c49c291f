"""Ending and reaping processes: groups, descendants, and the leftovers of an attempt that was killed.

Only sends signals to processes that this supervisor or an earlier attempt of the same job started, and to their
descendants.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from dmtcp_py.errors import EngineError
from dmtcp_py.system.proc import parent_of, process_tree, processes_below, started_at
from dmtcp_py.system.stuck import what_they_wait_in

if TYPE_CHECKING:
    from collections.abc import Sequence

TERM_GRACE_S = 5.0
"""Time between SIGTERM and SIGKILL."""
KILL_WAIT_S = 30.0
"""Longest wait for the end of a process after SIGKILL."""
LEFTOVER_GRACE_S = 2.0
"""How long other processes of the program may outlive its first process."""
_POLL_S = 0.05
SPARED: set[int] = set()
"""Children of this process that are not the program's, and that other code ends and waits for."""


class _Awaited:
    """How many short commands threads run now, as in ``with AWAITED:``. What they wait for must not be reaped."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0

    def __enter__(self) -> None:
        with self.lock:
            self.count += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.count -= 1


AWAITED = _Awaited()


def signal_group(group: int, signum: int) -> bool:
    """Send SIGNUM to process group GROUP; return whether it has any members."""
    try:
        os.killpg(group, signum)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def reap_orphans(known: Sequence[int]) -> None:
    """Reap adopted processes that have ended. KNOWN are children that other code waits for.

    While a thread runs a short command, none is reaped: it is a child, too, and it is not known which.
    """
    with AWAITED.lock, suppress(ChildProcessError):
        while not AWAITED.count:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None or found.si_pid in known or found.si_pid in SPARED:
                return
            os.waitpid(found.si_pid, os.WNOHANG)


def has_children() -> bool:
    """Reap ended children; return whether this process still has any but those SPARED, started or adopted."""
    if SPARED:
        return _has_others()
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _has_others() -> bool:
    """Reap ended children one by one, as waiting for any would reap those SPARED."""
    lives = False
    for pid in {child for child in processes_below(os.getpid()) if _is_child(child)} - SPARED:
        with suppress(ChildProcessError):
            lives = not os.waitpid(pid, os.WNOHANG)[0] or lives
    return lives


def _is_child(pid: int) -> bool:
    with suppress(OSError):
        return parent_of(pid) == os.getpid()
    return False


def end_group(group: int, *, grace_s: float) -> bool:
    """Wait GRACE_S for process group GROUP to end; otherwise end it by SIGTERM, then SIGKILL, and return True."""
    if _group_gone(group, grace_s):
        return False
    signal_group(group, signal.SIGTERM)
    signal_group(group, signal.SIGCONT)
    if not _group_gone(group, TERM_GRACE_S):
        signal_group(group, signal.SIGKILL)
        _group_gone(group, KILL_WAIT_S)
    return True


def end_descendants() -> None:
    """Kill all descendants of this process. Only call this at the end, when no other code waits for them."""
    until = time.monotonic() + KILL_WAIT_S
    while has_children() and time.monotonic() < until:
        spared = {member for member, _ in process_tree(*SPARED)}
        for pid, _ in process_tree(os.getpid())[1:]:
            with suppress(ProcessLookupError):
                if pid not in spared:
                    os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_S)


def end_leftovers(processes: Sequence[tuple[int, float]]) -> bool:
    """Kill PROCESSES, as `process_tree` returned them, and their sessions; return whether any of them still existed.

    Raises EngineError if one of them does not end; then the program must not be started again.
    """
    left = [member for pid, start in processes for member in _session_or_self(pid, start)]
    for pid in left:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + KILL_WAIT_S
    while remaining := [pid for pid in left if started_at(pid) is not None]:
        if time.monotonic() >= until:
            stuck = "; ".join(map(what_they_wait_in, remaining))
            raise EngineError(
                f"processes {remaining} of the previous attempt do not end after SIGKILL: {stuck}",
                "run this line again once they are gone",
            )
        time.sleep(_POLL_S)
    return bool(left)


def _session_or_self(pid: int, start: float) -> list[int]:
    """Return PID if it is still the process that started at START, and the members of the session that it led."""
    now = started_at(pid)
    if now is not None and now != start:
        return []
    members = [] if now is None else [pid]
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names are all that is wanted
        if entry.isdigit() and int(entry) != pid:
            with suppress(ProcessLookupError, PermissionError):
                began = started_at(int(entry))
                if os.getsid(int(entry)) == pid and began is not None and began >= start:
                    members.append(int(entry))
    return members


def _group_gone(group: int, within_s: float) -> bool:
    """Wait until GROUP has no members; return False after WITHIN_S. Polls, because no descriptor shows this."""
    until = time.monotonic() + within_s
    while True:
        reap_group(group)
        if _is_anothers(group) or not signal_group(group, 0):
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(_POLL_S)


def _is_anothers(group: int) -> bool:
    """Whether the number of GROUP, which a child of this process led, belongs to a process of somebody else's.

    The kernel gives the number of a process that was waited for to another one once the group has no members, and
    where many processes start that may be at once.
    """
    with suppress(OSError):
        return parent_of(group) != os.getpid()
    return False


def reap_group(group: int) -> None:
    """Reap the children of this process in group GROUP that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass
