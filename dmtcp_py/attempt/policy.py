"""What to do next. PURE: `decide` maps a situation and an event to the next situation and an action.

Times are seconds; the caller uses the same clock for all of them.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from enum import Enum

from dmtcp_py.batch.requeue import LIMIT, REQUEST

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
"""The signals that ask for a last checkpoint."""
INSISTING_SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""Of these a second one stops the program at once."""
SAME_PRESS_S = 0.5
"""Schedulers deliver one request in several ways; signals within this time count as one."""
_SOON = 0.25
"""An interval checkpoint is skipped if the last one comes within this share of the interval."""
LAST_TRIES = 2
"""How often a last checkpoint is tried before the program is left to run on."""
RETRY_S = 10.0
"""Time until the next checkpoint after one that was blocked, or after the last one failed."""
MOST_TIMES_BLOCKED = 3
"""How often in a row the first checkpoint may be blocked before the program is refused."""


class Phase(Enum):
    """What the attempt is doing."""

    RUNNING = "running"
    CHECKPOINTING = "checkpointing"
    STOPPING = "stopping"


@dataclass(frozen=True)
class Situation:
    """What `decide` remembers between events."""

    interval_s: float | None
    due_at: float | None
    phase: Phase = Phase.RUNNING
    first_press_at: float | None = None
    stop_wanted: str | None = None
    stopping_signal: int | None = None
    """The signal that asked for the stop in progress."""
    request_waits: bool = False
    tries: int = 0
    stop_reason: str | None = None
    """Why the last checkpoint is taken: LIMIT, REQUEST or the name of a signal."""
    stop_at: float | None = None
    """When the last checkpoint has to begin because the allocation ends; None without a limit."""
    end_at: float | None = None
    """When the program has to be ended, whether or not it has a last checkpoint."""
    may_refuse: bool = False
    """Whether a program that cannot be checkpointed is to be stopped."""
    times_blocked: int = 0
    """How often in a row a checkpoint was blocked."""


@dataclass(frozen=True)
class TimePassed:
    """Nothing happened but time."""


@dataclass(frozen=True)
class Signalled:
    """dmtcp-run was sent a signal."""

    signum: int


@dataclass(frozen=True)
class Asked:
    """dmtcp-ctl asked for something: ``checkpoint`` or ``stop``."""

    action: str


@dataclass(frozen=True)
class LimitSeen:
    """The time limit as it is known now: see the fields of `Situation`; both None where there is none."""

    stop_at: float | None
    end_at: float | None


@dataclass(frozen=True)
class CheckpointEnded:
    """The checkpoint in progress ended; ``interval_s`` is the interval to use from now on."""

    ok: bool
    interval_s: float | None
    was_blocked: bool = False
    """Whether the engine cannot checkpoint something that the program has, so that nothing was begun."""


Event = TimePassed | Signalled | Asked | LimitSeen | CheckpointEnded


@dataclass(frozen=True)
class Wait:
    """Let the program run."""


@dataclass(frozen=True)
class Checkpoint:
    """Take a checkpoint now; with ``then_stop`` no process of the program runs after it."""

    reason: str
    then_stop: bool


@dataclass(frozen=True)
class EndAttempt:
    """The last checkpoint is committed: end this attempt."""


@dataclass(frozen=True)
class StopNow:
    """End the program at once, without a checkpoint."""

    signum: int


@dataclass(frozen=True)
class GiveUp:
    """The time is over and the last checkpoint failed: end the program, and rely on the newest generation."""


@dataclass(frozen=True)
class Refuse:
    """The program cannot be checkpointed and never was: end it."""


@dataclass(frozen=True)
class RunOn:
    """The last checkpoint failed and the program is alive: say so and let it run."""


Action = Wait | Checkpoint | EndAttempt | StopNow | GiveUp | Refuse | RunOn


def begin(interval_s: float | None, now: float, *, may_refuse: bool = False) -> Situation:
    """Return the situation right after the program came up; INTERVAL_S None means no interval checkpoints."""
    due_at = None if interval_s is None else now + interval_s
    return Situation(interval_s=interval_s, due_at=due_at, may_refuse=may_refuse)


def decide(situation: Situation, event: Event, now: float) -> tuple[Situation, Action]:
    """Return what to remember and what to do after EVENT at NOW."""
    if isinstance(event, Signalled):
        return _signalled(situation, event.signum, now)
    if isinstance(event, Asked):
        return _asked(situation, event.action)
    if isinstance(event, CheckpointEnded):
        return _checkpoint_ended(situation, event, now)
    if isinstance(event, LimitSeen):
        situation = replace(situation, stop_at=event.stop_at, end_at=event.end_at)
        if _has_tried(situation) and (event.stop_at is None or now < event.stop_at):
            # the end has moved away: there will be another last checkpoint
            situation = replace(situation, stop_reason=None, tries=0)
        return situation, Wait()
    return _time_passed(situation, now)


