"""Which batch job continues which: a small file for each job that was resubmitted, in the directory of the jobs.

A resubmitted job carries the id of the job that it continues in its environment, and jobs that the program itself
submits inherit that by accident. So only the first job that claims to continue another one does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dmtcp_py.store.layout import chain_path
from dmtcp_py.system.files import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from dmtcp_py.batch.allocation import Allocation
    from dmtcp_py.batch.scheduler import BatchJob


def confirm(allocation: Allocation, job: BatchJob | None, directory: Path) -> Allocation:
    """Return ALLOCATION as its scheduler knows it, with the chain of resubmissions that it belongs to.

    A job that was submitted from within another job inherits that job's environment, so what the scheduler says about
    JOB counts; None, if it did not answer, leaves the environment's word. DIRECTORY is where jobs are kept.
    """
    if job is not None:
        allocation = replace(allocation, array_task=job.array_task, array=job.array, restarts=job.restarts)
    return replace(allocation, chain=_claim(directory, allocation.continues, allocation.job_id or ""))


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
