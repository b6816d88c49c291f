"""An unfinished job whose directory was moved or copied: found, so that the same line does not start over beside it.

A job's name follows from the path of the working directory, and the images of a program know its files by their paths.
So a job goes on where its old path leads here, by a link for instance; elsewhere it is refused with what to type. A job
that was started in another directory which is still there is another job, unless its folder was copied from there.
Looks at paths and records; changes nothing.
"""

from __future__ import annotations

import os
import re
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmtcp_py.attempt.identity import as_recorded
from dmtcp_py.attempt.outcome import Kind
from dmtcp_py.errors import MovedError, StoreError
from dmtcp_py.store.layout import job_layout, jobs_in
from dmtcp_py.store.lock import is_running
from dmtcp_py.store.records import Job, path_of, read_record
from dmtcp_py.store.store import read_state

if TYPE_CHECKING:
    from dmtcp_py.attempt.identity import Identity
    from dmtcp_py.options import RunOptions
    from dmtcp_py.store.layout import JobLayout

_ESCAPED = rb"\\x([89a-f][0-9a-f])"


def find_job(directory: Path, options: RunOptions, identity: Identity) -> JobLayout:
    """Return where the job that OPTIONS mean is kept in DIRECTORY, be it under the name that its path had before.

    Raises StoreError where a new job would begin beside an unfinished one that was moved or copied with its directory.
    """
    layout = job_layout(directory, _name(directory, options, identity))
    if options.job is not None:
        return layout
    with suppress(OSError):
        # a directory that cannot be read is refused by who opens it
        return layout if layout.job.is_file() else _known_before(layout, directory, options, identity)
    return layout


def recorded_in(cwd: str, identity: Identity) -> dict[str, Any]:
    """Return the record of IDENTITY as it would be if our directory were CWD, as another record has it."""
    values = as_recorded(identity)
    here = str(values["cwd"])
    for name, value in values.items():
        if isinstance(value, str):
            values[name] = _replaced(value, here, cwd)
    values["command"] = [_replaced(word, here, cwd) for word in values["command"]]
    return values


def leads_here(cwd: str, identity: Identity) -> bool:
    """Whether CWD, as a record has it, is a path of our working directory."""
    with suppress(OSError):
        return recorded_path(cwd).samefile(identity.cwd)
    return False


def was_moved(layout: JobLayout, job: Job, identity: Identity, *, is_held: bool = False) -> bool:
    """Whether JOB in LAYOUT was moved or copied to our directory with its own, or may have been.

    Where its directory is gone but its folder stayed where it was, that cannot be known. It was not moved if the job IS
    HELD by an attempt, which then has its directory on another node.
    """
    old, kept_in = recorded_path(job.cwd), path_of(job.kept_in) if job.kept_in is not None else None
    if leads_here(job.cwd, identity):
        return False
    is_elsewhere = kept_in is not None and not _is_same(kept_in, layout.root)
    if _is_gone(old):
        return is_elsewhere or not is_held
    if kept_in is None or not is_elsewhere or not kept_in.is_relative_to(old):
        return False
    return _is_same(Path(identity.cwd) / kept_in.relative_to(old), layout.root)


def paths_of(layout: JobLayout, job: Job) -> list[Path]:
    """Return the paths that the folder of JOB has or had; of a copy, not that of the original."""
    kept_in = path_of(job.kept_in) if job.kept_in is not None else layout.root
    was_here = kept_in != layout.root and (_is_gone(kept_in) or _is_same(kept_in, layout.root))
    return [layout.root, kept_in] if was_here else [layout.root]


def refusal(layout: JobLayout, job: Job, identity: Identity) -> MovedError:
    """Return the error for the unfinished JOB, whose path does not lead here."""
    old = recorded_path(job.cwd)
    what = f"job {layout.name} is unfinished, and was started by the same line in {old}"
    if not _is_gone(old):
        return MovedError(
            f"{what}: this directory was copied or moved from there, and the program would go on with the files there",
            f"run the line there to resume it; --fresh starts over here and leaves job {layout.name} as it is",
            old=str(old),
        )
    return MovedError(
        f"{what}: that directory is gone or has another path now, and the program knows its files by the old one",
        f"{_to_have_the_old_path(identity.cwd, old)}, and --job {layout.name} resumes it; --fresh starts over",
        old=str(old),
    )


def how_to_have_its_path(layout: JobLayout, job: Job) -> str | None:
    """Return what gives JOB's directory, which is gone, its path again; None if it was not moved with LAYOUT in it."""
    old, kept_in, root = (
        recorded_path(job.cwd),
        path_of(job.kept_in) if job.kept_in is not None else None,
        layout.root.resolve(),
    )
    if kept_in is None or not kept_in.is_relative_to(old):
        return None
    below = kept_in.relative_to(old)
    if root == kept_in or root.parts[-len(below.parts) :] != below.parts:
        return None
    return _to_have_the_old_path(str(root.parents[len(below.parts) - 1]), old)


def _to_have_the_old_path(here: str, old: Path) -> str:
    return f"move it back, or type 'ln -s {shlex.quote(here)} {shlex.quote(str(old))}'"


def _name(directory: Path, options: RunOptions, identity: Identity) -> str:
    if options.job is None:
        return identity.name
    if not identity.array_task:
        return options.job
    with suppress(OSError, StoreError):
        # the whole name of a task's job, as messages have it
        if read_record(job_layout(directory, options.job).job, Job).array_task == identity.array_task:
            return options.job
    return f"{options.job}-{identity.array_task}"


def _known_before(layout: JobLayout, directory: Path, options: RunOptions, identity: Identity) -> JobLayout:
    same = [(other, job) for other in jobs_in(directory) if (job := _unfinished(other, identity)) is not None]
    for other, job in same:
        if leads_here(job.cwd, identity):
            return other
    for other, job in same:
        # one that runs may have a directory of its own node's
        if not options.fresh and was_moved(other, job, identity, is_held=is_running(other)):
            raise refusal(other, job, identity)
    return layout


def _unfinished(layout: JobLayout, identity: Identity) -> Job | None:
    """Return the job in LAYOUT if it is that of IDENTITY but for its directory, and is unfinished."""
    with suppress(OSError, StoreError):
        job = read_record(layout.job, Job)
        mine = recorded_in(job.cwd, identity)
        if any(getattr(job, name) != mine[name] for name in ("command", "array_task", "stdin", "stdin_offset")):
            return None
        state = read_state(layout)
        is_of_lineage = state is not None and state.lineage == job.lineage
        is_finished = state is not None and is_of_lineage and state.phase == Kind.FINISHED.value
        has_begun = is_of_lineage or layout.generations_from(job.first_generation) != ()
        return job if has_begun and not is_finished else None
    return None


def _is_same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    return False


def _is_gone(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def recorded_path(recorded: str) -> Path:
    """Return the path that a record has, whose bytes that are no text stand there as escapes."""
    path = Path(recorded)
    if os.path.lexists(path):
        return path
    return Path(os.fsdecode(re.sub(_ESCAPED, lambda found: bytes([int(found[1], 16)]), recorded.encode())))


def _replaced(text: str, old: str, new: str) -> str:
    """Return TEXT with the path NEW where it has the path OLD, or one below it."""
    return re.sub(rf"(?<![\w./-]){re.escape(old)}(?=/|$)", lambda _: new, text)
