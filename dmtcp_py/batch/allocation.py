"""The batch job in which this process runs, read from the environment: a table with a row for each scheduler. PURE."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dmtcp_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

HTCONDOR_AD = "_CONDOR_JOB_AD"
"""The environment variable that names the file in which HTCondor describes a job to itself."""
CHAIN = "DMTCP_RUN_CHAIN"
"""The environment variable that names the job that a resubmitted job continues. Jobs that it submits inherit it."""


class _Variables(NamedTuple):
    """The environment variables of one scheduler, and the values of the array task that mean 'no array'."""

    scheduler: str
    job_id: str
    array_task: str = ""
    no_array: tuple[str, ...] = ("",)
    array: str = ""
    task_id: str = "{job}"
    """The id that means one task of an array alone, made of the values of JOB_ID and ARRAY_TASK."""
    proof: tuple[str, str] = ("", "")
    """A variable that only jobs of this scheduler have, and how its value begins."""
    restarts: str = ""
    end_time: str = ""
    checkpointed_status: int = 85


_SCHEDULERS = (
    _Variables(
        "slurm",
        "SLURM_JOB_ID",
        "SLURM_ARRAY_TASK_ID",
        array="SLURM_ARRAY_JOB_ID",
        restarts="SLURM_RESTART_COUNT",
        end_time="SLURM_JOB_END_TIME",
    ),
    _Variables("torque", "PBS_JOBID", "PBS_ARRAYID", proof=("PBS_VERSION", "TORQUE")),
    _Variables("pbs", "PBS_JOBID", "PBS_ARRAY_INDEX", array="PBS_ARRAY_ID"),
    _Variables("lsf", "LSB_JOBID", "LSB_JOBINDEX", no_array=("", "0"), array="LSB_JOBID", task_id="{job}[{task}]"),
    _Variables(
        "gridengine",
        "JOB_ID",
        "SGE_TASK_ID",
        no_array=("", "undefined"),
        array="JOB_ID",
        task_id="{job}.{task}",
        proof=("SGE_TASK_ID", ""),
        restarts="RESTARTED",
        checkpointed_status=99,
    ),
)


class Allocation(NamedTuple):
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
    is_evicted: bool = False
    """Whether the scheduler ends jobs by SIGTERM at any time and starts them again, and so has no end to ask for."""
    restart_status: int | None = None
    """The exit status after which the scheduler starts the same job again at once."""

    @property
    def origin(self) -> str | None:
        """The job in which a chain of requeues and resubmissions began; the array if its tasks form the chain."""
        return self.chain or (self.array if self.is_array_chain else None) or self.job_id

    @property
    def run(self) -> str | None:
        """The batch job and which of its starts this is, as ``ID.RESTARTS``; None outside a batch job."""
        return None if self.job_id is None else f"{self.job_id}.{self.restarts}"


def detect(environ: Mapping[str, str]) -> Allocation:
    """Return the batch job that ENVIRON alone describes; only defaults outside one."""
    for variables in _SCHEDULERS:
        if variables.job_id in environ and _has_proof(environ, *variables.proof):
            return _allocation(environ, variables)
    return Allocation()


def without_job(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ENVIRON as it is outside a batch job."""
    names = {CHAIN, HTCONDOR_AD}
    for one in _SCHEDULERS:
        names |= {one.job_id, one.array_task, one.array, one.restarts, one.end_time, one.proof[0]}
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
    return allocation._replace(array_task=None, is_array_chain=True)


def _has_proof(environ: Mapping[str, str], name: str, beginning: str) -> bool:
    return not name or (name in environ and environ[name].startswith(beginning))


def _allocation(environ: Mapping[str, str], variables: _Variables) -> Allocation:
    job, task = environ[variables.job_id], environ.get(variables.array_task, "")
    is_task = task not in variables.no_array
    restarts, ends = environ.get(variables.restarts, ""), environ.get(variables.end_time, "")
    return Allocation(
        scheduler=variables.scheduler,
        job_id=variables.task_id.format(job=job, task=task) if is_task else job,
        array_task=task if is_task else None,
        checkpointed_status=variables.checkpointed_status,
        restarts=int(restarts) if restarts.isdecimal() else 0,
        ends=float(ends) if ends.isdecimal() else None,
        continues=environ.get(CHAIN) or None,
        array=environ.get(variables.array) or None if is_task else None,
    )
