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

from dmtcp_py.errors import StoreError
from dmtcp_py.files import write_atomic
from dmtcp_py.store.records import Request, encode, read_record, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dmtcp_py.store.layout import JobLayout

ACTIONS = ("checkpoint", "stop")
_LOOK_S = 0.1
_SERVED_S = 1.0


@dataclass(frozen=True)
class Waiting:
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


def collect(layout: JobLayout) -> list[Waiting]:
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
        waiting = Waiting(taken, request)
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


def _asked(layout: JobLayout) -> list[Path]:
    try:
        with os.scandir(layout.requests) as entries:
            return sorted(layout.requests / entry.name for entry in entries if entry.name.endswith(".ask"))
    except FileNotFoundError:
        return []
