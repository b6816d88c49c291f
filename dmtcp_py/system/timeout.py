"""A time-out for waits in which this process itself may be stopped."""

from __future__ import annotations

import time


class Timeout:
    """A time-out that does not run on while this process is stopped, by Ctrl-Z or by a scheduler that suspends jobs.

    `is_over` has to be called at least once a second.
    """

    def __init__(self, limit_s: float) -> None:
        self._left_s = self._limit_s = limit_s
        self._looked_at = time.monotonic()

    def is_over(self) -> bool:
        """Whether the time is over, not counting more than a second since the last look."""
        now = time.monotonic()
        self._left_s -= min(now - self._looked_at, 1.0)
        self._looked_at = now
        return self._left_s < 0

    def renew(self) -> None:
        """Begin again."""
        self._left_s = self._limit_s
