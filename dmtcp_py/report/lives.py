"""The lives of a program, as the history tells: what each computed, and what of that was kept. PURE.

A life begins when the program is launched or resumed, and ends with it. An attempt has several if an engine lost the
program. What a program computes after the generation from which the next life begins is lost, and computed again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from dmtcp_py.store.lines import is_beginning, is_end, is_generation, number_of, time_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_FINISHED = "finished"
_GOOD_ENDS = (_FINISHED, "checkpointed")
_LEAST_S = 0.001
"""Figures in the history are rounded."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A generation that was committed; RAN_S is how long the program had run in its life until then."""

    generation: int
    at: datetime
    reason: str
    size: int
    ran_s: float
    pause_s: float
    commit_s: float
    program_stopped: bool
    computed_s: float
    """What the program had computed by then, in all of its lives."""


class Life(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One life of a program. It ran for RAN_S seconds, of which LOST_S were lost and PAUSES_S went into checkpoints."""

    attempt: int
    began: datetime
    """When the program came up, TOOK_S after its start was begun."""
    took_s: float
    submitted: datetime | None
    """When the batch job entered the queue; None if the scheduler did not say."""
    resumed: int | None
    """The generation that it came from; None if it is the program's beginning."""
    facts: dict[str, Any]
    """The line of the history with which it began."""
    generations: tuple[dict[str, Any], ...] = ()
    """The lines of the history that say that one was committed."""
    pauses_s: float = 0.0
    """How long the program waited for them."""
    ended_by: dict[str, Any] | None = None
    """The line of the history that says how it ended; None if it runs, or nobody noted the end."""
    is_running: bool = False
    ran_s: float = 0.0
    base_s: float = 0.0
    """What was computed in the lives before."""
    kept_s: float = 0.0
    """What it computed, without checkpoints, and was not lost."""
    lost_s: float = 0.0
    lost_from_s: float | None = None
    """From which second of the life on everything was lost; None if nothing was."""
    follows: str | None = None
    """What was to follow in the batch system."""
    troubles: tuple[dict[str, Any], ...] = ()
    """The lines of the history that say what went wrong in it, or ended it before the program's own end."""
    failed: tuple[dict[str, Any], ...] = ()
    """Those of checkpoints that failed since the last one."""

    @cached_property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The generations that it left, oldest first."""
        found, pauses_s = [], 0.0
        for line in self.generations:
            found.append(_checkpoint(self, line, pauses_s))
            pauses_s += found[-1].pause_s
        return tuple(found)

    @cached_property
    def newest(self) -> Checkpoint | None:
        """The last of them."""
        if not self.generations:
            return None
        last = self.generations[-1]
        return _checkpoint(self, last, self.pauses_s - number_of(last, "checkpoint_s"))

    @property
    def has_finished(self) -> bool:
        """Whether the program exited."""
        return self.ended_by is not None and self.ended_by.get("event") == _FINISHED

    @property
    def was_lost(self) -> bool:
        """Whether its engine lost it."""
        return self.ended_by is not None and self.ended_by.get("event") == "failed"

    @property
    def ended(self) -> datetime:
        """When it ended, or the moment at which it was looked at."""
        return self.began + timedelta(seconds=self.ran_s)

    @property
    def start_began(self) -> datetime:
        """When its start was begun."""
        return self.began - timedelta(seconds=self.took_s)


class _Open(msgspec.Struct):
    """A life whose lines are being read."""

    line: dict[str, Any]
    began: datetime
    base_s: float
    generations: list[dict[str, Any]] = msgspec.field(default_factory=list)
    pauses_s: float = 0.0
    ended_by: dict[str, Any] | None = None
    ended: datetime | None = None
    newest: dict[str, Any] | None = None
    """The last of its lines."""
    follows: str | None = None
    troubles: list[dict[str, Any]] = msgspec.field(default_factory=list)
    failed: list[dict[str, Any]] = msgspec.field(default_factory=list)

    def add(self, line: dict[str, Any]) -> None:
        """Read a line that was written after the life began; others than its own are skipped."""
        event, epoch = line.get("event"), self.line.get("epoch")
        if event == "killed" and line.get("attempt") == epoch and self.ended_by is None:
            self.ended_by, self.ended = line, time_of(line, "last_seen")
            self.troubles.append(line)
        if line.get("epoch") != epoch:
            return
        self.newest = line
        if is_generation(line):
            self.generations.append(line)
            self.pauses_s += number_of(line, "checkpoint_s")
            self.failed.clear()
        elif event == "follows":
            self.follows = str(line.get("what"))
        elif event == "failed" or is_end(line):
            self._note(line)

    def _note(self, line: dict[str, Any]) -> None:
        """Note what failed, and how the life ended."""
        if line.get("event") not in _GOOD_ENDS:
            self.troubles.append(line)
        if is_end(line):
            self.ended_by, self.ended = line, time_of(line)
        elif line.get("what") == "checkpoint":
            self.failed.append(line)


def lives_of(
    history: Iterable[dict[str, Any]], lineage: int, *, now: datetime | None = None, last_seen: datetime | None = None
) -> tuple[Life, ...]:
    """Return the lives of the program of LINEAGE, oldest first.

    NOW is None unless it runs. LAST_SEEN is the last heartbeat of an attempt whose end nobody noted yet.
    """
    found: list[_Open] = []
    for line in history:
        if line.get("event") == "pruned":
            # half of a long history
            continue
        if is_beginning(line) and line.get("lineage") == lineage:
            if (began := time_of(line)) is not None:
                found.append(_Open(line=line, began=began, base_s=_computed_before(line, found)))
        elif found:
            found[-1].add(line)
    lives = [_closed(one) for one in found]
    if lives and lives[-1].ended_by is None:
        lives[-1] = _last(lives[-1], now, last_seen)
    return tuple(_with_losses(lives))


def newest_of(lives: Sequence[Life]) -> Checkpoint | None:
    """Return the generation from which the program would be resumed next; None if there is none."""
    return next((life.newest for life in reversed(lives) if life.generations), None)


def _checkpoint(life: Life, line: dict[str, Any], pauses_s: float) -> Checkpoint:
    """Return the generation of LINE; before it the program had waited PAUSES_S in this life."""
    ran_s = number_of(line, "ran_s")
    return Checkpoint(
        generation=line["generation"],
        at=time_of(line) or life.began,
        reason=str(line.get("reason", "")),
        size=line["size"],
        ran_s=ran_s,
        pause_s=number_of(line, "checkpoint_s"),
        commit_s=number_of(line, "commit_s"),
        program_stopped=bool(line.get("program_stopped")),
        computed_s=life.base_s + ran_s - pauses_s,
    )


def _computed_before(line: dict[str, Any], found: Sequence[_Open]) -> float:
    """Return what had been computed by the generation with which a life begins, as LINE says."""
    if line.get("event") != "resumed":
        return 0.0
    closed = (_closed(one) for one in reversed(found))
    kept = (_of_number(life, line.get("generation")) for life in closed)
    return next((one.computed_s for one in kept if one is not None), 0.0)


def _of_number(life: Life, number: object) -> Checkpoint | None:
    """Return the generation with this NUMBER; None if LIFE did not leave it."""
    if life.newest is not None and life.newest.generation == number:
        return life.newest
    if not any(line["generation"] == number for line in life.generations):
        return None
    return next(one for one in life.checkpoints if one.generation == number)


def _closed(one: _Open) -> Life:
    line = one.line
    life = Life(
        attempt=int(number_of(line, "epoch")),
        began=one.began,
        took_s=number_of(line, "took_s"),
        submitted=time_of(line, "submitted"),
        resumed=line.get("generation") if line.get("event") == "resumed" else None,
        facts=line,
        generations=tuple(one.generations),
        pauses_s=one.pauses_s,
        ended_by=one.ended_by,
        base_s=one.base_s,
        follows=one.follows,
        troubles=tuple(one.troubles),
        failed=tuple(one.failed),
    )
    known = (one.ended_by or {}).get("ran_s")
    until = one.ended or time_of(one.newest or line) or one.began
    ran_s = float(known) if isinstance(known, int | float) else (until - one.began).total_seconds()
    return msgspec.structs.replace(life, ran_s=_no_shorter(life, ran_s))


def _last(life: Life, now: datetime | None, last_seen: datetime | None) -> Life:
    until = now or last_seen
    if until is None:
        return life
    ran_s = _no_shorter(life, (until - life.began).total_seconds())
    return msgspec.structs.replace(life, ran_s=ran_s, is_running=now is not None)


def _no_shorter(life: Life, ran_s: float) -> float:
    """Return RAN_S, which clocks that disagree cannot make shorter than the life's checkpoints show."""
    last = life.newest
    if last is None:
        return max(ran_s, 0.0)
    by_then = last.ran_s + last.pause_s
    # what comes after a last checkpoint is no life of the program's
    return by_then if last.program_stopped else max(ran_s, by_then)


def _with_losses(lives: Sequence[Life]) -> list[Life]:
    """Return LIVES with what each of them kept and lost, judged by where the next ones began."""
    newest = newest_of(lives)
    needed = None if newest is None else newest.generation
    found = []
    for number, life in reversed(list(enumerate(lives))):
        is_whole = number == len(lives) - 1 and (life.is_running or life.has_finished)
        kept = _of_number(life, needed)
        found.append(_with_loss(life, kept, is_whole=is_whole))
        if is_whole or kept is not None:
            needed = life.resumed
    return found[::-1]


def _with_loss(life: Life, kept: Checkpoint | None, *, is_whole: bool) -> Life:
    computed_s = life.ran_s - life.pauses_s
    if is_whole:
        return msgspec.structs.replace(life, kept_s=computed_s)
    kept_s = 0.0 if kept is None else kept.computed_s - life.base_s
    lost_s = computed_s - kept_s
    if lost_s < _LEAST_S:
        return msgspec.structs.replace(life, kept_s=kept_s)
    lost_from_s = 0.0 if kept is None else kept.ran_s + kept.pause_s
    return msgspec.structs.replace(life, kept_s=kept_s, lost_s=lost_s, lost_from_s=lost_from_s)
