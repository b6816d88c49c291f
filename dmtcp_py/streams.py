"""What is to be said of the program's files before it runs: what a resume cannot make exact."""

from __future__ import annotations

import fcntl
import os
import stat
from typing import TYPE_CHECKING

from dmtcp_py.engine import undo
from dmtcp_py.errors import RestartFailedError
from dmtcp_py.store.records import path_of

if TYPE_CHECKING:
    from pathlib import Path

    from dmtcp_py.engine import Stdio
    from dmtcp_py.outcome import RunOptions
    from dmtcp_py.store.records import Manifest

_NAMES = ((1, "stdout"), (2, "stderr"))


def notes_on_start(stdio: Stdio) -> list[str]:
    """Return what a later resume will not be able to make good."""
    notes = []
    if stdio.stdin is None and _is_pipe(0):
        notes.append(
            "standard input is a pipe: what the program has read from it cannot be given to it again after a resume; "
            "use '< FILE' or --stdin FILE"
        )
    for fd, name in _NAMES:
        if stdio.paths[fd] is None and _is_emptied(fd):
            file = os.readlink(f"/proc/self/fd/{fd}")
            notes.append(
                f"{name} is {file}, which '>' empties when this line resumes; use --{name} FILE (exact) or '>>'"
            )
    return notes


def notes_on_resume(manifest: Manifest, options: RunOptions) -> list[str]:
    """Return what is not as it was when the generation in MANIFEST was taken; call it before the program runs on."""
    notes = []
    if options.stdin is None and _is_pipe(0):
        notes.append("standard input is a pipe: the program goes on reading where this one begins")
    inherited = {1: options.stdout is None, 2: options.stderr is None}
    for (fd, name), size in zip(_NAMES, (manifest.stdout_size, manifest.stderr_size), strict=True):
        now = _size(fd)
        if inherited[fd] and size is not None and now is not None and now < size:
            notes.append(
                f"{name} has {now} bytes and had {size} when generation {manifest.generation} was taken: what the "
                f"program wrote before is not in it ('>' empties a file); use '>>', or --{name} FILE"
            )
    if manifest.program_stopped:
        return notes
    repeats = [name for fd, name in _NAMES if inherited[fd] and not os.isatty(fd)]
    if repeats:
        notes.append(
            f"what the program wrote to {' and '.join(repeats)} since then comes once more; --stdout FILE and "
            "--stderr FILE keep it exact"
        )
    if undo.KEY not in manifest.engine_data:
        notes.append(
            "what the program did to files by their names since then is done once more: nobody noted it, as it ran "
            "on several nodes or a plugin's engine, or no C compiler was there when dmtcp-run was installed"
        )
    changed = [str(path) for path in map(path_of, manifest.updated_files) if _is_newer(path, manifest)]
    if changed:
        notes.append(
            f"changed since generation {manifest.generation} was taken, and not brought back: {', '.join(changed)}; "
            "if the program reads there what it wrote, its result may differ"
        )
    return notes


def refuse_changed(manifest: Manifest) -> None:
    """Raise RestartFailedError where a file changed that the program may read back, and of which there is no copy."""
    for path in map(path_of, manifest.updated_files):
        if _is_newer(path, manifest):
            raise RestartFailedError(
                f"{path}, which the program had open for reading and writing, changed since then, and was too large "
                f"to copy; {undo.ACCEPT}"
            )
    for path in map(path_of, manifest.mapped_files):
        if manifest.program_stopped and not _is_newer(path, manifest):
            continue
        raise RestartFailedError(
            f"{path}, which the program writes as memory, may have changed since then, and was too large to copy; "
            f"{undo.ACCEPT}"
        )


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


def _is_newer(path: Path, manifest: Manifest) -> bool:
    """Whether the file changed after the image: by a program that went on, or a later life of one that was stopped."""
    since = manifest.created.timestamp()
    if not manifest.program_stopped:
        since -= manifest.cost.checkpoint_s + manifest.cost.commit_s
    try:
        return path.stat().st_mtime > since
    except OSError:
        return True
