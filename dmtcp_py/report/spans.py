"""What each second of a job went into, from its first submission to its end, and the sums of that. PURE."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from dmtcp_py.report.lives import Life

_QUEUES = ("requeue", "resubmit")
"""What an attempt records to follow it, if that is a wait in the scheduler's queue."""


class Use(Enum):
    """What time goes into; the values stand in JSON."""

    COMPUTED = "computed"
    LOST = "lost"
    """Computed after the generation from which the next life began, and computed again there."""
    CHECKPOINTS = "checkpoints"
    """The program waited for its images to be written."""
    STARTS = "starts"
    """Launching, or verifying and restarting."""
    QUEUE = "queue"
    """The batch job waited for a node."""
    IDLE = "idle"
    """Nothing was asked to run the program."""


_WITHIN = (Use.COMPUTED, Use.LOST, Use.CHECKPOINTS)


class Span(Struct, frozen=True):
    """A stretch of time and what it went into."""

    use: Use
    begin: datetime
    end: datetime

    @property
    def length_s(self) -> float:
        """How long it is."""
        return (self.end - self.begin).total_seconds()


def spans_of(lives: Sequence[Life], *, queued_until: datetime | None = None) -> tuple[Span, ...]:
    """Return the time of LIVES, oldest first; QUEUED_UNTIL is the present of a job that waits for the next one."""
    return _spans(lives, _within, queued_until)


def waits_of(lives: Sequence[Life], *, queued_until: datetime | None = None) -> tuple[Span, ...]:
    """Return the time between LIVES, as `spans_of` has it."""
    return tuple(span for span in _spans(lives, _whole, queued_until) if span.use not in _WITHIN)


def _spans(
    lives: Sequence[Life], within: Callable[[Life], Iterable[Span]], queued_until: datetime | None
) -> tuple[Span, ...]:
    """Return the time of LIVES without overlaps; WITHIN is that of a life itself."""
    found: list[Span] = []
    for before, life in pairwise([None, *lives]):
        if life is None:
            continue
        for span in (*_before(before, life), *within(life)):
            begin = max(span.begin, found[-1].end) if found else span.begin
            if span.end > begin:
                found.append(Span(span.use, begin, span.end))
    if lives and queued_until is not None and queued_until > lives[-1].ended:
        found.append(Span(Use.QUEUE, lives[-1].ended, queued_until))
    return tuple(found)


def sums(spans: Sequence[Span]) -> dict[Use, float]:
    """Return how many seconds went into each use."""
    return {use: sum(span.length_s for span in spans if span.use is use) for use in Use}


def _before(before: Life | None, life: Life) -> Iterator[Span]:
    """Yield the wait for LIFE, and its start; BEFORE is the life before it."""
    start = life.start_began
    if before is not None and before.was_lost and before.attempt == life.attempt:
        # that the engine had lost it was noticed first
        start = before.ended
    elif before is not None:
        entered = life.submitted or (before.ended if before.follows in _QUEUES else start)
        entered = max(entered, before.ended)
        yield Span(Use.IDLE, before.ended, entered)
        yield Span(Use.QUEUE, entered, start)
    elif life.submitted is not None:
        yield Span(Use.QUEUE, life.submitted, start)
    yield Span(Use.STARTS, start, life.began)


def _within(life: Life) -> Iterator[Span]:
    """Yield what LIFE computed and lost, between its checkpoints."""
    at_s = 0.0
    for one in life.checkpoints:
        yield from _computing(life, at_s, one.ran_s)
        at_s = one.ran_s + one.pause_s
        yield Span(Use.CHECKPOINTS, _at(life, one.ran_s), _at(life, at_s))
    yield from _computing(life, at_s, life.ran_s)


def _whole(life: Life) -> tuple[Span, ...]:
    return (Span(Use.COMPUTED, life.began, life.ended),)


def _computing(life: Life, from_s: float, to_s: float) -> Iterator[Span]:
    lost_from_s = to_s if life.lost_from_s is None else min(max(life.lost_from_s, from_s), to_s)
    yield Span(Use.COMPUTED, _at(life, from_s), _at(life, lost_from_s))
    yield Span(Use.LOST, _at(life, lost_from_s), _at(life, to_s))


def _at(life: Life, ran_s: float) -> datetime:
    return life.began + timedelta(seconds=ran_s)
