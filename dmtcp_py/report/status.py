"""The status of each job, from its directory and its scheduler, as rows of plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmtcp_py.batch.installed import schedulers
from dmtcp_py.batch.scheduler import BatchState
from dmtcp_py.errors import BatchError, StoreError
from dmtcp_py.store.lock import holding
from dmtcp_py.store.records import Job, read_record
from dmtcp_py.store.store import read_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from dmtcp_py.batch.scheduler import BatchJob
    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.lock import Holding
    from dmtcp_py.store.records import State


def batch_jobs(warn: Callable[[str], None]) -> dict[str, BatchJob]:
    """Return the reports of this machine's schedulers on this user's jobs, by job id; warn if one does not answer."""
    found: dict[str, BatchJob] = {}
    for scheduler in schedulers().values():
        try:
            found |= {job.job_id: job for job in scheduler.query(None)}
        except BatchError as error:
            warn(str(error))
    return found


def status_of(layout: JobLayout, batch: Mapping[str, BatchJob]) -> dict[str, Any]:
    """Return what a job is doing, together with its scheduler's report in BATCH.

    ``phase`` is running, waiting (in the scheduler's queue), dead (its supervisor was killed) or how it ended.
    """
    numbers = layout.generation_numbers()
    try:
        job, state, held = read_record(layout.job, Job), read_state(layout), holding(layout)
    except StoreError as error:
        empty = dict.fromkeys((*_LOCK_FIELDS, *_RUNNING_FIELDS, *_OTHER_FIELDS))
        row = {"job": layout.name, "phase": "damaged", **empty, "problem": error.what}
        return {**_in_order(row), "generations": numbers}
    queued = batch.get((state.next_job if state else None) or (held.record.scheduler_job if held else None) or "")
    is_alive = held is not None and held.is_alive
    row = {
        "job": layout.name,
        "phase": _phase(job, state, held, queued),
        "status": state.status if state and state.lineage == job.lineage else None,
        **_lock_fields(held),
        "generation": numbers[-1] if numbers else None,
        "generations": numbers,
        **_running_fields(state if is_alive else None),
        "batch": _batch_text(queued),
        "follows": state.follows if state and not is_alive else None,
        "command": " ".join(job.command),
        "cwd": job.cwd,
        "problem": None,
    }
    return _in_order(row)


def _lock_fields(held: Holding | None) -> dict[str, Any]:
    if held is None:
        return dict.fromkeys(_LOCK_FIELDS)
    heartbeat_s = None if held.record.released else round(max(held.heartbeat_age_s, 0), 1)
    record = held.record
    values = (record.host, record.pid, record.scheduler_job, record.epoch, heartbeat_s)
    return dict(zip(_LOCK_FIELDS, values, strict=True))


def _running_fields(state: State | None) -> dict[str, Any]:
    if state is None:
        return dict.fromkeys(_RUNNING_FIELDS)
    values = (_time(state.started), _time(state.next_checkpoint), _time(state.ends))
    return dict(zip(_RUNNING_FIELDS, values, strict=True))


def _in_order(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _FIELDS}


_LOCK_FIELDS = ("host", "pid", "scheduler_job", "attempt", "heartbeat_s")
_RUNNING_FIELDS = ("since", "next_checkpoint", "ends")
_OTHER_FIELDS = ("status", "generation", "generations", "batch", "follows", "command", "cwd")
_FIELDS = (
    "job",
    "phase",
    "status",
    *_LOCK_FIELDS,
    "generation",
    "generations",
    *_RUNNING_FIELDS,
    "batch",
    "follows",
    "command",
    "cwd",
    "problem",
)


def _phase(job: Job, state: State | None, held: Holding | None, queued: BatchJob | None) -> str:
    if held is not None and held.is_alive:
        return "running"
    if queued is not None and queued.state is BatchState.WAITING:
        return "waiting"
    if state is None or state.lineage != job.lineage or state.phase == "running":
        return "dead"
    return state.phase


def _batch_text(queued: BatchJob | None) -> str | None:
    if queued is None:
        return None
    return f"{queued.job_id} {queued.state.value}" + (f" ({queued.reason})" if queued.reason else "")


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
