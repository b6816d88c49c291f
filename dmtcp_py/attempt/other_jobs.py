"""The other jobs of the same directory: which can be resumed, and which was started by nearly the same line.

Where the input was left out of a line, its program is named in another way, or it has other arguments, the line means a
new job. Only reads.
"""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.attempt.identity import as_recorded, named_in
from dmtcp_py.attempt.outcome import Kind
from dmtcp_py.errors import StoreError
from dmtcp_py.options import DIRECTORY
from dmtcp_py.store.layout import jobs_in
from dmtcp_py.store.lock import is_running
from dmtcp_py.store.records import Job, read_record
from dmtcp_py.store.store import read_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dmtcp_py.attempt.identity import Identity
    from dmtcp_py.store.layout import JobLayout

_QUEUED = ("requeue", "resubmit")
_FOR_ONE_START = ("--fresh", "--accept-changed-files", "--accept-changed-state")
_WITH_VALUE = ("--generation",)


def note_on_unfinished(layout: JobLayout, identity: Identity) -> str | None:
    """Return a note on an unfinished job that the line of IDENTITY, which starts the one in LAYOUT, may have meant.

    It is one whose line differs in the way it names things; or else one of the same script that does not run, and that
    no scheduler is going to resume.
    """
    mine, of_script = as_recorded(identity), None
    for other in jobs_in(layout.root.parent):
        with suppress(OSError, StoreError):
            job = read_record(other.job, Job)
            if other.root == layout.root or (job.cwd, job.array_task) != (mine["cwd"], mine["array_task"]):
                continue
            if _is_near(job.command, mine["command"]) and can_be_resumed(other, job):
                line = shlex.join(job.command) + (f" < {shlex.quote(job.stdin)}" if job.stdin else "")
                return (
                    f"this is a new job; job {other.name}, started by '{line}', is unfinished: "
                    f"'{line_to_resume(other, job)}' resumes it"
                )
            is_same = of_script is None and _script(job.command) == _script(mine["command"]) is not None
            if is_same and can_be_resumed(other, job) and _is_left(other):
                of_script = (
                    f"this is a new job; job {other.name} of the same script is unfinished and does not run: "
                    f"'{line_to_resume(other, job)}' resumes it, '{line_to_remove(other)}' gives it up"
                )
    return of_script


def can_be_resumed(layout: JobLayout, job: Job) -> bool:
    """Whether JOB has not finished, and has a generation."""
    state = read_state(layout)
    is_finished = state is not None and state.lineage == job.lineage and state.phase == Kind.FINISHED.value
    return not is_finished and layout.generations_from(job.first_generation) != ()


def line_to_remove(layout: JobLayout) -> str:
    """Return the line that gives up the unfinished job in LAYOUT."""
    return shlex.join(["dmtcp-ctl", *_directory(layout, Path.cwd()), "remove", layout.name, "--unfinished"])


def line_to_resume(layout: JobLayout, job: Job) -> str:
    """Return the line that resumes JOB in LAYOUT, in the directory in which it was started."""
    stdin = None if job.stdin_unnamed else job.stdin
    streams = (("--stdin", stdin), ("--stdout", job.stdout), ("--stderr", job.stderr))
    pairs = [("--job", layout.name), *((name, os.path.relpath(path, job.cwd)) for name, path in streams if path)]
    directory, typed = _directory(layout, Path(job.cwd)), list(_lasting(job.options or []))
    known = {word.partition("=")[0] for word in typed}
    added = [] if "--dir" in known else directory
    added += [word for pair in pairs if pair[0] not in known for word in pair]
    return shlex.join(["dmtcp-run", *added, *typed, *job.command])


def _lasting(words: Sequence[str]) -> Iterator[str]:
    """Yield those of the WORDS of a line that are not meant for one start alone."""
    rest = iter(words)
    for word in rest:
        if word in _WITH_VALUE:
            next(rest, None)
        elif word.partition("=")[0] not in (*_FOR_ONE_START, *_WITH_VALUE):
            yield word


def _directory(layout: JobLayout, cwd: Path) -> list[str]:
    """Return the option by which the job in LAYOUT is found from CWD."""
    directory = os.path.relpath(layout.root.parent.absolute(), cwd)
    return [] if directory == DIRECTORY else ["--dir", directory]


def _is_left(layout: JobLayout) -> bool:
    """Whether the job in LAYOUT does not run, and the batch system is not going to resume it."""
    state = read_state(layout)
    return not is_running(layout) and (state is None or state.follows not in _QUEUED)


def _script(command: Sequence[str]) -> Path | None:
    """Return the script that COMMAND runs, or else its program if that is named by a relative path."""
    name = named_in(tuple(command))
    is_own = name != command[0] or ("/" in name and not name.startswith("/"))
    return Path(name) if is_own else None


def _is_near(command: Sequence[str], mine: Sequence[str]) -> bool:
    return Path(command[0]).name == Path(mine[0]).name and command[1:] == mine[1:]