def wakes_at(situation: Situation) -> float | None:
    """Return when the passing of time may next require an action; None for never."""
    moments = (situation.due_at, situation.end_at if _has_tried(situation) else situation.stop_at)
    return min((at for at in moments if at is not None), default=None)


def signalled_at_the_end(situation: Situation, signum: int) -> Situation:
    """Return the situation after a signal that was noticed only when the program had ended: it may be the reason."""
    if signum not in STOP_SIGNALS:
        return situation
    return replace(situation, stopping_signal=situation.stopping_signal or signum)


def _time_passed(situation: Situation, now: float) -> tuple[Situation, Action]:
    if situation.stop_reason == LIMIT and situation.end_at is not None and now >= situation.end_at:
        return situation, GiveUp()
    if situation.stop_at is not None and now >= situation.stop_at and not _has_tried(situation):
        return _stop(situation, LIMIT)
    if situation.phase is Phase.RUNNING and situation.due_at is not None and now >= situation.due_at:
        return (situation, Wait()) if _stops_soon(situation, now) else _checkpoint(situation, "interval")
    return situation, Wait()


def _has_tried(situation: Situation) -> bool:
    """Whether all tries before the time limit have failed."""
    return situation.phase is not Phase.STOPPING and situation.stop_reason == LIMIT and situation.tries >= LAST_TRIES


def _stops_soon(situation: Situation, now: float) -> bool:
    """Whether the last checkpoint comes so soon that another one before it is not worth its cost."""
    if situation.stop_at is None or situation.interval_s is None or _has_tried(situation):
        return False
    return situation.stop_at - now < situation.interval_s * _SOON


def _signalled(situation: Situation, signum: int, now: float) -> tuple[Situation, Action]:
    if signum in INSISTING_SIGNALS:
        if situation.first_press_at is None:
            situation = replace(situation, first_press_at=now)
        elif now - situation.first_press_at >= SAME_PRESS_S:
            return situation, StopNow(signum)
    situation = replace(situation, stopping_signal=situation.stopping_signal or signum)
    return _stop(situation, signal.Signals(signum).name)


def _asked(situation: Situation, action: str) -> tuple[Situation, Action]:
    if action == "stop":
        return _stop(situation, REQUEST)
    if situation.phase is Phase.RUNNING:
        return _checkpoint(situation, REQUEST)
    return replace(situation, request_waits=True), Wait()


def _stop(situation: Situation, reason: str) -> tuple[Situation, Action]:
    if situation.phase is Phase.RUNNING:
        stopping = replace(situation, phase=Phase.STOPPING, stop_reason=reason, tries=situation.tries + 1)
        return stopping, Checkpoint(reason, then_stop=True)
    if situation.phase is Phase.CHECKPOINTING and situation.stop_wanted is None:
        return replace(situation, stop_wanted=reason), Wait()
    return situation, Wait()


def _checkpoint(situation: Situation, reason: str) -> tuple[Situation, Action]:
    return replace(situation, phase=Phase.CHECKPOINTING), Checkpoint(reason, then_stop=False)


def _checkpoint_ended(situation: Situation, event: CheckpointEnded, now: float) -> tuple[Situation, Action]:
    if situation.phase is Phase.STOPPING:
        if event.ok:
            return situation, EndAttempt()
        if situation.tries < LAST_TRIES:
            return replace(situation, tries=situation.tries + 1), Checkpoint("again", then_stop=True)
        return _run_on(situation, event.interval_s, now), RunOn()
    situation = _after_ordinary(situation, event, now)
    if situation.may_refuse and situation.times_blocked >= MOST_TIMES_BLOCKED:
        return situation, Refuse()
    if situation.stop_wanted is not None:
        return _stop(replace(situation, stop_wanted=None), situation.stop_wanted)
    if situation.request_waits:
        return _checkpoint(replace(situation, request_waits=False), REQUEST)
    return situation, Wait()


def _after_ordinary(situation: Situation, event: CheckpointEnded, now: float) -> Situation:
    next_s = event.interval_s
    if event.was_blocked and next_s is not None:
        next_s = min(next_s, RETRY_S) if situation.may_refuse else next_s
    return replace(
        situation,
        phase=Phase.RUNNING,
        interval_s=event.interval_s,
        due_at=None if next_s is None else now + next_s,
        may_refuse=situation.may_refuse and not event.ok,
        times_blocked=situation.times_blocked + 1 if event.was_blocked else 0,
    )


def _run_on(situation: Situation, interval_s: float | None, now: float) -> Situation:
    """Return the situation after a last checkpoint that failed: as at the start, but the time limit stays."""
    again = replace(
        begin(interval_s, now, may_refuse=situation.may_refuse), stop_at=situation.stop_at, end_at=situation.end_at
    )
    if situation.stop_reason != LIMIT:
        return again
    return replace(again, stop_reason=LIMIT, tries=situation.tries, due_at=now + RETRY_S)
