"""Requests to a running attempt: one file a request, in which the attempt writes its answer.

They are files and not sockets so that they work from every machine that sees the job's directory. Those of dmtcp-ctl
are regular files, those of the program itself links: see `dmtcp_py.store.inside`.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from dmtcp_py.errors import DmtcpRunError, LockedError, StoreError
from dmtcp_py.store import inside
from dmtcp_py.store.access import refuse_job
from dmtcp_py.store.lock import holding, is_running
from dmtcp_py.store.records import Request, decode, encode, plain, read_record, utc_now
from dmtcp_py.system.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.lock import Holding

ACTIONS = ("checkpoint", "stop")
_POLL_S = 0.1
"""Interval between two looks for the answer."""
_ALIVE_CHECK_S = 1.0
"""Interval between two checks that the attempt still runs."""


class PendingRequest(msgspec.Struct, frozen=True):
    """A request that was read and not answered yet."""

    path: Path
    request: Request

    @property
    def action(self) -> str:
        """The requested action, one of ACTIONS."""
        return self.request.action

    def answer(self, *, ok: bool, text: str, generation: int | None = None) -> None:
        """Write the answer into the request's file. It is not an error if nobody waits for it any more."""
        with suppress(OSError):
            answered = msgspec.structs.replace(self.request, ok=ok, answer=text, generation=generation)
            if self.path.is_symlink():
                inside.write_answer(self.path, plain(answered))
            else:
                write_atomic(self.path, encode(answered), durable=False)


class RequestQueue:
    """The requests to one running attempt that were read and not answered yet."""

    def __init__(self, layout: JobLayout) -> None:
        self._layout = layout
        self._waiting: list[PendingRequest] = []
        self._being_answered: list[PendingRequest] = []

    def read(self) -> Iterator[PendingRequest]:
        """Yield the requests since the last call, and remember them until they are answered."""
        for request in collect(self._layout):
            self._waiting.append(request)
            yield request

    def begin_answering(self) -> None:
        """Let the next `answer` answer all requests that were read until now."""
        self._being_answered, self._waiting = [*self._being_answered, *self._waiting], []

    def answer(self, *, ok: bool, text: str, generation: int | None = None) -> None:
        """Answer the requests that were read before `begin_answering`."""
        answered, self._being_answered = self._being_answered, []
        for request in answered:
            request.answer(ok=ok, text=text, generation=generation)

    def answer_all(self, *, ok: bool, text: str) -> None:
        """Answer all remaining requests."""
        self.begin_answering()
        self.answer(ok=ok, text=text)


def collect(layout: JobLayout) -> list[PendingRequest]:
    """Return the requests since the last call, and rename their files so that no later call returns them."""
    found = []
    for path in _request_files(layout):
        try:
            request = _read(path)
            taken = path.with_suffix(inside.TAKEN)
            path.rename(taken)
        except (StoreError, OSError):
            with suppress(OSError):
                path.unlink()
            continue
        waiting = PendingRequest(taken, request)
        if request.action in ACTIONS:
            found.append(waiting)
        else:
            waiting.answer(ok=False, text=f"the running dmtcp-run does not know the action '{request.action}'")
    return found


def _read(path: Path) -> Request:
    if path.is_symlink():
        return decode(os.fsencode(os.readlink(path)), Request, path)
    return read_record(path, Request)


def clear(layout: JobLayout) -> None:
    """Remove the requests to earlier attempts."""
    with suppress(FileNotFoundError):
        for path in list(layout.requests.iterdir()):
            with suppress(OSError):
                path.unlink()


def ask(layout: JobLayout, action: str, *, timeout_s: float, is_served: Callable[[], bool]) -> Request | None:
    """Request ACTION from the running attempt; return its answer, or None if there is none within TIMEOUT_S.

    IS_SERVED returns whether the attempt still runs; once it does not, the wait ends.
    """
    refuse_job(layout)
    name = f"{time.time_ns()}-{os.uname().nodename}-{os.getpid()}"
    path = layout.requests / f"{name}{inside.ASK}"
    request = Request(action=action, asked_by=f"pid {os.getpid()} on {os.uname().nodename}", asked=utc_now())
    taken = path.with_suffix(inside.TAKEN)
    checked_at = time.monotonic()
    until = checked_at + timeout_s
    is_alive = True
    try:
        _write_request(layout, path, request)
        while time.monotonic() < until:
            # read after the check: the attempt may answer and end at once
            with suppress(FileNotFoundError):
                answer = read_record(taken, Request)
                if answer.ok is not None:
                    return answer
            if not is_alive:
                return None
            if time.monotonic() - checked_at > _ALIVE_CHECK_S:
                checked_at = time.monotonic()
                is_alive = is_served()
            else:
                time.sleep(_POLL_S)
        return None
    finally:
        for leftover in (path, taken):
            with suppress(OSError):
                leftover.unlink()


def _write_request(layout: JobLayout, path: Path, request: Request) -> None:
    try:
        write_atomic(path, encode(request), durable=False)
    except OSError as error:
        raise StoreError(
            f"{layout.requests} cannot be written: {error.strerror}", "check that the job is yours"
        ) from error


def _wake(layout: JobLayout, held: Holding, say: Callable[[str], None]) -> None:
    """Have a suspended attempt go on, and SAY so. Raises LockedError if it belongs to another user."""
    try:
        os.kill(held.record.pid, signal.SIGCONT)
    except PermissionError:
        raise LockedError(
            f"job {layout.name} {held.where}, and belongs to another user",
            f"ask them to type 'fg' in its shell, or 'kill -CONT {held.record.pid}'",
        ) from None
    say(f"job {layout.name} was suspended; dmtcp-run (pid {held.record.pid}) goes on")


def request_action(
    layout: JobLayout, action: str, *, timeout_s: float, say: Callable[[str], None] = lambda _: None
) -> Request:
    """Request ACTION from the running attempt of a job and return its answer; wake it if it is suspended, and SAY so.

    Raises DmtcpRunError if the job is not running, and LockedError if it does not answer within TIMEOUT_S.
    """
    held = holding(layout)
    if held is None or not held.is_alive:
        raise DmtcpRunError(f"job {layout.name} is not running", f"'dmtcp-ctl status {layout.name}' shows how it ended")
    if held.is_suspended:
        _wake(layout, held, say)
    answer = ask(layout, action, timeout_s=timeout_s, is_served=lambda: is_running(layout))
    if answer is None and not is_running(layout):
        raise DmtcpRunError(
            f"job {layout.name} ended before it answered", f"'dmtcp-ctl status {layout.name}' shows how"
        )
    if answer is None:
        raise LockedError(
            f"job {layout.name} on {held.record.host} (pid {held.record.pid}) did not answer within {timeout_s:.0f} s",
            "check the program there, or wait longer with --timeout",
        )
    return answer


def _request_files(layout: JobLayout) -> list[Path]:
    try:
        with os.scandir(layout.requests) as entries:
            return sorted(layout.requests / entry.name for entry in entries if entry.name.endswith(inside.ASK))
    except FileNotFoundError:
        return []
