"""The status of each job, from its directory, its history and its scheduler, as rows of plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from dmtcp_py.attempt.outcome import Kind
from dmtcp_py.batch.installed import scheduler_named
from dmtcp_py.batch.scheduler import BatchState
from dmtcp_py.errors import BatchError, StoreError
from dmtcp_py.report.computed import computed
from dmtcp_py.report.lives import lives_of
from dmtcp_py.store.history import read_history
from dmtcp_py.store.lines import is_generation
from dmtcp_py.store.lock import holding
from dmtcp_py.store.mirrored import mirror_states
from dmtcp_py.store.records import Job, read_record, utc_now
from dmtcp_py.store.store import read_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from dmtcp_py.batch.scheduler import BatchJob
    from dmtcp_py.report.lives import Life
    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.lock import Holding
    from dmtcp_py.store.mirrored import MirrorState
    from dmtcp_py.store.records import State


GATED = "gate closed"
"""The phase of a job that waits for its gate."""
SUSPENDED = "suspended"
"""The phase of a job whose supervisor is stopped, as by Ctrl-Z."""


BatchId = tuple[str | None, str | None]
"""The scheduler of a batch job, and its job id."""


def batch_jobs(layouts: Sequence[JobLayout], warn: Callable[[str], None]) -> dict[BatchId, BatchJob]:
    """Return what the schedulers under which the jobs of LAYOUTS ran report on this user's batch jobs.

    A scheduler that does not answer is warned of.
    """
    found: dict[BatchId, BatchJob] = {}
    for name in dict.fromkeys(map(_scheduler_name, layouts)):
        scheduler = scheduler_named(name)
        if scheduler is None:
            continue
        try:
            found |= {(name, job.job_id): job for job in scheduler.query(None)}
        except BatchError as error:
            # what its commands say fills a screen
            warn(f"{error.what.partition(': ')[0]}: what is in its queue is not shown")
    return found


def _scheduler_name(layout: JobLayout) -> str | None:
    try:
        return _batch_id(read_state(layout), holding(layout))[0]
    except StoreError:
        return None


def _batch_id(state: State | None, held: Holding | None) -> BatchId:
    """Return the batch job that continues a job or, if there is none, the one in which it ran last."""
    if state is not None and state.next_job:
        return state.scheduler, state.next_job
    return (held.record.scheduler, held.record.scheduler_job) if held else (None, None)


class Status(Struct, frozen=True):
    """What a job is doing, as a ROW of plain values, with the LIVES of its program."""

    row: dict[str, Any]
    lives: tuple[Life, ...] = ()


def status_of(layout: JobLayout, batch: Mapping[BatchId, BatchJob]) -> Status:
    """Return what a job is doing, together with its scheduler's report in BATCH.

    ``phase`` is running, suspended (as by Ctrl-Z), gate closed, waiting (in the scheduler's queue), dead (its
    supervisor was killed) or how it ended.
    """
    numbers = layout.generation_numbers()
    try:
        job, state, held = read_record(layout.job, Job), read_state(layout), holding(layout)
    except StoreError as error:
        empty = dict.fromkeys((*_LOCK_FIELDS, *_RUNNING_FIELDS, *_OTHER_FIELDS))
        row = {"job": layout.name, "phase": "damaged", **empty, "problem": error.what}
        return Status({**_in_order(row), "generations": numbers})
    queued = batch.get(_batch_id(state, held))
    is_alive, phase = held is not None and held.is_alive, _phase(job, state, held, queued)
    history = read_history(layout)
    last_seen = held.heartbeat if held is not None and not held.record.released else None
    lives = lives_of(history, job.lineage, now=_until(phase, held), last_seen=last_seen)
    past = computed(lives)
    row = {
        "job": layout.name,
        "phase": phase,
        "status": state.status if state and state.lineage == job.lineage else None,
        **_lock_fields(held),
        "generation": numbers[-1] if numbers else None,
        "generations": numbers,
        **_running_fields(state if is_alive and phase != SUSPENDED else None),
        "computed_s": _seconds(past.total_s),
        "saved_s": _seconds(past.saved_s),
        "last_checkpoint": _time(past.last_checkpoint),
        "last_reason": past.reason,
        "pause_s": past.pause_s,
        "size": _size(numbers, history),
        "engine": state.engine if state else None,
        "batch": _batch_text(queued),
        "follows": state.follows if state and not is_alive else None,
        "command": " ".join(job.command),
        "cwd": job.cwd,
        "mirrors": [_mirror(one, is_alive=is_alive) for one in mirror_states(layout)],
        "problem": None,
    }
    return Status(_in_order(row), lives)


def _until(phase: str, held: Holding | None) -> datetime | None:
    """Return until when the program of a job in PHASE is known to run; None if it does not."""
    if phase == SUSPENDED and held is not None:
        return held.heartbeat
    return utc_now() if phase == "running" else None


def _size(numbers: Sequence[int], history: Sequence[dict[str, Any]]) -> int:
    """Return how much generations NUMBERS take."""
    sizes: dict[int, int] = {}
    for line in reversed(history):
        if len(sizes) == len(numbers):
            break
        number = line.get("generation")
        if number not in numbers:
            continue
        if is_generation(line):
            sizes.setdefault(number, line["size"])
        elif line.get("event") == "sealed":
            sizes.setdefault(number, line["stored"])
    return sum(sizes.values())


def _mirror(state: MirrorState, *, is_alive: bool) -> dict[str, Any]:
    is_copying = is_alive and state.copying is not None
    return {
        "url": state.url,
        "generations": state.generations,
        "copying": state.copying if is_copying else None,
        "share": min(state.done / state.size, 1.0) if is_copying and state.size else None,
        "problem": state.problem,
        "failing_since": _time(state.failing_since),
    }


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
_LAST_FIELDS = (*_HISTORY_FIELDS, "batch", "follows", "command", "cwd", "mirrors")
_OTHER_FIELDS = ("status", "generation", "generations", *_LAST_FIELDS)
_FIELDS = (
    "job",
    "phase",
    "status",
    *_LOCK_FIELDS,
    "generation",
    "generations",
    *_RUNNING_FIELDS,
    *_LAST_FIELDS,
    "problem",
)


def _phase(job: Job, state: State | None, held: Holding | None, queued: BatchJob | None) -> str:
    if held is not None and held.is_alive:
        is_held = state is not None and state.phase == Kind.HELD.value and state.epoch == held.record.epoch
        if held.is_suspended:
            return SUSPENDED
        return GATED if is_held else "running"
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
