"""Which job a command line means. Looks at paths; starts and changes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from dmtcp_py.engine.protocol import Stdio
from dmtcp_py.errors import UsageError
from dmtcp_py.system.files import write_atomic

if TYPE_CHECKING:
    from dmtcp_py.options import RunOptions
    from dmtcp_py.store.layout import JobLayout

_UNSAFE = r"[^A-Za-z0-9_.+-]+"
SCRIPT = r".+\.(py|pyw|R|r|m|jl|pl|rb|lua|tcl|js|mjs|ts|php|sh|bash|zsh|ksh|csh|awk|sed|gp|do|sas|nf|smk|ipynb)"
"""The names of scripts, by their endings."""
STREAM_FIELDS = ("stdin", "stdin_offset", "stdin_unnamed", "stdout", "stderr")
"""The fields of a job's record that a new lineage may change."""
_MOST_STDIN_BYTES = 1 << 30


class Identity(Struct, frozen=True):
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
        """A readable name for the job that differs for each command, directory, array task and input."""
        command = [_same_in_all_locales(word) for word in self.command]
        stdin = None if self.stdin is None else _same_in_all_locales(self.stdin)
        parts = [command, _same_in_all_locales(self.cwd), self.array_task, stdin, self.stdin_offset]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]
        stem = re.sub(_UNSAFE, "-", Path(named_in(self.command)).name).strip("-.")[:40] or "job"
        task = f"-{re.sub(_UNSAFE, '-', self.array_task)}" if self.array_task else ""
        return f"{stem}{task}-{digest}"


def named_in(command: tuple[str, ...]) -> str:
    """Return the word of COMMAND that tells it from others of the same interpreter: its script, or else its program.

    Only by the words, as the name of a job must stay what it is when a file is gone.
    """
    scripts = (word for word in command[1:] if not word.startswith("-") and re.fullmatch(SCRIPT, word))
    return next(scripts, command[0])


def identify(options: RunOptions, cwd: Path, array_task: str | None) -> Identity:
    """Return which job OPTIONS mean in directory CWD; standard input counts if it is a regular file."""
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
    """Copy a standard input that has no name (a here-document, a deleted file) to the job's folder."""
    if not identity.stdin_unnamed:
        return
    size = os.fstat(0).st_size
    if size > _MOST_STDIN_BYTES:
        raise UsageError(f"standard input is a deleted file of {size} bytes", "give it a name and use --stdin FILE")
    write_atomic(layout.stdin_copy, os.pread(0, size, 0))


def _stdin_file(asked: Path | None, cwd: Path) -> tuple[str | None, int, bool]:
    """Return the file behind standard input, the position in it, and whether the file has no name."""
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
    # another user may have opened it for us
    if os.access(path, os.R_OK) and os.path.samestat(path.stat(), found):
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


def as_recorded(identity: Identity) -> dict[str, Any]:
    """Return the fields of IDENTITY as records have them, with bytes that are not UTF-8 as escapes."""
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


def _same_in_all_locales(text: str) -> str:
    return os.fsencode(text).decode("utf-8", "surrogateescape")


def _readable(text: str) -> str:
    return os.fsencode(text).decode("utf-8", "backslashreplace")
