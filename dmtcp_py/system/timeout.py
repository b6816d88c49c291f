"""A time-out for waits during which this process itself may be stopped."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_UNSEEN_S = 1.0


class Timeout:
    """A time-out that does not count time in which this process is stopped, by Ctrl-Z or by the scheduler.

    Call `is_over` at least once a second; what takes longer has to be `counted`.
    """

    def __init__(self, limit_s: float) -> None:
        self._left_s = self._limit_s = limit_s
        self._checked_at, self._waited_s = time.monotonic(), _waits.total_s

    def is_over(self) -> bool:
        """Return whether the time is over. Of what was not `counted` since the last call, one second is at most."""
        now, waited_s = time.monotonic(), _waits.total_s
        self._left_s -= min(now - self._checked_at, _MOST_UNSEEN_S + waited_s - self._waited_s)
        self._checked_at, self._waited_s = now, waited_s
        return self._left_s < 0

    def renew(self) -> None:
        """Start the time-out again."""
        self._left_s = self._limit_s


@contextmanager
def counted(most_s: float) -> Iterator[None]:
    """Have time-outs count what the block takes, up to MOST_S: it waits for somebody who may not answer."""
    began = time.monotonic()
    try:
        yield
    finally:
        _waits.add(min(time.monotonic() - began, most_s))


class _Waits:
    """How long blocks that are counted have taken, in whichever thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        with self._lock:
            self.total_s += seconds


_waits = _Waits()
