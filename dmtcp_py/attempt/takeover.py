"""Taking over a job from an attempt that its scheduler believes to have ended, and that still runs."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from dmtcp_py.batch.scheduler import BatchState, job_of
from dmtcp_py.errors import BatchError, DmtcpRunError, LockedError
from dmtcp_py.store import requests
from dmtcp_py.store.lock import HEARTBEAT_S, Holding, holding, is_running
from dmtcp_py.store.records import BatchRun
from dmtcp_py.store.store import open_store

if TYPE_CHECKING:
    from dmtcp_py.batch.allocation import Allocation
    from dmtcp_py.batch.scheduler import Scheduler
    from dmtcp_py.messages import Report
    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.store import Store

STEP_ASIDE_S = 120.0
"""How long the earlier attempt may take for its last checkpoint."""


def open_for(layout: JobLayout, allocation: Allocation, scheduler: Scheduler | None, report: Report) -> Store:
    """Lock the job for an attempt in ALLOCATION.

    If an earlier run of the same batch job holds the lock (Slurm lost contact with its node, but it still runs), it is
    asked to stop. Raises LockedError if anybody else holds the lock, or if the earlier run does not stop.
    """
    until = time.monotonic() + STEP_ASIDE_S
    has_asked = False
    while True:
        try:
            batch = BatchRun(allocation.scheduler, allocation.job_id, allocation.restarts)
            return open_store(layout, batch=batch, say=report.say, warn=report.warn)
        except LockedError as error:
            held = holding(layout)
            if held is None or not _is_superseded(held, allocation, scheduler) or time.monotonic() > until:
                if held is not None and _is_in_another(held, allocation):
                    error.hint = (
                        f"batch job {held.record.scheduler_job} runs it, so this one was not needed: nothing was "
                        "started, and nothing is to be done; for a second run beside it, use --job NAME"
                    )
                if allocation.is_array_chain:
                    error.hint = f"with --array-chain tasks run one at a time, as with --array=1-10%1; {error.hint}"
                raise
        if not has_asked:
            has_asked = True
            report.say(
                f"an earlier run of job {held.record.scheduler_job} still runs on {held.record.host} "
                f"(pid {held.record.pid}): asking it to stop",
                event="handover",
            )
            with suppress(DmtcpRunError):
                requests.ask(layout, "stop", timeout_s=STEP_ASIDE_S, is_served=lambda: is_running(layout))
        else:
            # it has answered or ended: it releases its lock a moment later, or its heartbeat stops
            time.sleep(HEARTBEAT_S / 10)


def _is_in_another(held: Holding, allocation: Allocation) -> bool:
    """Whether another batch job than ours runs the job."""
    return allocation.job_id is not None and held.record.scheduler_job not in (None, allocation.job_id)


def _is_superseded(held: Holding, allocation: Allocation, scheduler: Scheduler | None) -> bool:
    record = held.record
    if allocation.is_array_chain and record.scheduler_job not in (None, allocation.job_id):
        return scheduler is not None and _has_ended(record.scheduler_job or "", scheduler)
    return (
        allocation.job_id is not None
        and record.scheduler_job == allocation.job_id
        and record.scheduler_restarts < allocation.restarts
    )


def _has_ended(job_id: str, scheduler: Scheduler) -> bool:
    """Whether the scheduler considers JOB_ID, another task of the array, to have ended."""
    try:
        job = job_of(scheduler, job_id)
    except BatchError:
        return False
    return job is None or job.state not in (BatchState.RUNNING, BatchState.SUSPENDED)
