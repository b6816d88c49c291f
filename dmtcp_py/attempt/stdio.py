"""Standard streams that the program inherits: what a resume cannot make exact, said before the program runs."""

from __future__ import annotations

import fcntl
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dmtcp_py.engine.protocol import Stdio
    from dmtcp_py.store.records import Manifest

_NAMES = ((1, "stdout"), (2, "stderr"))


def is_read_once(stdio: Stdio) -> bool:
    """Whether the program cannot be given again what it has read from its standard input."""
    return stdio.stdin is None and _is_pipe(0)


def notes_on_start(stdio: Stdio) -> list[str]:
    """Return what a later resume will not be able to restore."""
    notes = []
    if is_read_once(stdio):
        notes.append(
            "standard input is a pipe: a resume cannot read again what the program has read from it; "
            "use '< FILE' or --stdin FILE"
        )
    for fd, name in _NAMES:
        if stdio.paths[fd] is None and _is_emptied(fd):
            file = os.readlink(f"/proc/self/fd/{fd}")
            notes.append(
                f"{name} is {file}, which '>' empties when this line resumes; use --{name} FILE (exact) or '>>'"
            )
    return notes


def notes_on_resume(manifest: Manifest, stdio: Stdio) -> list[str]:
    """Return what has changed since the generation of MANIFEST was taken; call it before the program runs on."""
    notes = []
    if is_read_once(stdio):
        notes.append("standard input is a pipe: the program continues to read at the beginning of this one")
    inherited = {fd: stdio.paths[fd] is None for fd, _ in _NAMES}
    for (fd, name), size in zip(_NAMES, (manifest.stdout_size, manifest.stderr_size), strict=True):
        now = _size(fd)
        if inherited[fd] and size is not None and now is not None and now < size:
            notes.append(
                f"{name} has {now} bytes and had {size} when generation {manifest.generation} was taken: it lacks what "
                f"the program wrote before ('>' empties a file); use '>>', or --{name} FILE"
            )
    if manifest.program_stopped:
        return notes
    repeats = [name for fd, name in _NAMES if inherited[fd] and not os.isatty(fd)]
    if repeats:
        notes.append(
            f"what the program wrote to {' and '.join(repeats)} since then will be repeated; --stdout FILE and "
            "--stderr FILE keep it exact"
        )
    return notes


def _is_pipe(fd: int) -> bool:
    mode = _mode(fd)
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _is_emptied(fd: int) -> bool:
    """Whether the descriptor was opened as by a shell's ``>``."""
    return stat.S_ISREG(_mode(fd)) and not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND


def _size(fd: int) -> int | None:
    return os.fstat(fd).st_size if stat.S_ISREG(_mode(fd)) else None


def _mode(fd: int) -> int:
    try:
        return os.fstat(fd).st_mode
    except OSError:
        return 0
