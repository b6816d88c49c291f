"""The interface to a batch scheduler, and its report of a job."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class BatchState(Enum):
    """The state of a batch job, as its scheduler reports it."""

    WAITING = "waiting"
    RUNNING = "running"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"
    TIMED_OUT = "timed out"
    ENDED = "ended"


class BatchJob(Struct, frozen=True):
    """A scheduler's report of one job; ENDS, STARTS and SUBMITTED are seconds since the epoch, None if not known.

    A requeue counts as a submission. RESTARTS is the number of requeues; one counts from the moment at which the
    scheduler decides on it. It is None where the scheduler does not count them.
    """

    job_id: str
    state: BatchState
    array: str | None = None
    array_task: str | None = None
    ends: float | None = None
    starts: float | None = None
    submitted: float | None = None
    restarts: int | None = 0
    can_requeue: bool = True
    no_requeue_because: str = "the job was submitted with --no-requeue"
    reason: str = ""


class Scheduler(Protocol):
    """A batch scheduler. Each method that needs an answer from it raises BatchError if there is none."""

    name: str
    users_requeue: bool
    """Whether users may requeue their own jobs; otherwise a job that is not finished is resubmitted."""

    def query(self, job_id: str | None) -> list[BatchJob]:
        """Return job JOB_ID, or all jobs of this user; a job that ended long ago is not among them."""

    def requeues_status(self, status: int) -> bool:
        """Return whether this site requeues every job that exits with STATUS."""

    def nodes(self) -> Sequence[str]:
        """Return the node names of the allocation around us, this node first; empty if it has only one node."""

    def on_node(self, name: str, command: Sequence[str]) -> Sequence[str]:
        """Return the command that runs COMMAND once on node NAME of the allocation around us."""

    def requeue(self, job_id: str) -> Sequence[str]:
        """Return the command that requeues the running job JOB_ID; empty if its exit status does that."""

    def resubmission(self, job_id: str, script: Path) -> Sequence[str]:
        """Save the batch script of job JOB_ID in SCRIPT and return the command that submits it again.

        The new job starts after JOB_ID has ended. The last line that the command prints begins with the new id.
        """


def job_of(scheduler: Scheduler, job_id: str) -> BatchJob | None:
    """Return SCHEDULER's report of job JOB_ID; None if it does not know the job. Raises BatchError."""
    return next((job for job in scheduler.query(job_id) if job.job_id == job_id), None)
