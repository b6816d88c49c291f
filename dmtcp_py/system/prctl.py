"""prctl(2): settings of this process and its children in the kernel."""

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
    """Make this process the parent of orphans among its descendants, so that it can find, end and reap them."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise EngineError(
            f"prctl({option}) failed: {os.strerror(ctypes.get_errno())}", "dmtcp-run needs Linux 3.4 or later"
        )
