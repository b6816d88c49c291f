"""The supervisor's side of mirrors: a process for each that copies while the program runs, and one that fetches.

A mirror that fails stops nothing: it is reported once, shown by ``dmtcp-ctl status``, and catches up.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from dmtcp_py.attempt.mirror_process import end, holder_of, process_of
from dmtcp_py.attempt.outcome import Kind
from dmtcp_py.attempt.policy import STOP_SIGNALS
from dmtcp_py.errors import EngineError, FencedError
from dmtcp_py.messages import VERBOSE
from dmtcp_py.mirror.address import address_of
from dmtcp_py.mirror.order import Order
from dmtcp_py.store.mirrored import forget_mirrors
from dmtcp_py.store.records import path_text
from dmtcp_py.system.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dmtcp_py.attempt.outcome import Outcome
    from dmtcp_py.attempt.plan import Plan
    from dmtcp_py.messages import Report
    from dmtcp_py.mirror.address import Address
    from dmtcp_py.system.child import Child
    from dmtcp_py.system.events import EventStream

_FIRST_RESTART_S, _LAST_RESTART_S = 5.0, 300.0
END_MARGIN_S = 5.0
"""How long before the end of the allocation a copy is left unfinished."""
FINISHED_WAIT_S = 15.0
"""How long a mirror may take to note that the program has finished."""
_LOOK_S = 1.0
_NO_ANSWER = "it did not answer in time"


class MirrorSaid(msgspec.Struct, frozen=True):
    """What the process of MIRROR reported; None at its end."""

    mirror: _Mirror
    values: dict[str, Any] | None


class _Mirror(msgspec.Struct):
    """One mirror and the process that copies to it."""

    address: Address
    child: Child | None = None
    restart_at: float | None = None
    pause_s: float = _FIRST_RESTART_S
    result: str | None = None
    """How the copying ended, once the attempt has ended: empty if all is there, else why not."""
    problem: str = _NO_ANSWER
    copied: list[int] = msgspec.field(default_factory=list)

    def send(self, line: bytes) -> None:
        if self.child is not None and self.child.stdin is not None:
            with suppress(OSError, ValueError):
                self.child.stdin.write(line + b"\n")
                self.child.stdin.flush()


class Mirrors:
    """The mirrors of an attempt; without any, every method does nothing."""

    def __init__(self, plan: Plan, report: Report, post: Callable[[MirrorSaid], None]) -> None:
        self._plan, self._report, self._post = plan, report, post
        self._mirrors = [_Mirror(address_of(text)) for text in plan.options.mirrors]
        self._has_begun = False
        forget_mirrors(plan.store.layout, {mirror.address.key for mirror in self._mirrors})

    def begin(self) -> None:
        """Begin to copy, or note that another computation begins, before which files went back."""
        for mirror in self._mirrors:
            if self._has_begun:
                mirror.send(b"anew")
            else:
                self._start(mirror)
        self._has_begun = True

    def committed(self) -> None:
        """Have a new generation copied."""
        for mirror in self._mirrors:
            mirror.send(b"committed")

    def poll(self) -> None:
        """Start processes that have ended again, when it is time for that."""
        for mirror in self._mirrors:
            if mirror.restart_at is not None and time.monotonic() >= mirror.restart_at:
                mirror.restart_at = None
                self._start(mirror)

    def heard(self, said: MirrorSaid) -> None:
        """React to what a process reported; raise FencedError if another attempt goes on with the job."""
        mirror, values = said.mirror, said.values
        if values is None:
            self._ended(mirror)
        elif "copied" in values:
            self._copied(mirror, values)
        elif "problem" in values:
            mirror.problem = values["problem"]
            text = (
                mirror.problem
                if mirror.address.shown in mirror.problem
                else f"{mirror.address.shown}: {mirror.problem}"
            )
            hint = f"; {values['hint']}" if values.get("hint") else ""
            self._report.warn(f"{text}{hint}; the program runs on, and the mirror is tried again")
            self._plan.store.record("failed", what="mirror", mirror=mirror.address.shown, error=mirror.problem)
        elif "recovered" in values:
            mirror.problem = _NO_ANSWER
            self._report.say(f"mirror {mirror.address.shown} answers again", event="mirror")
        elif "warn" in values:
            self._report.warn(values["warn"])
        elif "taken_over" in values:
            raise FencedError(
                f"job {self._plan.store.layout.name} was resumed elsewhere: {values['taken_over']}",
                "this attempt stops and commits nothing more",
            )
        elif "left" in values:
            mirror.result = values["left"]

    def heard_among(self, events: Iterable[object]) -> None:
        """React to those of EVENTS that are a mirror's, as `heard` does."""
        for event in events:
            if isinstance(event, MirrorSaid):
                self.heard(event)

    def finish(self, outcome: Outcome, stream: EventStream, end_at: float | None) -> None:
        """Let what is left be copied until END_AT, or until a signal insists, and say what is where."""
        if not self._mirrors or not self._has_begun:
            return
        is_finished = outcome.kind is Kind.FINISHED
        until = None if end_at is None else end_at - END_MARGIN_S
        if is_finished:
            until = min(time.monotonic() + FINISHED_WAIT_S, until or float("inf"))
        for mirror in self._mirrors:
            if mirror.child is None:
                mirror.result = mirror.problem
            mirror.send(f"finish {outcome.kind.value}".encode())
        if outcome.generation is not None and not is_finished and not all(self._has(outcome.generation)):
            left = "" if until is None else f" (at most {format_duration(max(until - time.monotonic(), 0))})"
            self._report.say(f"copying generation {outcome.generation} to the mirror{left}", event="mirroring")
        self._wait(stream, until)
        for mirror in self._mirrors:
            self._say_end(mirror, outcome, is_finished=is_finished)

    def close(self) -> None:
        """End the processes."""
        for mirror in self._mirrors:
            if mirror.child is not None:
                end(mirror.child)
                mirror.child = None

    def _has(self, generation: int) -> list[bool]:
        return [generation in mirror.copied for mirror in self._mirrors]

    def _wait(self, stream: EventStream, until: float | None) -> None:
        while any(mirror.result is None for mirror in self._mirrors):
            left_s = _LOOK_S if until is None else min(until - time.monotonic(), _LOOK_S)
            if left_s <= 0:
                return
            ended = [mirror for mirror in self._mirrors if mirror.child is None or mirror.child.poll() is not None]
            signals, posted = stream.wait(left_s)
            for mirror in ended if not posted and not signals else ():
                # whatever it reported was heard
                mirror.result = mirror.problem if mirror.result is None else mirror.result
            self.heard_among(posted)
            if any(number in STOP_SIGNALS for number in signals):
                for mirror in self._mirrors:
                    mirror.problem = "interrupted"
                return

    def _say_end(self, mirror: _Mirror, outcome: Outcome, *, is_finished: bool) -> None:
        shown = mirror.address.shown
        why = mirror.problem if mirror.result is None else mirror.result
        if is_finished:
            if why:
                self._report.warn(
                    f"mirror {shown} does not know that the job has finished ({why}): do not resume it from there"
                )
            return
        if outcome.generation is None:
            return
        number = outcome.generation
        if why:
            self._report.warn(f"generation {number} is not at mirror {shown} ({why}); it is in the job's directory")
        else:
            self._report.say(f"generation {number} is at mirror {shown}", event="mirrored", generation=number)

    def _copied(self, mirror: _Mirror, values: dict[str, Any]) -> None:
        mirror.copied.append(values["copied"])
        mirror.pause_s, mirror.problem = _FIRST_RESTART_S, _NO_ANSWER
        generation, size, seconds = values["copied"], values["size"], values["seconds"]
        shown = mirror.address.shown
        self._plan.store.record("mirrored", generation=generation, mirror=shown, size=size, seconds=seconds)
        text = f"generation {generation} copied to {shown} ({format_size(size)}, {format_duration(seconds)})"
        self._report.say(text, level=VERBOSE, event="mirrored", generation=generation, mirror=shown)

    def _start(self, mirror: _Mirror) -> None:
        plan = self._plan
        order = Order(
            root=path_text(plan.store.layout.root.absolute()),
            mirrors=[mirror.address.text],
            holder=holder_of(plan.store),
            keep=plan.options.keep,
            rate=plan.options.mirror_rate,
        )
        try:
            mirror.child = process_of("worker", order)
        except EngineError as error:
            mirror.problem, mirror.restart_at = error.what, time.monotonic() + _LAST_RESTART_S
            return
        mirror.result = None
        threading.Thread(target=_read, args=[mirror, mirror.child, self._post], daemon=True).start()

    def _ended(self, mirror: _Mirror) -> None:
        if mirror.child is not None:
            end(mirror.child)
            mirror.child = None
        if mirror.result is None:
            mirror.result = mirror.problem
        mirror.restart_at = time.monotonic() + mirror.pause_s
        mirror.pause_s = min(2 * mirror.pause_s, _LAST_RESTART_S)


def without_passwords(options: dict[str, Any]) -> dict[str, Any]:
    """Return OPTIONS, by their names, with mirrors as they may be shown: the history is read by others, too."""
    mirrors = options.get("mirrors")
    return {**options, "mirrors": [address_of(text).shown for text in mirrors]} if mirrors else options


def _read(mirror: _Mirror, child: Child, post: Callable[[MirrorSaid], None]) -> None:
    for line in child.stdout or ():
        with suppress(msgspec.DecodeError):
            post(MirrorSaid(mirror, msgspec.json.decode(line)))
    post(MirrorSaid(mirror, None))
