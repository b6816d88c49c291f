"""Files that other jobs of the same directory change too: what each did to them cannot be told apart, nor undone."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.rollback.journal import begun_at, read_entries
from dmtcp_py.store.layout import JobLayout, jobs_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dmtcp_py.rollback.journal import Entry

_APPENDED = "appended"
"""Beside the parts: the files that parts which are gone told of as appended to, each with a NUL at its end."""
_SLACK_S = 15.0
"""A living job shows it so often, with some to spare."""


def shared(root: Path, part: Path, notes: Sequence[Entry]) -> dict[Path, str]:
    """Return the files of NOTES that other jobs change too which were active since PART began, with a sentence on each.

    ROOT is where the notes of this job are.
    """
    mine = {note.path for note in notes if note.kind in "CAFR" and not note.path.is_dir()}
    if not mine:
        return {}
    since = begun_at(part) - _SLACK_S
    found = {}
    for job in jobs_in(root.parent.parent):
        if job.root != root.parent and _was_active(job, since):
            found.update(dict.fromkeys(mine & set(files_noted(job.undo)), job.name))
    return {
        path: f"{path}, which the program changed since then, is changed by job {name} too, and what each of them did "
        "cannot be told apart"
        for path, name in sorted(found.items())
    }


def remember_appended(root: Path, part: Path) -> None:
    """Keep which files PART, which is to go, told of as appended to: the next parts of others may need it."""
    new = {note.path for note in read_entries(part) if note.kind == "A"} - set(_appended(root))
    if new:
        with (root / _APPENDED).open("ab") as file:
            file.write(b"".join(os.fsencode(path) + b"\0" for path in sorted(new)))


def _was_active(job: JobLayout, since: float) -> bool:
    for path in (job.lock, job.state):
        with suppress(OSError):
            if path.stat().st_mtime >= since:
                return True
    return False


def files_noted(root: Path) -> Iterator[Path]:
    """Yield the files that the journal in ROOT tells of, and those that it told of as appended to."""
    yield from _appended(root)
    for part in root.glob("[0-9]*"):
        yield from (note.path for note in read_entries(part))


def _appended(root: Path) -> list[Path]:
    try:
        content = (root / _APPENDED).read_bytes()
    except FileNotFoundError:
        return []
    return [Path(os.fsdecode(name)) for name in content.split(b"\0")[:-1]]
