"""Stopping or killing all processes below one, and having those go on that were stopped."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from dmtcp_py.system.proc import processes_below, state_of

if TYPE_CHECKING:
    from collections.abc import Collection

_STOPPED = "Tt"


def pause_below(root: int, *, but: Collection[int]) -> set[int]:
    """Stop all processes below ROOT, without it and those in BUT; return those that were not stopped before."""
    running = {pid for pid in processes_below(root)[1:] if state_of(pid) not in (None, *_STOPPED)} - {*but}
    return _send(running, signal.SIGSTOP)


def kill_below(root: int, *, but: Collection[int]) -> None:
    """Kill all processes below ROOT, without it and those in BUT."""
    _send({*processes_below(root)[1:]} - {*but}, signal.SIGKILL)


def go_on(paused: Collection[int]) -> None:
    """Have the processes PAUSED go on."""
    _send(paused, signal.SIGCONT)


def _send(pids: Collection[int], signum: int) -> set[int]:
    """Send SIGNUM to those of PIDS that are there, and return them."""
    reached = set()
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signum)
            reached.add(pid)
    return reached
