"""The batch job in which this process runs, as its environment describes it: one row for each scheduler. PURE."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dmtcp_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

CHAIN = "DMTCP_RUN_CHAIN"
"""By this the environment of a resubmitted job names the job that it continues; jobs that it submits inherit it."""


@dataclass(frozen=True)
class _Names:
    """The environment names of one scheduler, and the values that mean 'no array'."""

    scheduler: str
    job_id: str
    array_task: tuple[str, ...]
    no_array: tuple[str, ...] = ("",)
    array: str = ""
    restarts: str = ""
    end_time: str = ""
    checkpointed_status: int = 85


_SCHEDULERS = (
    _Names(
        "slurm",
        "SLURM_JOB_ID",
        ("SLURM_ARRAY_TASK_ID",),
        array="SLURM_ARRAY_JOB_ID",
        restarts="SLURM_RESTART_COUNT",
        end_time="SLURM_JOB_END_TIME",
    ),
    _Names("pbs", "PBS_JOBID", ("PBS_ARRAY_INDEX", "PBS_ARRAYID")),
    _Names(scheduler="lsf", job_id="LSB_JOBID", array_task=("LSB_JOBINDEX",), no_array=("", "0")),
    _Names(
        scheduler="gridengine",
        job_id="JOB_ID",
        array_task=("SGE_TASK_ID",),
        no_array=("", "undefined"),
        checkpointed_status=99,
    ),
)


@dataclass(frozen=True)
class Allocation:
    """The batch job that this process runs in; RESTARTS counts how often it was requeued before."""

    scheduler: str | None = None
    job_id: str | None = None
    array_task: str | None = None
    checkpointed_status: int = 85
    restarts: int = 0
    ends: float | None = None
    """When it ends, in seconds since the epoch, as it was at its start."""
    continues: str | None = None
    """The job that this one was submitted to continue, if it was not merely submitted by such a one."""
    chain: str | None = None
    """The job of which this one is a resubmission."""
    array: str | None = None
    """The array that this job is a task of."""
    is_link: bool = False
    """Whether the tasks of the array, one after another, are to be one job of ours."""

    @property
    def origin(self) -> str | None:
        """The job in which a chain of requeues and resubmissions began; the array, where its tasks are the chain."""
        return self.chain or (self.array if self.is_link else None) or self.job_id

    @property
    def run(self) -> str | None:
        """Which start of which job this is; None outside a batch job."""
        return None if self.job_id is None else f"{self.job_id}.{self.restarts}"


def detect(environ: Mapping[str, str]) -> Allocation:
    """Return the batch job that ENVIRON tells of; nothing but defaults outside one."""
    for names in _SCHEDULERS:
        if names.job_id not in environ or (names.scheduler == "gridengine" and "SGE_TASK_ID" not in environ):
            continue
        tasks = [environ[name] for name in names.array_task if environ.get(name, "") not in names.no_array]
        restarts, ends = environ.get(names.restarts, ""), environ.get(names.end_time, "")
        return Allocation(
            scheduler=names.scheduler,
            job_id=environ[names.job_id],
            array_task=tasks[0] if tasks else None,
            checkpointed_status=names.checkpointed_status,
            restarts=int(restarts) if restarts.isdecimal() else 0,
            ends=float(ends) if ends.isdecimal() else None,
            continues=environ.get(CHAIN) or None,
            array=environ.get(names.array) or None if tasks else None,
        )
    return Allocation()


def link(allocation: Allocation) -> Allocation:
    """Return ALLOCATION as a link of its array's chain: the tasks, one after another, continue one job of ours.

    Outside an array it is the same. Raises UsageError where the scheduler does not name the array.
    """
    if allocation.array_task is None:
        return allocation
    if allocation.array is None:
        raise UsageError(
            f"--array-chain: {allocation.scheduler} does not tell which array job {allocation.job_id} belongs to",
            "submit one job instead; where it is not requeued, the same line in the next one goes on",
        )
    return replace(allocation, array_task=None, is_link=True)
