"""Removing the directories of generations and jobs that nobody reads any more, in a process that outlives the command.

A file system may take seconds for thousands of files, or for large ones, and nobody needs to wait for that.
"""

from __future__ import annotations

import os
import select
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from dmtcp_py.system.files import fsync_path, remove_tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dmtcp_py.store.layout import JobLayout

_FSYNCS_AT_ONCE = 8
_FAILED = 1


def fsync_all(paths: Sequence[Path]) -> None:
    """Flush the content of files to disk, several at a time, because file servers take a while for each.

    What cannot be flushed is left out.
    """

    def fsync(path: Path) -> None:
        with suppress(OSError):
            fsync_path(path)

    with ThreadPoolExecutor(_FSYNCS_AT_ONCE) as pool:
        list(pool.map(fsync, paths))


def take_out_job(layout: JobLayout) -> Path:
    """Rename the directory of a job that is held, so that it is no job any more; return what is left to remove."""
    doomed = layout.root.with_name(f".removed-{layout.name}-{os.getpid()}")
    layout.root.rename(doomed)
    fsync_path(layout.root.parent)
    return doomed


def remove_all(folders: Sequence[Path], *, patience_s: float) -> str | None:
    """Remove FOLDERS; return what there is to say about it, if anything: it goes on after PATIENCE_S, or failed."""
    if not folders:
        return None
    # nothing comes from the pipe: it ends with the process
    end, held = os.pipe()
    pid = os.fork()
    if pid == 0:
        _remove_and_exit(folders)
    os.close(held)
    try:
        has_ended = bool(select.select([end], [], [], patience_s)[0])
    finally:
        os.close(end)
    if not has_ended:
        return f"process {pid} goes on removing files in the background"
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        return "some files could not be removed; the next 'dmtcp-ctl prune' tries again"
    return None


def _remove_and_exit(folders: Sequence[Path]) -> None:
    """Be the process that removes FOLDERS: it belongs to no terminal, and holds no file that others wait for."""
    status = _FAILED
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(nothing, fd)
        status = _FAILED if [folder for folder in folders if not _is_removed(folder)] else 0
    finally:
        os._exit(status)


def _is_removed(folder: Path) -> bool:
    with suppress(OSError):
        remove_tree(folder)
    return not folder.exists()
