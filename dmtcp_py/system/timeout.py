"""A time-out for waits during which this process itself may be stopped."""

from __future__ import annotations

import time


class Timeout:
    """A time-out that does not count time in which this process is stopped, by Ctrl-Z or by the scheduler.

    Call `is_over` at least once a second.
    """

    def __init__(self, limit_s: float) -> None:
        self._left_s = self._limit_s = limit_s
        self._checked_at = time.monotonic()

    def is_over(self) -> bool:
        """Return whether the time is over. At most one second is counted since the previous call."""
        now = time.monotonic()
        self._left_s -= min(now - self._checked_at, 1.0)
        self._checked_at = now
        return self._left_s < 0

    def renew(self) -> None:
        """Start the time-out again."""
        self._left_s = self._limit_s
