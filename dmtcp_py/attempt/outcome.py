"""How an attempt ended, and what the end of a computation means for it. PURE."""

from __future__ import annotations

import signal
from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.attempt import happenings, policy
from dmtcp_py.engine.protocol import EndKind
from dmtcp_py.errors import FAILED_STATUS

if TYPE_CHECKING:
    from dmtcp_py.attempt.happenings import Action
    from dmtcp_py.attempt.policy import Situation
    from dmtcp_py.engine.protocol import ProgramEnd

_CRASHES = (
    signal.SIGILL,
    signal.SIGTRAP,
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGSEGV,
    signal.SIGSYS,
)

START_S = 1.0
"""So long after its start an engine's fault with a program shows, as a rule: it is in what the program loads."""
MOST_LOST_S = 60.0
"""A program that ran longer has done too much for it to be started again unasked."""


class Kind(Enum):
    """The ways in which an attempt ends; the values stand in the history and in ``state.json``."""

    FINISHED = "finished"
    """The program exited, with its own status."""
    SIGNALLED = "signalled"
    """A signal killed the program; from whom cannot be told, so the next attempt resumes."""
    CHECKPOINTED = "checkpointed"
    """A last checkpoint is committed, and nothing of the program ran after it."""
    STOPPED = "stopped"
    """We killed the program because we were told twice to stop."""
    KILLED_BY_COMMAND = "killed by command"
    """Somebody else had the engine kill the program, as with ``dmtcp_command -k``."""
    ENGINE_FAILED = "engine failed"
    """The engine lost the program, and no generation could take over."""
    REFUSED = "refused"
    """We ended the program because it cannot be checkpointed."""
    UNSUITABLE = "unsuitable engine"
    """The program failed for want of something that the engine refused it."""
    HELD = "held"
    """The gate was closed, and nothing of the program ran since the newest generation."""
    OUT_OF_TIME = "out of time"
    """The time limit came, and the last checkpoint before it had failed."""


class Outcome(Struct, frozen=True):
    """How an attempt ended; STATUS is what dmtcp-run exits with."""

    kind: Kind
    status: int
    job: str
    generation: int | None = None
    detail: str = ""
    for_another: bool = False
    """Whether another engine was seen to handle what the program was refused for, or failed for."""
    raw: str = ""
    """The engine's own message about its failure."""
    has_hung: bool = False
    """Whether the engine failed because a checkpoint came to no end."""
    stopped_for: str | None = None
    """Why the attempt stopped: ``time limit``, ``request``, ``gate closed`` or the name of a signal."""


class Supervised(Struct, frozen=True):
    """What had happened in an attempt when its computation ended."""

    job: str
    newest: int | None
    """The generation from which the same line would resume."""
    checkpointed_status: int
    situation: Situation
    ended_by: Action | None
    """The action with which dmtcp-run ended the computation; None if it ended otherwise."""
    last_error: str
    is_for_another: bool
    """Whether another engine was seen to handle what the last error was about."""


def outcome_of(seen: Supervised, end: ProgramEnd) -> Outcome:
    """Return how the attempt ended whose computation came to END."""
    return _ended_by_us(seen) if seen.ended_by is not None else _ended_otherwise(seen, end)


def _ended_by_us(seen: Supervised) -> Outcome:
    job, newest, reason, action = seen.job, seen.newest, _stop_reason(seen), seen.ended_by
    if isinstance(action, happenings.EndAttempt):
        return Outcome(
            kind=Kind.CHECKPOINTED, status=seen.checkpointed_status, job=job, generation=newest, stopped_for=reason
        )
    if isinstance(action, happenings.GiveUp):
        status = FAILED_STATUS if newest is None else seen.checkpointed_status
        return Outcome(
            kind=Kind.OUT_OF_TIME, status=status, job=job, generation=newest, detail=seen.last_error, stopped_for=reason
        )
    if isinstance(action, happenings.StopNow):
        return Outcome(kind=Kind.STOPPED, status=128 + action.signum, job=job, generation=newest)
    return Outcome(
        kind=Kind.REFUSED,
        status=FAILED_STATUS,
        job=job,
        generation=newest,
        detail=seen.last_error,
        for_another=seen.is_for_another,
    )


def _ended_otherwise(seen: Supervised, end: ProgramEnd) -> Outcome:
    job, newest, reason = seen.job, seen.newest, _stop_reason(seen)
    was_ours = end.kind is EndKind.KILLED_BY_COMMAND and seen.situation.phase is policy.Phase.STOPPING
    if end.kind is EndKind.ENGINE_FAILED or was_ours:
        detail = seen.last_error or end.detail if was_ours else end.detail or seen.last_error
        return Outcome(
            kind=Kind.ENGINE_FAILED,
            status=FAILED_STATUS,
            job=job,
            generation=newest,
            detail=detail,
            raw=end.raw,
            for_another=end.for_another,
            has_hung=end.has_hung,
            stopped_for=reason,
        )
    if end.kind is EndKind.KILLED_BY_COMMAND:
        return Outcome(
            kind=Kind.KILLED_BY_COMMAND, status=128 + signal.SIGKILL, job=job, generation=newest, detail=end.detail
        )
    if end.kind is EndKind.SIGNALLED:
        return Outcome(kind=Kind.SIGNALLED, status=128 + end.signum, job=job, generation=newest, stopped_for=reason)
    stopping_signal = seen.situation.stopping_signal
    if stopping_signal is not None:
        # a scheduler signals the program too, and a closed terminal fails its writes: this may not be its own end
        detail = f"it ended with status {end.status} while it was being stopped"
        return Outcome(
            kind=Kind.SIGNALLED,
            status=128 + stopping_signal,
            job=job,
            generation=newest,
            detail=detail,
            stopped_for=reason,
        )
    if end.kind is EndKind.UNSUITABLE:
        return Outcome(
            kind=Kind.UNSUITABLE,
            status=FAILED_STATUS,
            job=job,
            generation=newest,
            detail=end.detail,
            for_another=end.for_another,
        )
    return Outcome(kind=Kind.FINISHED, status=end.status, job=job, generation=newest)


def _stop_reason(seen: Supervised) -> str | None:
    return seen.situation.stop_reason or seen.situation.stop_wanted


def is_crash(outcome: Outcome) -> bool:
    """Whether a fault ended the program or one of its processes: ``mpirun`` and shells report it as their status."""
    return outcome.kind in (Kind.SIGNALLED, Kind.FINISHED) and outcome.status - 128 in _CRASHES


def is_lost_at_start(outcome: Outcome, ran_s: float) -> bool:
    """Whether the program crashed, or its engine lost it, within its first second: RAN_S are those that it ran."""
    return ran_s < START_S and (is_crash(outcome) or outcome.kind is Kind.ENGINE_FAILED)
