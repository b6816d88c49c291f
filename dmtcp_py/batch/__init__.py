"""What the environment says of the batch job around us. One row a scheduler; nothing is asked of any of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class _Names:
    """The environment names of one scheduler, and the values that mean 'no array'."""

    scheduler: str
    job_id: str
    array_task: tuple[str, ...]
    no_array: tuple[str, ...] = ("",)
    checkpointed_status: int = 85


_SCHEDULERS = (
    _Names("slurm", "SLURM_JOB_ID", ("SLURM_ARRAY_TASK_ID",)),
    _Names("pbs", "PBS_JOBID", ("PBS_ARRAY_INDEX", "PBS_ARRAYID")),
    _Names("lsf", "LSB_JOBID", ("LSB_JOBINDEX",), ("", "0")),
    _Names("gridengine", "JOB_ID", ("SGE_TASK_ID",), ("", "undefined"), checkpointed_status=99),
)


@dataclass(frozen=True)
class Allocation:
    """The batch job that this process runs in."""

    scheduler: str | None = None
    job_id: str | None = None
    array_task: str | None = None
    checkpointed_status: int = 85


def detect(environ: Mapping[str, str]) -> Allocation:
    """Return the batch job that ENVIRON tells of; nothing but defaults outside one."""
    for names in _SCHEDULERS:
        if names.job_id not in environ or (names.scheduler == "gridengine" and "SGE_TASK_ID" not in environ):
            continue
        tasks = [environ[name] for name in names.array_task if environ.get(name, "") not in names.no_array]
        return Allocation(
            names.scheduler, environ[names.job_id], tasks[0] if tasks else None, names.checkpointed_status
        )
    return Allocation()
