"""One stream of events: signals, among them SIGCHLD, the results of worker threads, and time-outs.

Signal handlers only wake the loop. Worker threads pass their results with `EventStream.post`.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from types import FrameType

_POSTED = b"\0"


class EventStream:
    """The wake-up descriptor of the process and the events since. Only one exists at a time, in the main thread."""

    def __init__(self, signals: Iterable[int]) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._posted: deque[Any] = deque()
        self._signals: list[int] = []
        self._handlers = {
            number: signal.signal(number, _only_wake)
            for number in {*signals, signal.SIGCHLD}
            if signal.getsignal(number) is not signal.SIG_IGN or number == signal.SIGCHLD
        }
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def close(self) -> None:
        """Restore the signal handling of the process."""
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()

    def post(self, event: object) -> None:
        """Add EVENT to the stream and wake the loop; callable from any thread."""
        self._posted.append(event)
        with suppress(OSError):
            self._writer.send(_POSTED)

    def has_any(self, signals: Collection[int]) -> bool:
        """Return whether one of SIGNALS has arrived that `wait` has not returned yet."""
        self._read()
        return any(number in signals for number in self._signals)

    def wait(self, timeout_s: float) -> tuple[list[int], list[Any]]:
        """Block until an event arrives or TIMEOUT_S is over; return the new signals and posted events."""
        # unlike select(), poll() can watch descriptors above 1023
        poller = select.poll()
        poller.register(self._reader, select.POLLIN)
        poller.poll(0 if self._signals or self._posted else max(timeout_s, 0) * 1000)
        self._read()
        signals, self._signals = self._signals, []
        events = []
        while self._posted:
            events.append(self._posted.popleft())
        return signals, events

    def _read(self) -> None:
        with suppress(BlockingIOError):
            while data := os.read(self._reader.fileno(), 4096):
                self._signals.extend(number for number in data if number)


def _only_wake(_signum: int, _frame: FrameType | None) -> None:
    """Do nothing: Python has written the signal number to the wake-up descriptor."""
