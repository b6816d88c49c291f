"""Refuses the directories of jobs that another user could write to: restoring an image runs the code in it."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.errors import StoreError
from dmtcp_py.system.ownership import write_problem

if TYPE_CHECKING:
    from dmtcp_py.store.layout import JobLayout

_ROOT = 0
_NOBODY = Path("/proc/sys/kernel/overflowuid")
_OWN_DIRECTORY = "choose a directory of your own with --dir or DMTCP_RUN_DIR"
_SQUASHED = f"on NFS with root_squash, root's files become nobody's: run as the job's user, or {_OWN_DIRECTORY}"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def refuse_directory(directory: Path) -> None:
    """Raise StoreError if another user could change what is in DIRECTORY, which holds the jobs and need not exist."""
    with suppress(FileNotFoundError, NotADirectoryError):
        found = directory.stat()
        # an administrator may have made it for everybody
        if found.st_uid != _ROOT:
            _refuse_owner(directory, found)
        _refuse_mode(directory, found)


def refuse_job(layout: JobLayout) -> None:
    """Raise StoreError if another user could change what is in the directory of a job, or in those in it."""
    refuse_directory(layout.root.parent)
    inner = (layout.generations, layout.requests, layout.undo, layout.inputs, layout.staging, layout.programs)
    for path in (layout.root, *inner):
        with suppress(FileNotFoundError, NotADirectoryError):
            found = path.stat()
            _refuse_owner(path, found)
            _refuse_mode(path, found)


def access_problem(found: os.stat_result) -> str | None:
    """Return how another user could have changed the file, whose code a restore would run; None if they could not."""
    if found.st_uid != os.geteuid():
        return f"belongs to user {found.st_uid}, and restoring would run it as user {os.geteuid()}"
    if found.st_mode & _OTHERS_WRITE:
        return f"can be written by others (mode {stat.S_IMODE(found.st_mode):o})"
    return None


def _refuse_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise StoreError(
            f"{path} belongs to user {found.st_uid}, who could have dmtcp-run run anything as user {os.geteuid()}",
            _SQUASHED if _is_squashed(found) else f"{_OWN_DIRECTORY}, or run as that user",
        )


def _is_squashed(found: os.stat_result) -> bool:
    return os.geteuid() == _ROOT and found.st_uid == int(_NOBODY.read_text(encoding="ascii"))


def _refuse_mode(path: Path, found: os.stat_result) -> None:
    if problem := write_problem(found, path):
        raise StoreError(
            f"{path} {problem}, who could have dmtcp-run run anything as user {os.geteuid()}",
            f"if you trust what is in it, 'chmod -R go-w {path}'; otherwise choose another directory with --dir",
        )
