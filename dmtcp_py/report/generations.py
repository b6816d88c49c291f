"""Listing, verifying and pruning the generations of a job; each returns rows of plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from dmtcp_py.attempt.outcome import Kind
from dmtcp_py.errors import StoreError
from dmtcp_py.store.lock import hold_for_maintenance, is_running
from dmtcp_py.store.records import Job, read_record
from dmtcp_py.store.store import Store, read_state, retention_plan
from dmtcp_py.store.verify import read_manifest, verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.records import Manifest

_REMOVED_WHEN_FINISHED = "the job has finished"
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


def generations_of(layout: JobLayout) -> list[dict[str, Any]]:
    """Return the generations of a job, oldest first, including those with a damaged manifest."""
    rows = []
    for number in layout.generation_numbers():
        try:
            manifest = read_manifest(layout, number)
        except StoreError as error:
            rows.append(damaged_row(layout.name, number, error.what))
            continue
        rows.append(row_of(layout.name, manifest))
    return rows


def row_of(job: str, manifest: Manifest) -> dict[str, Any]:
    """Return the row of a generation of JOB whose manifest can be read."""
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
    row = {"job": job, "generation": manifest.generation}
    return {**row, **dict(zip(_LIST_FIELDS, values, strict=True)), "problem": None}


def damaged_row(job: str, number: int, problem: str) -> dict[str, Any]:
    """Return the row of generation NUMBER of JOB, whose manifest is damaged."""
    return {"job": job, "generation": number, **dict.fromkeys(_LIST_FIELDS), "problem": problem}


def verified(layout: JobLayout, generation: int | None) -> list[dict[str, Any]]:
    """Verify each generation of a job, or only GENERATION; return the problem of each, None if it is intact."""
    rows = []
    for number in layout.generation_numbers() if generation is None else [generation]:
        try:
            verify(layout, number)
            problem = None
        except StoreError as error:
            if generation is None and number not in layout.generation_numbers():
                # the job runs, and has removed it meanwhile
                continue
            problem = error.what
        rows.append({"job": layout.name, "generation": number, "problem": problem})
    return rows


class Pruned(NamedTuple):
    """What pruning a job does: the plan, and the directories left to remove, whose records are in HISTORY."""

    rows: list[dict[str, Any]]
    doomed: list[Path]
    history: Path


def pruned(layout: JobLayout, *, keep: int, finished: bool, dry_run: bool, warn: Callable[[str], None]) -> Pruned:
    """Take out the generations that the retention plan does not keep, unless DRY_RUN.

    What is left to remove is not read any more, by nobody; `dmtcp_py.store.removal` removes it. FINISHED takes out all
    generations if the job has finished. Raises LockedError if the job is running; then its own attempt prunes.
    """
    job, state = read_record(layout.job, Job), read_state(layout)
    removes_all = finished and state is not None and state.phase == Kind.FINISHED.value
    rows, doomed = [], []
    for verdict in retention_plan(layout, keep=keep, lineage=job.lineage):
        stays = verdict.keep and not removes_all
        rule = _REMOVED_WHEN_FINISHED if verdict.keep and removes_all else verdict.rule
        rows.append({"job": layout.name, "generation": verdict.number, "keep": stays, "rule": rule})
        if not stays:
            doomed.append(verdict)
    if dry_run or not (doomed or (layout.partials() and not is_running(layout))):
        return Pruned(rows, [], layout.history)
    with hold_for_maintenance(layout) as lock:
        Store(layout, lock, None, warn).take_out(doomed, durable=False)
        return Pruned(rows, layout.partials(), layout.history)
