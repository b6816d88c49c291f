"""Which batch job continues which: a small file for each job that was resubmitted, in the directory of the jobs.

A resubmitted job carries the id of the job that it continues in its environment, and jobs that the program itself
submits inherit that by accident. So only the first job that claims to continue another one does.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from dmtcp_py.batch.scheduler import job_of
from dmtcp_py.errors import BatchError
from dmtcp_py.store.layout import chain_path
from dmtcp_py.system.files import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from dmtcp_py.batch.allocation import Allocation
    from dmtcp_py.batch.scheduler import Scheduler


def confirm(allocation: Allocation, scheduler: Scheduler | None, directory: Path) -> Allocation:
    """Return ALLOCATION as its scheduler knows it, with the chain of resubmissions that it belongs to.

    A job that was submitted from within another job inherits that job's environment, so the scheduler is asked. If it
    does not answer, the environment is trusted. DIRECTORY is where jobs are kept.
    """
    job_id = allocation.job_id
    if scheduler is None or job_id is None:
        return allocation
    with suppress(BatchError):
        job = job_of(scheduler, job_id)
        if job is not None:
            allocation = replace(allocation, array_task=job.array_task, array=job.array, restarts=job.restarts)
    return replace(allocation, chain=_claim(directory, allocation.continues, job_id))


def offer(allocation: Allocation, directory: Path) -> None:
    """Let the next job that is submitted to continue the one of ALLOCATION belong to the same chain."""
    write_atomic(chain_path(directory, allocation.job_id or ""), f"{allocation.origin}\n".encode())


def _claim(directory: Path, continues: str | None, job_id: str) -> str | None:
    """Return the job in which the chain began that JOB_ID continues; None if another job continues it already."""
    if continues is None:
        return None
    path = chain_path(directory, continues)
    try:
        origin, _, claimant = path.read_text(encoding="utf-8").strip().partition(" ")
        if not claimant:
            write_atomic(path, f"{origin} {job_id}\n".encode())
    except (OSError, UnicodeDecodeError):
        return None
    return origin if claimant in ("", job_id) else None
