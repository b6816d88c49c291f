"""The files that a job needs, as far as its records name them: emptied, they let it go wrong or stop its resume.

A file that its program only read, and closed before the newest generation, is not among them, unless the command line
names it. Only reads.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.attempt.moved import recorded_path
from dmtcp_py.errors import StoreError
from dmtcp_py.rollback import held_files, written_files
from dmtcp_py.rollback.journal import read_entries
from dmtcp_py.rollback.parts import numbers_of
from dmtcp_py.store.layout import manifest_path
from dmtcp_py.store.lock import holding
from dmtcp_py.store.records import Manifest, path_of, read_record
from dmtcp_py.system.proc import open_descriptors, process_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.records import Job


def outputs_of(job: Job) -> list[Path]:
    """Return the files to which JOB writes its standard streams."""
    return [recorded_path(name) for name in (job.stdout, job.stderr) if name]


def needed_by(layout: JobLayout, job: Job) -> Iterator[Path]:
    """Yield the input of JOB in LAYOUT, its program and script, and what it has open or has written. Raises OSError."""
    if job.stdin and not job.stdin_unnamed:
        yield recorded_path(job.stdin)
    yield from (path_of(file.path) for file in job.named_files)
    yield from _open_now(layout)
    for number in layout.generations_from(job.first_generation)[:1]:
        yield from _held_open(layout.generation(number))
    for number in numbers_of(layout.undo):
        for entry in read_entries(layout.undo / f"{number:06}"):
            yield entry.moved_to or entry.path
    yield from written_files.names(layout.undo, job.lineage)


def _open_now(layout: JobLayout) -> Iterator[Path]:
    """Yield what the processes of an attempt that runs on this machine have open; no generation names all of it."""
    found = holding(layout)
    for pid, _ in process_tree(found.record.pid) if found and found.is_seen and found.is_alive else ():
        # a process may end while it is looked at
        with suppress(OSError):
            yield from (Path(target) for _, target, _ in open_descriptors(pid) if target.startswith("/"))


def _held_open(generation: Path) -> Iterator[Path]:
    """Yield what the program had open when GENERATION was taken; of a damaged one, what can be read."""
    with suppress(OSError, StoreError):
        manifest = read_record(manifest_path(generation), Manifest)
        yield from map(path_of, [*manifest.updated_files, *manifest.mapped_files])
    with suppress(OSError, ValueError, KeyError, TypeError):
        held = held_files.read(generation)
        yield from map(Path, [*(file.path for file in held.files), *(file.path for file in held.inputs)])
