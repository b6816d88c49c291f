"""The status of each job, from its directory, its history and its scheduler, as rows of plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmtcp_py.batch.installed import schedulers
from dmtcp_py.batch.scheduler import BatchState
from dmtcp_py.errors import BatchError, StoreError
from dmtcp_py.report.computed import computed
from dmtcp_py.store.history import read_history
from dmtcp_py.store.lock import holding
from dmtcp_py.store.records import Job, read_record, utc_now
from dmtcp_py.store.store import read_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from dmtcp_py.batch.scheduler import BatchJob
    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.lock import Holding
    from dmtcp_py.store.records import State


def batch_jobs(layouts: Sequence[JobLayout], warn: Callable[[str], None]) -> dict[str, BatchJob]:
    """Return the reports of this machine's schedulers on this user's jobs, by job id; warn if one does not answer.

    Nobody is asked unless one of the jobs of LAYOUTS ran in a batch job.
    """
    if not any(map(_has_batch_job, layouts)):
        return {}
    found: dict[str, BatchJob] = {}
    for scheduler in schedulers().values():
        try:
            found |= {job.job_id: job for job in scheduler.query(None)}
        except BatchError as error:
            # what its commands say fills a screen
            warn(f"{error.what.partition(': ')[0]}: what is in its queue is not shown")
    return found


def _has_batch_job(layout: JobLayout) -> bool:
    try:
        held, state = holding(layout), read_state(layout)
    except StoreError:
        return False
    return (held is not None and held.record.scheduler_job is not None) or (state is not None and bool(state.next_job))


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
    history = computed(read_history(layout), job.lineage, utc_now() if is_alive else None)
    sizes = dict(history.sizes)
    row = {
        "job": layout.name,
        "phase": _phase(job, state, held, queued),
        "status": state.status if state and state.lineage == job.lineage else None,
        **_lock_fields(held),
        "generation": numbers[-1] if numbers else None,
        "generations": numbers,
        **_running_fields(state if is_alive else None),
        "computed_s": _seconds(history.total_s),
        "saved_s": _seconds(history.saved_s),
        "last_checkpoint": _time(history.last_checkpoint),
        "last_reason": history.reason,
        "pause_s": history.pause_s,
        "size": sum(sizes.get(number, 0) for number in numbers),
        "engine": state.engine if state else None,
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
_HISTORY_FIELDS = ("computed_s", "saved_s", "last_checkpoint", "last_reason", "pause_s", "size", "engine")
_OTHER_FIELDS = ("status", "generation", "generations", *_HISTORY_FIELDS, "batch", "follows", "command", "cwd")
_FIELDS = (
    "job",
    "phase",
    "status",
    *_LOCK_FIELDS,
    "generation",
    "generations",
    *_RUNNING_FIELDS,
    *_HISTORY_FIELDS,
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


def _seconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(max(seconds, 0.0), 1)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
