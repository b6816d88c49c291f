"""What any scheduler can be asked and told, and what it says about a job."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class BatchState(Enum):
    """What a scheduler does with a job."""

    WAITING = "waiting"
    RUNNING = "running"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"
    TIMED_OUT = "timed out"
    ENDED = "ended"


@dataclass(frozen=True)
class BatchJob:
    """What a scheduler tells of one job; ENDS and STARTS are seconds since the epoch, None where it says nothing.

    RESTARTS counts how often it was requeued, from the moment at which that was decided.
    """

    job_id: str
    state: BatchState
    array: str | None = None
    array_task: str | None = None
    ends: float | None = None
    starts: float | None = None
    restarts: int = 0
    can_requeue: bool = True
    reason: str = ""


class Scheduler(Protocol):
    """A batch system that can be asked and told; each method raises BatchError where it does not answer."""

    name: str

    def query(self, job_id: str | None) -> list[BatchJob]:
        """Return job JOB_ID, or all of this user's; those that are long gone are left out."""

    def comes_back(self, status: int) -> bool:
        """Return whether this site requeues every job that exits with STATUS."""

    def nodes(self) -> Sequence[str]:
        """Return the names of the nodes of the allocation around us, this one first; nothing where it has one."""

    def on_node(self, name: str, command: Sequence[str]) -> Sequence[str]:
        """Return the command that runs COMMAND once on node NAME of the allocation around us."""

    def requeue(self, job_id: str) -> Sequence[str]:
        """Return the command that puts job JOB_ID, which runs, back into the queue."""

    def resubmission(self, job_id: str, script: Path) -> Sequence[str]:
        """Keep the batch script of job JOB_ID in SCRIPT; return the command that submits it again.

        The new job runs after that one, and what the command prints begins with its id.
        """


def job_of(scheduler: Scheduler, job_id: str) -> BatchJob | None:
    """Return what SCHEDULER says about job JOB_ID; None if it knows no such job. Raises BatchError."""
    return next((job for job in scheduler.query(job_id) if job.job_id == job_id), None)
