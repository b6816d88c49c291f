"""What follows the end of an attempt that is not the program's: requeue, resubmit, or only exit, and why. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from dmtcp_py.batch import BatchJob, BatchState
from dmtcp_py.policy import LIMIT, REQUEST

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_FRUITLESS = 3
"""After so many attempts in a row without progress nothing is requeued any more."""
_MEASURED = ("generation", "ran_s", "checkpoint_s")
WARNING = "SIGUSR1"
"""The signal by which schedulers warn of a time limit or a preemption."""


class Next(Enum):
    """What is to follow."""

    REQUEUE = "requeue"
    RESUBMIT = "resubmit"
    EXIT = "exit"


@dataclass(frozen=True)
class Facts:
    """What is known at the end of an attempt."""

    stopped_for: str | None
    """Why the last checkpoint was taken: see `dmtcp_py.policy.Situation`."""
    has_new_generation: bool
    """Whether this attempt committed a generation that verifies."""
    fruitless: int
    """Attempts in a row without progress, this one included."""
    at_limit: Next | None
    """What the user wants; None is a requeue where that is allowed."""
    batch_job: BatchJob | None
    """What the scheduler says now; None where it did not answer."""
    restarts: int = 0
    most_restarts: int | None = None


@dataclass(frozen=True)
class Plan:
    """What is to follow, and WHY.

    LINE_HELPS where the user may want to submit the job again by hand; IS_STUCK where that would not help either.
    """

    next: Next
    why: str
    line_helps: bool = False
    is_stuck: bool = False
    is_up_to_site: bool = False
    """Whether the site may requeue it by its exit status."""


def plan(facts: Facts) -> Plan:
    """Return what is to follow, and why."""
    exits = _stuck(facts) or _decided_by_scheduler(facts) or _not_wanted(facts) or _not_allowed(facts)
    if exits is not None:
        return exits
    if facts.at_limit is Next.RESUBMIT:
        return Plan(Next.RESUBMIT, "--at-limit resubmit")
    return Plan(Next.REQUEUE, facts.stopped_for or LIMIT)


def _stuck(facts: Facts) -> Plan | None:
    if facts.fruitless < MOST_FRUITLESS:
        return None
    text = f"{facts.fruitless} attempts in a row made no progress"
    return Plan(Next.EXIT, f"{text}: the time limit may be too short, or checkpoints fail", is_stuck=True)


def _decided_by_scheduler(facts: Facts) -> Plan | None:
    job = facts.batch_job
    if job is None:
        return None
    if job.restarts > facts.restarts:
        return Plan(Next.EXIT, _DECIDED[BatchState.WAITING])
    return Plan(Next.EXIT, _DECIDED[job.state]) if job.state in _DECIDED else None


def _not_wanted(facts: Facts) -> Plan | None:
    is_timed_out = facts.batch_job is not None and facts.batch_job.state is BatchState.TIMED_OUT
    if facts.at_limit is Next.EXIT:
        return Plan(Next.EXIT, "--at-limit exit", is_up_to_site=True)
    if facts.stopped_for == REQUEST:
        return Plan(Next.EXIT, "dmtcp-ctl asked for the stop")
    if facts.stopped_for in (LIMIT, WARNING) or is_timed_out:
        return None
    asked = f"{facts.stopped_for} asked for the end" if facts.stopped_for else "the program was ended otherwise"
    return Plan(Next.EXIT, f"{asked}, not the time limit", line_helps=True)


def _not_allowed(facts: Facts) -> Plan | None:
    if not facts.has_new_generation:
        return Plan(Next.EXIT, "this attempt committed no generation", line_helps=True)
    if facts.most_restarts is not None and facts.restarts >= facts.most_restarts:
        return Plan(Next.EXIT, f"it was requeued {facts.restarts} times, the most that is allowed", line_helps=True)
    if facts.at_limit is not Next.RESUBMIT and facts.batch_job is not None and not facts.batch_job.can_requeue:
        return Plan(Next.EXIT, "the job was submitted with --no-requeue", line_helps=True)
    return None


_DECIDED = {
    BatchState.ENDED: "the scheduler is ending the job, as after a cancellation",
    BatchState.CANCELLED: "the job was cancelled",
    BatchState.PREEMPTED: "the job was preempted, and the scheduler does what its site wants",
    BatchState.WAITING: "the scheduler has requeued it already, as after a preemption",
}


def fruitless(history: Sequence[dict[str, Any]], lineage: int) -> int:
    """Return how many attempts, counted back from the last one of HISTORY, made no progress.

    An attempt made progress where one of its generations was taken after the program had run for longer than the
    checkpoint took.
    """
    progress: dict[int, bool] = {}
    for line in history:
        epoch, event = line.get("epoch"), line.get("event")
        if not isinstance(epoch, int) or line.get("lineage") != lineage:
            continue
        if event in ("started", "resumed"):
            progress.setdefault(epoch, False)
        elif event == "checkpointed" and all(isinstance(line.get(name), int | float) for name in _MEASURED):
            progress[epoch] = progress.get(epoch, False) or line["ran_s"] > line["checkpoint_s"]
    count = 0
    for epoch in sorted(progress, reverse=True):
        if progress[epoch]:
            break
        count += 1
    return count
