"""What the end of a computation means for its attempt. PURE."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmtcp_py.engine import How
from dmtcp_py.outcome import FAILED_STATUS, Kind, Outcome
from dmtcp_py.policy import Phase

if TYPE_CHECKING:
    from dmtcp_py.engine import End
    from dmtcp_py.policy import Situation


_CRASHES = (
    signal.SIGILL,
    signal.SIGTRAP,
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGSEGV,
    signal.SIGSYS,
)


@dataclass(frozen=True)
class Attempted:
    """What had been done and told when a computation ended."""

    job: str
    newest: int | None
    """The generation from which the same line would go on."""
    checkpointed_status: int
    situation: Situation
    stopped_by: int | None
    """The signal that insisted, so that we killed the program."""
    handed_over: bool
    """Whether the last checkpoint is committed."""
    gave_up: bool
    """Whether we killed the program because the time was over."""
    refused: bool
    """Whether we killed the program because it cannot be checkpointed."""
    last_error: str


def outcome_of(tried: Attempted, end: End) -> Outcome:
    """Return how the attempt ended whose computation came to END."""
    job, newest, reason = tried.job, tried.newest, tried.situation.stop_reason or tried.situation.stop_wanted
    if tried.handed_over:
        return Outcome(Kind.CHECKPOINTED, tried.checkpointed_status, job, newest, stopped_for=reason)
    if tried.gave_up:
        status = FAILED_STATUS if newest is None else tried.checkpointed_status
        return Outcome(Kind.OUT_OF_TIME, status, job, newest, tried.last_error, stopped_for=reason)
    if tried.refused:
        return Outcome(Kind.REFUSED, FAILED_STATUS, job, newest, tried.last_error)
    if tried.stopped_by is not None:
        return Outcome(Kind.STOPPED, 128 + tried.stopped_by, job, newest)
    was_ours = end.how is How.KILLED_BY_COMMAND and tried.situation.phase is Phase.STOPPING
    if end.how is How.ENGINE_FAILED or was_ours:
        detail = tried.last_error or end.detail if was_ours else end.detail or tried.last_error
        return Outcome(Kind.ENGINE_FAILED, FAILED_STATUS, job, newest, detail, reason)
    if end.how is How.KILLED_BY_COMMAND:
        return Outcome(Kind.KILLED_BY_COMMAND, 128 + signal.SIGKILL, job, newest, end.detail)
    if end.how is How.SIGNALLED:
        return Outcome(Kind.SIGNALLED, 128 + end.signum, job, newest, stopped_for=reason)
    told_to_stop = tried.situation.stopping_signal
    if told_to_stop is not None:
        # a scheduler signals the program too, and a closed terminal fails its writes: this may not be its own end
        detail = f"it ended with status {end.status} while it was to be stopped"
        return Outcome(Kind.SIGNALLED, 128 + told_to_stop, job, newest, detail, reason)
    return Outcome(Kind.FINISHED, end.status, job, newest)


def is_crash(outcome: Outcome) -> bool:
    """Whether a fault ended the program, or one of its processes: ``mpirun`` and shells tell it by their own status."""
    return outcome.kind in (Kind.SIGNALLED, Kind.FINISHED) and outcome.status - 128 in _CRASHES
