"""Which batch job continues which: a small file for each resubmitted job, in the directory of the jobs.

The environment of a resubmitted job holds the id of the job that it continues, and jobs that the program itself submits
inherit it by accident. So only the first job that claims to continue another one belongs to the chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmtcp_py.store.layout import chain_path, starts_path
from dmtcp_py.system.files import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from dmtcp_py.batch.allocation import Allocation
    from dmtcp_py.batch.scheduler import BatchJob


def confirm(allocation: Allocation, job: BatchJob | None, directory: Path) -> Allocation:
    """Return ALLOCATION with the values that the scheduler reports, and with its chain of resubmissions.

    JOB is the scheduler's report; it overrides the environment, which a job submitted from within another job inherits
    from that one. If JOB is None, because the scheduler did not answer, the environment is used. DIRECTORY holds the
    jobs.
    """
    if job is not None:
        restarts = job.restarts if job.restarts is not None else _count(directory, job)
        allocation = allocation._replace(array_task=job.array_task, array=job.array, restarts=restarts)
    return allocation._replace(chain=_claim(directory, allocation.continues, allocation.job_id or ""))


def offer(allocation: Allocation, directory: Path) -> None:
    """Allow one job that is submitted to continue the one of ALLOCATION to join its chain."""
    write_atomic(chain_path(directory, allocation.job_id or ""), f"{allocation.origin}\n".encode())


def _count(directory: Path, job: BatchJob) -> int:
    """Return how often JOB was started before this time, for a scheduler that does not count; a file remembers it."""
    path, start = starts_path(directory, job.job_id), f"{job.starts or 0:.0f}"
    known = path.read_text(encoding="utf-8").split() if path.is_file() else []
    if start not in known:
        known.append(start)
        directory.mkdir(parents=True, exist_ok=True)
        write_atomic(path, "".join(f"{one}\n" for one in known).encode())
    return known.index(start)


def _claim(directory: Path, continues: str | None, job_id: str) -> str | None:
    """Join JOB_ID to the chain of job CONTINUES; return the job in which the chain began.

    Returns None if there is no such chain, or another job has joined it in that place already.
    """
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
