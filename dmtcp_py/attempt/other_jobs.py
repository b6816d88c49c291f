"""The other jobs of the same directory: which can be resumed, and which was started by nearly the same line.

Where the input was left out of a line, or its program is named in another way, the line means a new job. Only reads.
"""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmtcp_py.attempt.identity import as_recorded
from dmtcp_py.attempt.outcome import Kind
from dmtcp_py.errors import StoreError
from dmtcp_py.store.layout import jobs_in
from dmtcp_py.store.records import Job, read_record
from dmtcp_py.store.store import read_state

if TYPE_CHECKING:
    from dmtcp_py.attempt.identity import Identity
    from dmtcp_py.store.layout import JobLayout


def note_on_near(layout: JobLayout, identity: Identity) -> str | None:
    """Return a note on the unfinished job whose line differs from that of IDENTITY in the way it names things."""
    mine = as_recorded(identity)
    for other in jobs_in(layout.root.parent):
        with suppress(OSError, StoreError):
            job = read_record(other.job, Job)
            if other.root != layout.root and _is_near(job, mine) and can_be_resumed(other, job):
                line = shlex.join(job.command) + (f" < {shlex.quote(job.stdin)}" if job.stdin else "")
                return f"this is a new job; job {other.name}, started by '{line}', is unfinished"
    return None


def can_be_resumed(layout: JobLayout, job: Job) -> bool:
    """Whether JOB has not finished, and has a generation."""
    state = read_state(layout)
    is_finished = state is not None and state.lineage == job.lineage and state.phase == Kind.FINISHED.value
    return not is_finished and layout.generations_from(job.first_generation) != ()


def _is_near(job: Job, mine: dict[str, Any]) -> bool:
    command = mine["command"]
    is_same_program = Path(job.command[0]).name == Path(command[0]).name and job.command[1:] == command[1:]
    return is_same_program and (job.cwd, job.array_task) == (mine["cwd"], mine["array_task"])
