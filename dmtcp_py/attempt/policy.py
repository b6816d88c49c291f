"""What to do next. PURE: `decide` maps a situation and an event to the next situation and an action.

Times are seconds; the caller uses the same clock for all of them.
"""

from __future__ import annotations

import signal
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from dmtcp_py.attempt.happenings import (
    Action,
    Asked,
    Checkpoint,
    CheckpointEnded,
    EndAttempt,
    Event,
    GateClosed,
    GiveUp,
    LimitSeen,
    PutOff,
    Refuse,
    RunOn,
    Signalled,
    StopNow,
    Wait,
)
from dmtcp_py.batch.requeue import GATE, LIMIT, REQUEST

INTERVAL = "interval"
"""The reason of checkpoints that nobody asked for."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
"""The signals that ask for a last checkpoint."""
_SIGNAL_NAMES = frozenset(number.name for number in STOP_SIGNALS)
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
SIGNAL_WAIT_S = 5.0
"""How long the last checkpoint after a signal waits for the end of a section: a scheduler kills soon after it."""
_LIMIT_WAIT_SHARE = 0.25
"""How much of the time before the limit the last checkpoint waits for the end of a section."""
MOST_TIMES_BLOCKED = 3
"""How often in a row the first checkpoint may be blocked before the program is refused."""
HELD_S = 40.0
"""How long it may be blocked at each try by what usually passes, before the program is refused."""


class Phase(Enum):
    """What the attempt is doing."""

    RUNNING = "running"
    CHECKPOINTING = "checkpointing"
    STOPPING = "stopping"


class Situation(Struct, frozen=True):
    """What `decide` remembers between events."""

    interval_s: float | None
    due_at: float | None
    phase: Phase = Phase.RUNNING
    first_press_at: float | None = None
    stop_wanted: str | None = None
    """Why to stop as soon as that is possible: after the checkpoint under way, or the program's section."""
    stop_wanted_at: float | None = None
    stopping_signal: int | None = None
    """The signal that asked for the stop in progress."""
    request_waits: bool = False
    is_put_off: bool = False
    """Whether a checkpoint is due and waits for the end of a section in which the program asked for none."""
    tries: int = 0
    stop_reason: str | None = None
    """Why the last checkpoint is taken: LIMIT, REQUEST, GATE or the name of a signal."""
    stop_at: float | None = None
    """When the last checkpoint has to begin because the allocation ends; None without a limit."""
    end_at: float | None = None
    """When the program has to be ended, whether or not it has a last checkpoint."""
    may_refuse: bool = False
    """Whether a program that cannot be checkpointed is to be stopped."""
    times_blocked: int = 0
    """How often in a row a checkpoint was blocked."""
    blocked_since: float = 0.0
    """When the first of them was."""


def begin(interval_s: float | None, now: float, *, may_refuse: bool = False) -> Situation:
    """Return the situation right after the program came up; INTERVAL_S None means no interval checkpoints."""
    due_at = None if interval_s is None else now + interval_s
    return Situation(interval_s=interval_s, due_at=due_at, may_refuse=may_refuse)


def decide(situation: Situation, event: Event, now: float) -> tuple[Situation, Action]:
    """Return what to remember and what to do after EVENT at NOW."""
    if isinstance(event, Signalled):
        return _signalled(situation, event.signum, now)
    if isinstance(event, Asked):
        return _asked(situation, event.action, now)
    if isinstance(event, GateClosed):
        return _stop(situation, GATE, now)
    if isinstance(event, PutOff):
        return _put_off(situation, event.checkpoint), Wait()
    if isinstance(event, CheckpointEnded):
        return _checkpoint_ended(situation, event, now)
    if isinstance(event, LimitSeen):
        situation = replace(situation, stop_at=event.stop_at, end_at=event.end_at)
        has_moved = event.stop_at is None or now < event.stop_at
        if has_moved and _has_tried(situation):
            # there will be another last checkpoint
            situation = replace(situation, stop_reason=None, tries=0)
        if has_moved and situation.phase is Phase.RUNNING and situation.stop_wanted == LIMIT:
            situation = replace(situation, stop_wanted=None, stop_wanted_at=None, is_put_off=False)
        return situation, Wait()
    return _time_passed(situation, now)


def may_begin(situation: Situation, checkpoint: Checkpoint, section_until: float | None, now: float) -> bool:
    """Return whether CHECKPOINT, which was decided on, may begin although the program asks for none SECTION_UNTIL."""
    if section_until is None or now >= section_until:
        return True
    if not checkpoint.then_stop:
        return False
    if situation.stop_at is not None and situation.end_at is not None:
        latest = situation.stop_at + (situation.end_at - situation.stop_at) * _LIMIT_WAIT_SHARE
        if now >= latest:
            return True
    is_signal = situation.stop_reason in _SIGNAL_NAMES
    return is_signal and situation.stop_wanted_at is not None and now >= situation.stop_wanted_at + SIGNAL_WAIT_S


def wakes_at(situation: Situation) -> float | None:
    """Return when the passing of time may next require an action; None for never."""
    moments = (situation.due_at, situation.end_at if _has_tried(situation) else situation.stop_at)
    return min((at for at in moments if at is not None), default=None)


def is_asked_to_stop(situation: Situation) -> bool:
    """Return whether the attempt is to end, so that nothing is to be started again."""
    # whatever comes up next sees a time limit or the gate again; a signal or a request is not sent again
    return situation.phase is Phase.STOPPING or situation.stop_wanted not in (None, LIMIT, GATE)


