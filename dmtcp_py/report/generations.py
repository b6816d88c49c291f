"""Listing, verifying and pruning the generations of a job; each returns rows of plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmtcp_py.attempt.outcome import Kind
from dmtcp_py.errors import StoreError
from dmtcp_py.store.lock import hold_for_maintenance
from dmtcp_py.store.records import Job, read_record
from dmtcp_py.store.store import Store, read_state, retention_plan
from dmtcp_py.store.verify import read_manifest, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.store.layout import JobLayout

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


def verified(layout: JobLayout, generation: int | None) -> list[dict[str, Any]]:
    """Verify each generation of a job, or only GENERATION; return the problem of each, None if it is intact."""
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
    """Remove the generations that the retention plan does not keep, unless DRY_RUN; return the plan.

    FINISHED removes all generations if the job has finished. Raises LockedError if the job is running; then its own
    attempt prunes.
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
        with hold_for_maintenance(layout) as lock:
            store = Store(layout, lock, None, warn)
            for verdict in doomed:
                store.remove(verdict)
    return rows
