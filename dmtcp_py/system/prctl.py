"""prctl(2): what this process asks of the kernel for itself and for its children."""

from __future__ import annotations

import ctypes
import os

from dmtcp_py.errors import EngineError

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)


def set_parent_death_signal(signum: int) -> None:
    """Have the kernel send SIGNUM to this process when its parent ends."""
    _prctl(_PR_SET_PDEATHSIG, signum)


def become_subreaper() -> None:
    """Adopt the orphans among our descendants, so that they can be found, ended and reaped."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise EngineError(f"prctl({option}) failed: {os.strerror(ctypes.get_errno())}", "is this Linux?")
