"""What dmtcp-ctl finds out and does, as rows of plain values. Works on the job's directory alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmtcp_py.batch import BatchState
from dmtcp_py.batch.choice import schedulers
from dmtcp_py.errors import BatchError, DmtcpRunError, LockedError, StoreError
from dmtcp_py.outcome import Kind
from dmtcp_py.store import requests
from dmtcp_py.store.lock import holding, is_running, kept
from dmtcp_py.store.records import Job, read_record
from dmtcp_py.store.store import Store, read_state, retention_plan
from dmtcp_py.store.verify import read_manifest, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from dmtcp_py.batch import BatchJob
    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.lock import Holding
    from dmtcp_py.store.records import Request, State

_REMOVED_WHEN_FINISHED = "the job has finished"


def batch_jobs(warn: Callable[[str], None]) -> dict[str, BatchJob]:
    """Return what the schedulers of this machine say of this user's jobs, by job id; a silent one is warned of."""
    found: dict[str, BatchJob] = {}
    for scheduler in schedulers().values():
        try:
            found |= {job.job_id: job for job in scheduler.look(None)}
        except BatchError as error:
            warn(str(error))
    return found


def status_of(layout: JobLayout, batch: Mapping[str, BatchJob]) -> dict[str, Any]:
    """Return what a job is doing, joined with what its scheduler says in BATCH.

    ``phase`` is running, waiting (in the scheduler's queue), dead (its supervisor is gone) or how it ended.
    """
    numbers = layout.generation_numbers()
    try:
        job, state, held = read_record(layout.job, Job), read_state(layout), holding(layout)
    except StoreError as error:
        return {
            "job": layout.name,
            "phase": "damaged",
            **dict.fromkeys(_STATUS_FIELDS),
            "generations": numbers,
            "problem": error.what,
        }
    is_alive = held is not None and held.is_alive
    queued = batch.get((state.next_job if state else None) or (held.record.scheduler_job if held else None) or "")
    return {
        "job": layout.name,
        "phase": _phase(job, state, held, queued),
        "status": state.status if state and state.lineage == job.lineage else None,
        "host": held.record.host if held else None,
        "pid": held.record.pid if held else None,
        "scheduler_job": held.record.scheduler_job if held else None,
        "attempt": held.record.epoch if held else None,
        "heartbeat_s": round(max(held.heartbeat_age_s, 0), 1) if held and not held.record.released else None,
        "generation": numbers[-1] if numbers else None,
        "generations": numbers,
        "since": _time(state.started) if state and is_alive else None,
        "next_checkpoint": _time(state.next_checkpoint) if state and is_alive else None,
        "ends": _time(state.ends) if state and is_alive else None,
        "batch": _told(queued),
        "follows": state.follows if state and not is_alive else None,
        "command": " ".join(job.command),
        "cwd": job.cwd,
        "problem": None,
    }


def listed(layout: JobLayout) -> list[dict[str, Any]]:
    """Return the generations of a job, oldest first; a damaged manifest is a row too."""
    rows = []
    for number in layout.generation_numbers():
        row: dict[str, Any] = {"job": layout.name, "generation": number}
        try:
            manifest = read_manifest(layout, number)
        except StoreError as error:
            rows.append({**row, **dict.fromkeys(_LIST_FIELDS), "problem": error.what})
            continue
        values = (
            manifest.created.isoformat(timespec="seconds"),
            manifest.reason,
            manifest.size,
            manifest.processes,
            f"{manifest.engine} {manifest.engine_version}",
            manifest.host.name,
            manifest.lineage,
            manifest.epoch,
            manifest.parent,
            round(manifest.cost.checkpoint_s, 2),
        )
        rows.append({**row, **dict(zip(_LIST_FIELDS, values, strict=True)), "problem": None})
    return rows


_STATUS_FIELDS = (
    "status",
    "host",
    "pid",
    "scheduler_job",
    "attempt",
    "heartbeat_s",
    "generation",
    "generations",
    "since",
    "next_checkpoint",
    "ends",
    "batch",
    "follows",
    "command",
    "cwd",
)
_LIST_FIELDS = (
    "created",
    "reason",
    "size",
    "processes",
    "engine",
    "host",
    "lineage",
    "attempt",
    "parent",
    "checkpoint_s",
)


def checked(layout: JobLayout, generation: int | None) -> list[dict[str, Any]]:
    """Return for each generation, or the one asked for, what is wrong with it; None is nothing."""
    rows = []
    for number in layout.generation_numbers() if generation is None else [generation]:
        try:
            verify(layout, number)
            problem = None
        except StoreError as error:
            problem = error.what
        rows.append({"job": layout.name, "generation": number, "problem": problem})
    return rows


def pruned(
    layout: JobLayout, *, keep: int, finished: bool, dry_run: bool, warn: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Remove what the retention plan lets go, or only show it; return the plan.

    Raises LockedError where the job runs: then its own attempt prunes.
    """
    job, state = read_record(layout.job, Job), read_state(layout)
    removes_all = finished and state is not None and state.phase == Kind.FINISHED.value
    verdicts = retention_plan(layout, keep=keep, lineage=job.lineage)
    rows = []
    doomed = []
    for verdict in verdicts:
        stays = verdict.keep and not removes_all
        rule = _REMOVED_WHEN_FINISHED if verdict.keep and removes_all else verdict.rule
        rows.append({"job": layout.name, "generation": verdict.number, "keep": stays, "rule": rule})
        if not stays:
            doomed.append(verdict)
    if doomed and not dry_run:
        with kept(layout) as lock:
            store = Store(layout, lock, None, warn)
            for verdict in doomed:
                store.remove(verdict)
    return rows


def order(layout: JobLayout, action: str, *, timeout_s: float) -> Request:
    """Have the running attempt of a job do ACTION and return its answer."""
    held = holding(layout)
    if held is None or not held.is_alive:
        raise DmtcpRunError(f"job {layout.name} is not running", f"'dmtcp-ctl status {layout.name}' says how it ended")
    answer = requests.ask(layout, action, timeout_s=timeout_s, is_served=lambda: is_running(layout))
    if answer is None and not is_running(layout):
        raise DmtcpRunError(f"job {layout.name} ended before it answered", f"look at 'dmtcp-ctl status {layout.name}'")
    if answer is None:
        raise LockedError(
            f"job {layout.name} on {held.record.host} (pid {held.record.pid}) did not answer within {timeout_s:.0f} s",
            "look at the program there, or give --timeout",
        )
    return answer


def _phase(job: Job, state: State | None, held: Holding | None, queued: BatchJob | None) -> str:
    if held is not None and held.is_alive:
        return "running"
    if queued is not None and queued.state is BatchState.WAITING:
        return "waiting"
    if state is None or state.lineage != job.lineage or state.phase == "running":
        return "dead"
    return state.phase


def _told(queued: BatchJob | None) -> str | None:
    if queued is None:
        return None
    return f"{queued.job_id} {queued.state.value}" + (f" ({queued.reason})" if queued.reason else "")


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