def signalled_at_the_end(situation: Situation, signum: int) -> Situation:
    """Return the situation after a signal that was noticed only when the program had ended: it may be the reason."""
    if signum not in STOP_SIGNALS:
        return situation
    return replace(situation, stopping_signal=situation.stopping_signal or signum)


def _time_passed(situation: Situation, now: float) -> tuple[Situation, Action]:
    if situation.stop_reason == LIMIT and situation.end_at is not None and now >= situation.end_at:
        return situation, GiveUp()
    if situation.stop_at is not None and now >= situation.stop_at and not _has_tried(situation):
        return _stop(situation, LIMIT, now)
    if situation.phase is Phase.RUNNING and situation.stop_wanted is not None:
        return _stop(situation, situation.stop_wanted, now)
    if situation.phase is Phase.RUNNING and situation.request_waits:
        return _checkpoint(replace(situation, request_waits=False), REQUEST)
    if situation.phase is Phase.RUNNING and situation.due_at is not None and now >= situation.due_at:
        return (situation, Wait()) if _stops_soon(situation, now) else _checkpoint(situation, INTERVAL)
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
    return _stop(situation, signal.Signals(signum).name, now)


def _asked(situation: Situation, action: str, now: float) -> tuple[Situation, Action]:
    if action == "stop":
        return _stop(situation, REQUEST, now)
    if situation.phase is Phase.RUNNING:
        return _checkpoint(situation, REQUEST)
    return replace(situation, request_waits=True), Wait()


def _stop(situation: Situation, reason: str, now: float) -> tuple[Situation, Action]:
    # the first reason is the one that is reported, but after a closed gate alone the attempt would go on
    known = situation.stop_reason if situation.phase is Phase.STOPPING else situation.stop_wanted
    reason = reason if known in (None, GATE) else known
    if situation.phase is Phase.STOPPING:
        return replace(situation, stop_reason=reason), Wait()
    wanted_at = situation.stop_wanted_at if situation.stop_wanted_at is not None else now
    situation = replace(situation, stop_wanted=reason, stop_wanted_at=wanted_at)
    if situation.phase is Phase.CHECKPOINTING:
        return situation, Wait()
    stopping = replace(
        situation,
        phase=Phase.STOPPING,
        stop_wanted=None,
        stop_reason=reason,
        is_put_off=False,
        tries=situation.tries + 1,
    )
    return stopping, Checkpoint(reason, then_stop=True)


def _checkpoint(situation: Situation, reason: str) -> tuple[Situation, Action]:
    return replace(situation, phase=Phase.CHECKPOINTING, is_put_off=False), Checkpoint(reason, then_stop=False)


def _put_off(situation: Situation, checkpoint: Checkpoint) -> Situation:
    """Return the situation in which CHECKPOINT is tried again as time passes."""
    put_off = replace(situation, phase=Phase.RUNNING, is_put_off=True)
    if checkpoint.then_stop:
        return replace(put_off, stop_wanted=situation.stop_reason, tries=situation.tries - 1)
    return replace(put_off, request_waits=situation.request_waits or checkpoint.reason == REQUEST)


def _checkpoint_ended(situation: Situation, event: CheckpointEnded, now: float) -> tuple[Situation, Action]:
    if situation.phase is Phase.STOPPING:
        if event.ok:
            return situation, EndAttempt()
        if situation.tries < LAST_TRIES:
            return replace(situation, tries=situation.tries + 1), Checkpoint("again", then_stop=True)
        return _run_on(situation, event.interval_s, now), RunOn()
    situation = _after_ordinary(situation, event, now)
    if situation.may_refuse and _is_blocked_for_good(situation, event, now):
        return situation, Refuse()
    if situation.stop_wanted is not None:
        return _stop(situation, situation.stop_wanted, now)
    if situation.request_waits:
        return _checkpoint(replace(situation, request_waits=False), REQUEST)
    return situation, Wait()


def _after_ordinary(situation: Situation, event: CheckpointEnded, now: float) -> Situation:
    next_s = event.interval_s
    if event.was_blocked and next_s is not None:
        next_s = min(next_s, RETRY_S) if situation.may_refuse or event.may_pass else next_s
    blocked_since = situation.blocked_since if situation.times_blocked else now
    return replace(
        situation,
        phase=Phase.RUNNING,
        interval_s=event.interval_s,
        due_at=None if next_s is None else now + next_s,
        may_refuse=situation.may_refuse and not event.ok,
        times_blocked=situation.times_blocked + 1 if event.was_blocked else 0,
        blocked_since=blocked_since,
    )


def _is_blocked_for_good(situation: Situation, event: CheckpointEnded, now: float) -> bool:
    """Return whether the first checkpoint was blocked too often and for too long to wait any longer."""
    enough_time = not event.may_pass or now - situation.blocked_since >= HELD_S
    return enough_time and situation.times_blocked >= MOST_TIMES_BLOCKED


def _run_on(situation: Situation, interval_s: float | None, now: float) -> Situation:
    """Return the situation after a last checkpoint that failed: as at the start, but the time limit stays."""
    again = replace(
        begin(interval_s, now, may_refuse=situation.may_refuse), stop_at=situation.stop_at, end_at=situation.end_at
    )
    if situation.stop_reason != LIMIT:
        return again
    return replace(again, stop_reason=LIMIT, tries=situation.tries, due_at=now + RETRY_S)
