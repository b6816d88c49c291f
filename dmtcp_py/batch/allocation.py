"""The batch job in which this process runs, read from the environment: a table with a row for each scheduler. PURE."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dmtcp_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

CHAIN = "DMTCP_RUN_CHAIN"
"""The environment variable that names the job that a resubmitted job continues. Jobs that it submits inherit it."""


@dataclass(frozen=True)
class _Variables:
    """The environment variables of one scheduler, and the values of the array task that mean 'no array'."""

    scheduler: str
    job_id: str
    array_task: tuple[str, ...]
    no_array: tuple[str, ...] = ("",)
    array: str = ""
    restarts: str = ""
    end_time: str = ""
    checkpointed_status: int = 85


_SCHEDULERS = (
    _Variables(
        "slurm",
        "SLURM_JOB_ID",
        ("SLURM_ARRAY_TASK_ID",),
        array="SLURM_ARRAY_JOB_ID",
        restarts="SLURM_RESTART_COUNT",
        end_time="SLURM_JOB_END_TIME",
    ),
    _Variables("pbs", "PBS_JOBID", ("PBS_ARRAY_INDEX", "PBS_ARRAYID")),
    _Variables(scheduler="lsf", job_id="LSB_JOBID", array_task=("LSB_JOBINDEX",), no_array=("", "0")),
    _Variables(
        scheduler="gridengine",
        job_id="JOB_ID",
        array_task=("SGE_TASK_ID",),
        no_array=("", "undefined"),
        checkpointed_status=99,
    ),
)


@dataclass(frozen=True)
class Allocation:
    """The batch job in which this process runs; RESTARTS is the number of its requeues so far."""

    scheduler: str | None = None
    job_id: str | None = None
    array_task: str | None = None
    checkpointed_status: int = 85
    restarts: int = 0
    ends: float | None = None
    """When it ends, in seconds since the epoch, as set at its start."""
    continues: str | None = None
    """The job that this one continues. A resubmission sets it; jobs that the program submits inherit it by accident."""
    chain: str | None = None
    """The job in which the chain of resubmissions that leads to this job began; None if it was not resubmitted."""
    array: str | None = None
    """The id of the array of which this job is a task."""
    is_array_chain: bool = False
    """Whether the tasks of the array continue one job of dmtcp-run, one after another."""

    @property
    def origin(self) -> str | None:
        """The job in which a chain of requeues and resubmissions began; the array if its tasks form the chain."""
        return self.chain or (self.array if self.is_array_chain else None) or self.job_id

    @property
    def run(self) -> str | None:
        """The batch job and which of its starts this is, as ``ID.RESTARTS``; None outside a batch job."""
        return None if self.job_id is None else f"{self.job_id}.{self.restarts}"


def detect(environ: Mapping[str, str]) -> Allocation:
    """Return the batch job that ENVIRON describes; only defaults outside a batch job."""
    for variables in _SCHEDULERS:
        if variables.job_id not in environ or (variables.scheduler == "gridengine" and "SGE_TASK_ID" not in environ):
            continue
        tasks = [environ[name] for name in variables.array_task if environ.get(name, "") not in variables.no_array]
        restarts, ends = environ.get(variables.restarts, ""), environ.get(variables.end_time, "")
        return Allocation(
            scheduler=variables.scheduler,
            job_id=environ[variables.job_id],
            array_task=tasks[0] if tasks else None,
            checkpointed_status=variables.checkpointed_status,
            restarts=int(restarts) if restarts.isdecimal() else 0,
            ends=float(ends) if ends.isdecimal() else None,
            continues=environ.get(CHAIN) or None,
            array=environ.get(variables.array) or None if tasks else None,
        )
    return Allocation()


def without_job(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ENVIRON as it is outside a batch job."""
    names = {CHAIN}
    for one in _SCHEDULERS:
        names |= {one.job_id, *one.array_task, one.array, one.restarts, one.end_time}
    return {name: value for name, value in environ.items() if name not in names}


def chain_array(allocation: Allocation) -> Allocation:
    """Return ALLOCATION as one of the array tasks that continue one job of dmtcp-run, one after another.

    Outside an array ALLOCATION is returned unchanged. Raises UsageError if the scheduler does not name the array.
    """
    if allocation.array_task is None:
        return allocation
    if allocation.array is None:
        raise UsageError(
            f"--array-chain: {allocation.scheduler} does not say which array job {allocation.job_id} belongs to",
            "submit a single job instead; if it is not requeued, run the same line in another job to continue",
        )
    return replace(allocation, array_task=None, is_array_chain=True)
