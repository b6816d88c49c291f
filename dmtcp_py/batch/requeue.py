"""Whether to requeue or resubmit a batch job after an attempt that did not finish, and why. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from dmtcp_py.batch.scheduler import BatchJob, BatchState

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_WITHOUT_PROGRESS = 3
"""After this many attempts in a row without progress, nothing is requeued any more."""
LIMIT, REQUEST = "time limit", "request"
"""Reasons for a last checkpoint, besides the names of signals; they stand in the history."""
_MEASURED = ("generation", "ran_s", "checkpoint_s")
WARNING = "SIGUSR1"
"""The signal by which schedulers warn of a time limit or a preemption."""


class Next(Enum):
    """What is to follow."""

    REQUEUE = "requeue"
    RESUBMIT = "resubmit"
    EXIT = "exit"


@dataclass(frozen=True)
class EndedAttempt:
    """What is known at the end of an attempt."""

    stopped_for: str | None
    """Why the last checkpoint was taken: LIMIT, REQUEST or the name of a signal."""
    has_new_generation: bool
    """Whether this attempt committed a generation that verifies."""
    without_progress: int
    """Attempts in a row without progress, this one included."""
    at_limit: Next | None
    """What the user wants; None is a requeue where that is allowed."""
    batch_job: BatchJob | None
    """What the scheduler says now; None where it did not answer."""
    restarts: int = 0
    most_restarts: int | None = None


@dataclass(frozen=True)
class Decision:
    """What is to follow, and WHY.

    LINE_HELPS where the user may want to submit the job again by hand; IS_STUCK where that would not help either.
    """

    next: Next
    why: str
    line_helps: bool = False
    is_stuck: bool = False
    is_up_to_site: bool = False
    """Whether the site may requeue it by its exit status."""


def decide(ended: EndedAttempt) -> Decision:
    """Return what is to follow, and why."""
    exits = _stuck(ended) or _decided_by_scheduler(ended) or _not_wanted(ended) or _not_allowed(ended)
    if exits is not None:
        return exits
    if ended.at_limit is Next.RESUBMIT:
        return Decision(Next.RESUBMIT, "--at-limit resubmit")
    return Decision(Next.REQUEUE, ended.stopped_for or LIMIT)


def _stuck(ended: EndedAttempt) -> Decision | None:
    if ended.without_progress < MOST_WITHOUT_PROGRESS:
        return None
    text = f"{ended.without_progress} attempts in a row made no progress"
    return Decision(Next.EXIT, f"{text}: the time limit may be too short, or checkpoints fail", is_stuck=True)


def _decided_by_scheduler(ended: EndedAttempt) -> Decision | None:
    job = ended.batch_job
    if job is None:
        return None
    if job.restarts > ended.restarts:
        return Decision(Next.EXIT, _DECIDED[BatchState.WAITING])
    return Decision(Next.EXIT, _DECIDED[job.state]) if job.state in _DECIDED else None


def _not_wanted(ended: EndedAttempt) -> Decision | None:
    is_timed_out = ended.batch_job is not None and ended.batch_job.state is BatchState.TIMED_OUT
    if ended.at_limit is Next.EXIT:
        return Decision(Next.EXIT, "--at-limit exit", is_up_to_site=True)
    if ended.stopped_for == REQUEST:
        return Decision(Next.EXIT, "dmtcp-ctl asked for the stop")
    if ended.stopped_for in (LIMIT, WARNING) or is_timed_out:
        return None
    asked = f"{ended.stopped_for} asked for the end" if ended.stopped_for else "the program was ended otherwise"
    return Decision(Next.EXIT, f"{asked}, not the time limit", line_helps=True)


def _not_allowed(ended: EndedAttempt) -> Decision | None:
    if not ended.has_new_generation:
        return Decision(Next.EXIT, "this attempt committed no generation", line_helps=True)
    if ended.most_restarts is not None and ended.restarts >= ended.most_restarts:
        return Decision(Next.EXIT, f"it was requeued {ended.restarts} times, the most that is allowed", line_helps=True)
    if ended.at_limit is not Next.RESUBMIT and ended.batch_job is not None and not ended.batch_job.can_requeue:
        return Decision(Next.EXIT, "the job was submitted with --no-requeue", line_helps=True)
    return None


_DECIDED = {
    BatchState.ENDED: "the scheduler is ending the job, as after a cancellation",
    BatchState.CANCELLED: "the job was cancelled",
    BatchState.PREEMPTED: "the job was preempted, and the scheduler does what its site wants",
    BatchState.WAITING: "the scheduler has requeued it already, as after a preemption",
}


def attempts_without_progress(history: Sequence[dict[str, Any]], lineage: int) -> int:
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
