"""Descriptors of another process, as our own for a moment (pidfd_getfd(2)). Uses the standard library alone."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIDFD_GETFD = 438


def descriptors_of(pid: int, target: str) -> Iterator[int]:
    """Yield the numbers of the descriptors of process PID whose targets begin with TARGET."""
    folder = Path(f"/proc/{pid}/fd")
    for name in os.listdir(folder):  # noqa: PTH208 - only names are needed
        if os.readlink(folder / name).startswith(target):
            yield int(name)


@contextmanager
def taken(pid: int, fd: int) -> Iterator[int]:
    """Have descriptor FD of process PID as our own. Raises OSError."""
    pidfd = os.pidfd_open(pid)
    try:
        own = checked(ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, pidfd, fd, 0))
    finally:
        os.close(pidfd)
    try:
        yield own
    finally:
        os.close(own)


def checked(result: int) -> int:
    """Return the RESULT of a call of the C library; raise OSError if it is an error."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
