"""Decides whether to requeue or resubmit a batch job after an attempt that did not finish. PURE."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from dmtcp_py.batch.scheduler import BatchJob, BatchState

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_WITHOUT_PROGRESS = 3
"""Number of attempts in a row without progress after which the job is not requeued any more."""
LIMIT, REQUEST, GATE = "time limit", "request", "gate closed"
"""Reasons for a last checkpoint, besides the names of signals; the history contains them."""
_PROGRESS_FIELDS = ("generation", "ran_s", "checkpoint_s")
WARNINGS = ("SIGUSR1", "SIGUSR2")
"""The signals with which schedulers warn of a time limit or a preemption."""


class Next(Enum):
    """What to do with the batch job."""

    REQUEUE = "requeue"
    RESUBMIT = "resubmit"
    EXIT = "exit"


class EndedAttempt(Struct, frozen=True):
    """The facts at the end of an attempt that did not finish."""

    stopped_for: str | None
    """Why the last checkpoint was taken: LIMIT, REQUEST, GATE or the name of a signal."""
    has_new_generation: bool
    """Whether this attempt committed a generation that verifies."""
    without_progress: int
    """Attempts in a row without progress, this one included."""
    at_limit: Next | None
    """The user's choice (--at-limit); None means what is usual under this scheduler."""
    batch_job: BatchJob | None
    """What the scheduler reports now; None if it did not answer."""
    usual: Next = Next.REQUEUE
    """A requeue where users may do that, otherwise a resubmission."""
    restarts: int = 0
    most_restarts: int | None = None

    @property
    def wanted(self) -> Next:
        """What is done if nothing speaks against it."""
        return self.at_limit or self.usual


class Decision(Struct, frozen=True):
    """What to do with the batch job, and WHY."""

    next: Next
    why: str
    shows_command: bool = False
    """Whether to print the command with which the user can continue the job by hand."""
    is_stuck: bool = False
    """Whether the job made no progress, so that continuing it by hand would not help either."""
    site_may_requeue: bool = False
    """Whether the site may requeue the job because of its exit status."""


def decide(ended: EndedAttempt) -> Decision:
    """Return what to do with the batch job, and why."""
    exits = _stuck(ended) or _decided_by_scheduler(ended) or _not_wanted(ended) or _not_allowed(ended)
    if exits is not None:
        return exits
    if ended.wanted is Next.RESUBMIT:
        return Decision(Next.RESUBMIT, "--at-limit resubmit" if ended.at_limit else ended.stopped_for or LIMIT)
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
    if job.restarts is not None and job.restarts > ended.restarts:
        return Decision(Next.EXIT, _DECIDED[BatchState.WAITING])
    return Decision(Next.EXIT, _DECIDED[job.state]) if job.state in _DECIDED else None


def _not_wanted(ended: EndedAttempt) -> Decision | None:
    is_timed_out = ended.batch_job is not None and ended.batch_job.state is BatchState.TIMED_OUT
    if ended.at_limit is Next.EXIT:
        return Decision(Next.EXIT, "--at-limit exit", site_may_requeue=True)
    if ended.stopped_for == REQUEST:
        return Decision(Next.EXIT, "dmtcp-ctl stopped the job")
    if ended.stopped_for in (LIMIT, *WARNINGS, GATE) or is_timed_out:
        return None
    if ended.stopped_for:
        return Decision(Next.EXIT, f"{ended.stopped_for} stopped the program, not the time limit", shows_command=True)
    return Decision(Next.EXIT, "the time limit was not the reason for the end", shows_command=True)


def _not_allowed(ended: EndedAttempt) -> Decision | None:
    # where the gate was closed from the start on, nothing has run
    if not ended.has_new_generation and ended.stopped_for != GATE:
        return Decision(Next.EXIT, "this attempt committed no generation", shows_command=True)
    if ended.most_restarts is not None and ended.restarts >= ended.most_restarts:
        return Decision(Next.EXIT, f"it was already requeued {ended.restarts} times, the maximum", shows_command=True)
    if ended.wanted is not Next.RESUBMIT and ended.batch_job is not None and not ended.batch_job.can_requeue:
        return Decision(Next.EXIT, ended.batch_job.no_requeue_because, shows_command=True)
    return None


_DECIDED = {
    BatchState.ENDED: "the scheduler is ending the job, for example after scancel",
    BatchState.CANCELLED: "the job was cancelled",
    BatchState.PREEMPTED: "the job was preempted, and the site decides whether it is requeued",
    BatchState.WAITING: "the scheduler has already requeued it, for example after a preemption",
}


def attempts_without_progress(history: Sequence[dict[str, Any]], lineage: int) -> int:
    """Return how many attempts, counted back from the last one of HISTORY, made no progress.

    An attempt made progress if the program had run for longer than the checkpoint took when one of its generations was
    taken.
    """
    progress: dict[int, bool] = {}
    for line in history:
        epoch, event = line.get("epoch"), line.get("event")
        if not isinstance(epoch, int) or line.get("lineage") != lineage:
            continue
        if event in ("started", "resumed"):
            progress.setdefault(epoch, False)
        elif event == "checkpointed" and all(isinstance(line.get(name), int | float) for name in _PROGRESS_FIELDS):
            progress[epoch] = progress.get(epoch, False) or line["ran_s"] > line["checkpoint_s"]
    count = 0
    for epoch in sorted(progress, reverse=True):
        if progress[epoch]:
            break
        count += 1
    return count
