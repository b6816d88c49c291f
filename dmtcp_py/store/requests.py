"""What dmtcp-ctl asks of a running attempt: one file a request, answered in place.

Files and not sockets, so that it works from every machine that sees the job's directory.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from dmtcp_py.errors import DmtcpRunError, LockedError, StoreError
from dmtcp_py.store.lock import holding, is_running
from dmtcp_py.store.records import Request, encode, read_record, utc_now
from dmtcp_py.system.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dmtcp_py.store.layout import JobLayout

ACTIONS = ("checkpoint", "stop")
_LOOK_S = 0.1
_SERVED_S = 1.0


@dataclass(frozen=True)
class PendingRequest:
    """A request that was read and is to be answered."""

    path: Path
    request: Request

    @property
    def action(self) -> str:
        """What is asked for: one of ACTIONS."""
        return self.request.action

    def answer(self, *, ok: bool, text: str, generation: int | None = None) -> None:
        """Answer in place; where nobody waits for it any more that is no error."""
        with suppress(OSError):
            answered = msgspec.structs.replace(self.request, ok=ok, answer=text, generation=generation)
            write_atomic(self.path, encode(answered), durable=False)


class RequestQueue:
    """The requests of one running attempt, from when they are read until they are answered."""

    def __init__(self, layout: JobLayout) -> None:
        self._layout = layout
        self._waiting: list[PendingRequest] = []
        self._being_answered: list[PendingRequest] = []

    def read(self) -> Iterator[PendingRequest]:
        """Yield the requests that came since the last call, and keep them until they are answered."""
        for request in collect(self._layout):
            self._waiting.append(request)
            yield request

    def begin_answering(self) -> None:
        """Let the next `answer` be that of all requests that were read until now."""
        self._being_answered, self._waiting = [*self._being_answered, *self._waiting], []

    def answer(self, *, ok: bool, text: str, generation: int | None = None) -> None:
        """Answer those requests."""
        answered, self._being_answered = self._being_answered, []
        for request in answered:
            request.answer(ok=ok, text=text, generation=generation)

    def answer_all(self, *, ok: bool, text: str) -> None:
        """Answer all requests that are left."""
        self.begin_answering()
        self.answer(ok=ok, text=text)


def collect(layout: JobLayout) -> list[PendingRequest]:
    """Return the requests that came since the last call, and take them from their place."""
    found = []
    for path in _asked(layout):
        try:
            request = read_record(path, Request)
            taken = path.with_suffix(".taken")
            path.rename(taken)
        except (StoreError, OSError):
            with suppress(OSError):
                path.unlink()
            continue
        waiting = PendingRequest(taken, request)
        if request.action in ACTIONS:
            found.append(waiting)
        else:
            waiting.answer(ok=False, text=f"'{request.action}' is not known to the running dmtcp-run")
    return found


def clear(layout: JobLayout) -> None:
    """Drop what was asked of earlier attempts."""
    with suppress(FileNotFoundError):
        for path in list(layout.requests.iterdir()):
            with suppress(OSError):
                path.unlink()


def ask(layout: JobLayout, action: str, *, timeout_s: float, is_served: Callable[[], bool]) -> Request | None:
    """Ask the running attempt for ACTION; return its answer, None where none came within TIMEOUT_S.

    IS_SERVED says whether anybody is there to answer; where nobody is, the wait is over.
    """
    name = f"{time.time_ns()}-{os.uname().nodename}-{os.getpid()}"
    path = layout.requests / f"{name}.ask"
    request = Request(action=action, asked_by=f"pid {os.getpid()} on {os.uname().nodename}", asked=utc_now())
    try:
        write_atomic(path, encode(request), durable=False)
    except OSError as error:
        raise StoreError(f"{layout.requests} cannot be written: {error.strerror}", "is it your job?") from error
    taken = path.with_suffix(".taken")
    looked_at = time.monotonic()
    until = looked_at + timeout_s
    is_watched = True
    try:
        while time.monotonic() < until:
            # read after the look: an answer may come together with the end of the attempt
            with suppress(FileNotFoundError):
                answer = read_record(taken, Request)
                if answer.ok is not None:
                    return answer
            if not is_watched:
                return None
            if time.monotonic() - looked_at > _SERVED_S:
                looked_at = time.monotonic()
                is_watched = is_served()
            else:
                time.sleep(_LOOK_S)
        return None
    finally:
        for leftover in (path, taken):
            leftover.unlink(missing_ok=True)


def order(layout: JobLayout, action: str, *, timeout_s: float) -> Request:
    """Have the running attempt of a job do ACTION and return its answer."""
    held = holding(layout)
    if held is None or not held.is_alive:
        raise DmtcpRunError(f"job {layout.name} is not running", f"'dmtcp-ctl status {layout.name}' says how it ended")
    answer = ask(layout, action, timeout_s=timeout_s, is_served=lambda: is_running(layout))
    if answer is None and not is_running(layout):
        raise DmtcpRunError(f"job {layout.name} ended before it answered", f"look at 'dmtcp-ctl status {layout.name}'")
    if answer is None:
        raise LockedError(
            f"job {layout.name} on {held.record.host} (pid {held.record.pid}) did not answer within {timeout_s:.0f} s",
            "look at the program there, or give --timeout",
        )
    return answer


def _asked(layout: JobLayout) -> list[Path]:
    try:
        with os.scandir(layout.requests) as entries:
            return sorted(layout.requests / entry.name for entry in entries if entry.name.endswith(".ask"))
    except FileNotFoundError:
        return []
