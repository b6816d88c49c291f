"""Which job a command line means, and from what its next attempt starts. Reads paths; starts nothing."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmtcp_py.engine import Stdio
from dmtcp_py.errors import DmtcpRunError, NoSuchJobError, StoreError, UsageError
from dmtcp_py.files import write_atomic
from dmtcp_py.outcome import Kind
from dmtcp_py.store.records import Job, utc_now

if TYPE_CHECKING:
    from collections.abc import Collection

    from dmtcp_py.batch import Allocation
    from dmtcp_py.outcome import RunOptions
    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.records import State
    from dmtcp_py.store.store import Store

_UNSAFE = re.compile(r"[^A-Za-z0-9_.+-]+")
_STREAMS = ("stdin", "stdin_offset", "stdin_unnamed", "stdout", "stderr")
"""A new lineage may have others than the one before."""
_MOST_STDIN_BYTES = 1 << 30


@dataclass(frozen=True)
class Identity:
    """What makes two command lines the same job."""

    command: tuple[str, ...]
    cwd: str
    array_task: str | None
    stdin: str | None
    stdin_offset: int
    stdin_unnamed: bool
    stdout: str | None
    stderr: str | None

    @property
    def name(self) -> str:
        """A name for the job: readable, and another for each other command, directory, array task or input."""
        parts = [list(self.command), self.cwd, self.array_task, self.stdin, self.stdin_offset]
        digest = hashlib.sha256(json.dumps(parts).encode("utf-8", "surrogateescape")).hexdigest()[:8]
        stem = _UNSAFE.sub("-", Path(self.command[0]).name).strip("-.")[:40] or "job"
        task = f"-{_UNSAFE.sub('-', self.array_task)}" if self.array_task else ""
        return f"{stem}{task}-{digest}"


@dataclass(frozen=True)
class Start:
    """From what an attempt starts: candidates for a resume, best first; none means from the beginning."""

    job: Job
    candidates: tuple[int, ...]
    begins_lineage: bool
    why: str
    finished: int | None = None
    """The status with which the program finished in an earlier run of the same batch job: there is nothing to do."""


def identify(options: RunOptions, cwd: Path, array_task: str | None) -> Identity:
    """Return which job OPTIONS mean when given in CWD; standard input is looked at where it is a regular file."""
    stdin, offset, unnamed = _stdin_file(options.stdin, cwd)
    stdout = _output_file("--stdout", options.stdout, cwd)
    stderr = _output_file("--stderr", options.stderr, cwd)
    for option, path in (("--stdout", stdout), ("--stderr", stderr)):
        if stdin and path and os.path.isfile(path) and not unnamed and os.path.samefile(stdin, path):  # noqa: PTH113, PTH121
            raise UsageError(f"{option} is the file that the program reads as standard input", "name another file")
    return Identity(
        command=options.command,
        cwd=str(cwd),
        array_task=array_task,
        stdin=stdin,
        stdin_offset=offset,
        stdin_unnamed=unnamed,
        stdout=stdout,
        stderr=stderr,
    )


def plan_start(store: Store, identity: Identity, options: RunOptions, allocation: Allocation) -> Start:
    """Return from what to start in ALLOCATION, by what lies on disk; nothing is changed.

    Raises StoreError or UsageError where the job on disk is not the one meant, or nothing of it can be resumed
    though something is there.
    """
    job, state = store.job(), store.state()
    numbers = store.layout.generation_numbers()
    if job is None:
        return _without_record(store, identity, options, numbers)
    if state is not None and _is_later_run(job, state, allocation):
        # done in an earlier one: to do it again would lose what came of that
        options = replace(options, fresh=False, generation=None)
    mine = tuple(number for number in reversed(numbers) if number >= job.first_generation)
    is_finished = state is not None and state.lineage == job.lineage and state.phase == Kind.FINISHED.value
    begins = options.fresh or (is_finished and options.generation is None)
    if not options.fresh:
        _refuse_other(store.layout, job, identity, but=_STREAMS if begins else ())
    if options.generation is not None:
        return _chosen(store.layout, job, numbers, options.generation)
    if options.fresh:
        return Start(_new_job(store, identity, job.lineage + 1), (), begins_lineage=True, why="--fresh")
    if is_finished and state is not None:
        earlier = _finished_earlier(job, state, allocation)
        return earlier or _after_the_end(store, identity, job, state, options)
    if mine:
        return Start(job, mine, begins_lineage=False, why="resume")
    if lost := store.lost(job.first_generation):
        raise StoreError(
            f"the generations of job {store.layout.name} are gone: {lost} were committed",
            f"put them back into {store.layout.generations}, or use --fresh to start over",
        )
    if options.resume_only:
        raise _nothing_to_resume(store.layout)
    return Start(job, (), begins_lineage=False, why="no generation was committed yet")


def stdio_of(identity: Identity, layout: JobLayout) -> Stdio:
    """Return the files that belong to the checkpoints of the job."""
    stdin = Path(identity.stdin) if identity.stdin is not None else None
    if identity.stdin_unnamed:
        stdin = layout.stdin_copy
    return Stdio(
        stdin=stdin,
        stdin_offset=identity.stdin_offset,
        stdout=Path(identity.stdout) if identity.stdout else None,
        stderr=Path(identity.stderr) if identity.stderr else None,
    )


def keep_stdin(identity: Identity, layout: JobLayout) -> None:
    """Copy a standard input that has no name (a here-document, a deleted file) to where every attempt finds it."""
    if not identity.stdin_unnamed:
        return
    size = os.fstat(0).st_size
    if size > _MOST_STDIN_BYTES:
        raise UsageError(f"standard input is a deleted file of {size} bytes", "give it a name and use --stdin FILE")
    write_atomic(layout.stdin_copy, os.pread(0, size, 0))


def _stdin_file(asked: Path | None, cwd: Path) -> tuple[str | None, int, bool]:
    """Return the file behind standard input, the position in it, and whether it has no name."""
    if asked is not None:
        path = cwd / asked
        if not path.is_file() and not path.is_char_device():
            raise UsageError(f"--stdin {asked} is not a file", "name a file that exists")
        return str(path.resolve()), 0, False
    try:
        found = os.fstat(0)
    except OSError:
        return None, 0, False
    if not stat.S_ISREG(found.st_mode):
        return None, 0, False
    offset = os.lseek(0, 0, os.SEEK_CUR)
    path = Path(os.readlink("/proc/self/fd/0"))
    if path.exists() and os.path.samestat(path.stat(), found):
        return str(path), offset, False
    return hashlib.sha256(os.pread(0, min(found.st_size, _MOST_STDIN_BYTES), 0)).hexdigest(), offset, True


def _output_file(option: str, asked: Path | None, cwd: Path) -> str | None:
    if asked is None:
        return None
    path = Path(os.path.abspath(cwd / asked))  # noqa: PTH100 - keeps symlinks as the user wrote them
    if path.is_dir():
        raise UsageError(f"{option} {asked} is a directory", "name a file in it")
    if path.exists() and not path.is_file() and not path.is_char_device():
        raise UsageError(
            f"{option} {asked} is no regular file, and could not be resumed", "redirect to it with > instead"
        )
    if not path.parent.is_dir():
        raise UsageError(f"{option} {asked}: there is no directory {path.parent}", f"mkdir -p '{path.parent}'")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"{option} {asked} cannot be written", "look at its owner and permissions")
    return str(path)


def _new_job(store: Store, identity: Identity, lineage: int) -> Job:
    return Job(lineage=lineage, first_generation=store.next_number, created=utc_now(), **_as_recorded(identity))


def _as_recorded(identity: Identity) -> dict[str, Any]:
    """Return the fields of IDENTITY as they stand in a record: bytes that are no UTF-8 as escapes."""
    return {
        "command": [_readable(word) for word in identity.command],
        "cwd": _readable(identity.cwd),
        "array_task": identity.array_task,
        "stdin": _readable(identity.stdin) if identity.stdin else None,
        "stdin_offset": identity.stdin_offset,
        "stdin_unnamed": identity.stdin_unnamed,
        "stdout": _readable(identity.stdout) if identity.stdout else None,
        "stderr": _readable(identity.stderr) if identity.stderr else None,
    }


def _readable(text: str) -> str:
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _without_record(store: Store, identity: Identity, options: RunOptions, numbers: list[int]) -> Start:
    if numbers and not options.fresh:
        raise StoreError(
            f"{store.layout.job} is missing though there are generations {numbers}",
            "use --fresh to start over; the generations stay until the new run has its first",
        )
    if options.resume_only or options.generation is not None:
        raise _nothing_to_resume(store.layout)
    return Start(_new_job(store, identity, 1), (), begins_lineage=True, why="new")


def _refuse_other(layout: JobLayout, job: Job, identity: Identity, *, but: Collection[str]) -> None:
    for field, value in _as_recorded(identity).items():
        found = getattr(job, field)
        if found != value and field not in but:
            raise StoreError(
                f"job {layout.name} was started with {field} {found!r}, and this line has {value!r}",
                "give the line as it was, another --job NAME, or --fresh to start over",
            )


def _chosen(layout: JobLayout, job: Job, numbers: list[int], number: int) -> Start:
    if number not in numbers:
        raise NoSuchJobError(f"job {layout.name} has no generation {number}", f"it has {numbers or 'none'}")
    return Start(job, (number,), begins_lineage=False, why="--generation")


def _is_later_run(job: Job, state: State, allocation: Allocation) -> bool:
    """Whether an earlier run of the same batch job, or of its chain, has worked on JOB."""
    is_same = allocation.origin is not None and state.origin == allocation.origin
    return is_same and state.run != allocation.run and state.lineage == job.lineage


def _finished_earlier(job: Job, state: State, allocation: Allocation) -> Start | None:
    """Return that there is nothing to do, where the program finished in an earlier run of the same batch job."""
    if allocation.origin is None or state.origin != allocation.origin:
        return None
    if state.run == allocation.run:
        raise UsageError(
            f"this line has finished once already in this run of batch job {allocation.job_id}",
            "after a requeue the two could not be told apart: give each a --job NAME of its own",
        )
    return Start(job, (), begins_lineage=False, why="it has finished", finished=state.status)


def _after_the_end(store: Store, identity: Identity, job: Job, state: State, options: RunOptions) -> Start:
    if options.resume_only:
        raise DmtcpRunError(
            f"job {store.layout.name} has finished with status {state.status}: there is nothing to resume",
            "leave --resume-only out to run it once more",
        )
    return Start(_new_job(store, identity, job.lineage + 1), (), begins_lineage=True, why="the run before has finished")


def _nothing_to_resume(layout: JobLayout) -> DmtcpRunError:
    return DmtcpRunError(
        f"job {layout.name} has no generation to resume", "leave --resume-only and --generation out to start it"
    )
