"""Signals, ended children, finished work and the passing of time as one stream.

Signal handlers only wake the loop; worker threads hand their results in with `EventStream.post`.
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
    """The wake-up descriptor of the process and what woke it. One exists at a time, in the main thread."""

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
        """Put the process's signal handling back as it was."""
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()

    def post(self, event: object) -> None:
        """Hand EVENT in from any thread."""
        self._posted.append(event)
        with suppress(OSError):
            self._writer.send(_POSTED)

    def has_any(self, signals: Collection[int]) -> bool:
        """Return whether one of SIGNALS has come that `wait` has not returned yet."""
        self._read()
        return any(number in signals for number in self._signals)

    def wait(self, timeout_s: float) -> tuple[list[int], list[Any]]:
        """Block until something happens or TIMEOUT_S is over; return the signals and the posted events since."""
        # select() cannot watch descriptors from 1024 on, and poll() can
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
    """Let the byte on the wake-up descriptor do the rest."""
