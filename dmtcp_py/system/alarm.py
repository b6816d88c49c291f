"""Waiting for a moment by a clock that goes on while the machine is suspended, which no wait of Python does."""

from __future__ import annotations

import ctypes
import os
import select
import time

from dmtcp_py.system.libc import call, made

_CLOEXEC, _NONBLOCK = os.O_CLOEXEC, os.O_NONBLOCK
_ABSOLUTE = 1
_EARLIEST_NS = 1
"""A moment that has passed; 0 would disarm the timer."""


class _Times(ctypes.Structure):
    """``struct itimerspec``: the interval, which stays 0, and the moment."""

    _fields_ = (("interval", ctypes.c_long * 2), ("moment", ctypes.c_long * 2))


def boottime_s() -> float:
    """Return a time in seconds that goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Alarm:
    """A moment that one thread waits for and any thread may change (timerfd_create(2))."""

    def __init__(self) -> None:
        self._fd = made("timerfd_create", time.CLOCK_BOOTTIME, _CLOEXEC | _NONBLOCK)

    def set(self, at_s: float = 0.0) -> None:
        """Have `wait` return once `boottime_s` is AT_S; without it at once."""
        seconds, nanoseconds = divmod(max(int(at_s * 1e9), _EARLIEST_NS), 1_000_000_000)
        times = _Times((0, 0), (seconds, nanoseconds))
        call("timerfd_settime", self._fd, _ABSOLUTE, ctypes.byref(times), None)

    def wait(self) -> None:
        """Wait until the moment has come; a machine that was suspended meanwhile returns as it wakes."""
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        poller.poll()

    def close(self) -> None:
        """Give the timer back; nobody may wait any more."""
        os.close(self._fd)
