"""The files that a command line names: the program itself, its script, its input; whether they changed since the start.

A resumed program goes on as it was loaded, and with what it had read. Somebody who edits a script and runs the same
line again may expect something else. Only reads.
"""

from __future__ import annotations

import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from dmtcp_py.attempt.identity import SCRIPT
from dmtcp_py.attempt.imported import imported
from dmtcp_py.errors import UsageError
from dmtcp_py.store.records import NamedFile, path_of, path_text

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from dmtcp_py.engine.protocol import Stdio
    from dmtcp_py.store.records import Job

_MOST_NAMED = 32
_MOST_COMPARED_BYTES = 8 << 20
"""Of larger files only the size and the time of the last change are compared."""


def named_files(program: Path, command: Sequence[str], cwd: Path) -> list[NamedFile]:
    """Return PROGRAM, and the regular files that words of COMMAND name in directory CWD, as they are now.

    With the script are those beside it that it imports.
    """
    found, has_script = {program: _described(program, is_code=True)}, False
    for word in command[1:]:
        path = cwd / (word.partition("=")[2] if word.startswith("--") else word)
        if path in found or len(found) == _MOST_NAMED or not _is_regular(path):
            continue
        is_script = not has_script and _is_script(path)
        has_script = has_script or is_script
        found[path] = _described(path, is_code=is_script)
        for other in imported(path) if is_script else ():
            found.setdefault(other, _described(other, is_code=True))
    return [file for file in found.values() if file is not None]


def own_folders(job: Job, program: Path) -> list[Path]:
    """Return where JOB's user may build what it runs: its directory and, unless it runs a script, PROGRAM's folder."""
    is_interpreted = any(file.is_code for file in job.named_files[1:])
    return [Path(job.cwd).resolve(), *([] if is_interpreted else [program.resolve().parent])]


def refuse_to_empty(files: Iterable[NamedFile], stdio: Stdio) -> None:
    """Raise UsageError if one of FILES would be emptied, because it is to be the output of the program in STDIO."""
    for option, output in (("--stdout", stdio.stdout), ("--stderr", stdio.stderr)):
        for file in files:
            path = path_of(file.path)
            if output is not None and file.size and output.exists() and output.samefile(path):
                raise UsageError(
                    f"{option} {output} is a file that the command line names: it would be emptied before the program "
                    "reads it",
                    f"name another file with {option}",
                )


def changed(files: Iterable[NamedFile]) -> list[str]:
    """Return the paths, as records have them, of those FILES that are not what they were."""
    return [file.path for file in files if not _is_same(file)]


def notes_on_changed(files: Sequence[NamedFile], changed_before: Sequence[str]) -> list[str]:
    """Return warnings on those FILES of a resumed program that somebody changed, or removed if they are its code.

    What CHANGED BEFORE its checkpoint the program may have written itself, unless that is its code.
    """
    now = set(changed(files))
    notes = [f"{path_of(file.path)} is gone; the resumed program is the old one" for file in files if _is_gone(file)]
    for file in files:
        path = path_of(file.path)
        if file.path not in now or (file.path in changed_before and not file.is_code):
            continue
        what = "the resumed program is the old one" if file.is_code else "the program may have read it before"
        notes.append(f"{path} has changed since the job started, and {what}; --fresh starts over with the new one")
    return notes


def notes_on_copies(files: Sequence[NamedFile], paths: Iterable[str]) -> list[str]:
    """Return warnings on PATHS of code of which a resumed program has copies, but those of FILES with other ones."""
    named = {*changed(files), *(file.path for file in files if _is_gone(file))}
    return [
        f"{path}, which the program runs, has changed or is gone: the resumed program runs a copy of the old one; "
        "--fresh starts over"
        for path in paths
        if path_text(Path(path)) not in named
    ]


def _described(path: Path, *, is_code: bool) -> NamedFile | None:
    try:
        found = path.stat()
        content = _hash_of(path, found)
    except OSError:
        return None
    return NamedFile(
        path=path_text(path), size=found.st_size, changed_ns=found.st_mtime_ns, xxh3_128=content, is_code=is_code
    )


def _is_regular(path: Path) -> bool:
    """Whether there is a regular file at PATH, which may be any word; to open a FIFO would wait for its writer."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _is_gone(file: NamedFile) -> bool:
    """Whether FILE is code that is not there any more."""
    with suppress(OSError):
        return file.is_code and not path_of(file.path).exists()
    return False


def _is_same(file: NamedFile) -> bool:
    """Whether FILE is what it was; one that is gone has not changed, as nobody has another program there."""
    path = path_of(file.path)
    try:
        found = path.stat()
        if found.st_size == file.size and found.st_mtime_ns == file.changed_ns:
            return True
        return found.st_size == file.size and bool(file.xxh3_128) and _hash_of(path, found) == file.xxh3_128
    except OSError:
        return True


def _hash_of(path: Path, found: os.stat_result) -> str:
    """Return the hash of the file at PATH; empty for a large one, which stat FOUND."""
    return xxhash.xxh3_128_hexdigest(path.read_bytes()) if found.st_size <= _MOST_COMPARED_BYTES else ""


def _is_script(path: Path) -> bool:
    """Whether the file at PATH is a text that an interpreter runs."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    is_text = b"\0" not in head
    return is_text and (head.startswith(b"#!") or re.fullmatch(SCRIPT, path.name) is not None)
