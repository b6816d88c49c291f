"""The files of a program as they were when its image was taken.

An image knows of a file that it was open, and where; what was written into it since is still there. Before a restore
it is taken away again: files are cut to the size that they had, and those that the program may read back get their
old content. Nothing is changed unless everything can be.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmtcp_py.engine.criu.frozen import FILES
from dmtcp_py.errors import RestartFailedError
from dmtcp_py.files import PRIVATE_DIR

if TYPE_CHECKING:
    from collections.abc import Sequence

_TAIL_BYTES = 1 << 16
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Recorded:
    """A file that was open for writing when the image was taken."""

    path: Path
    size: int
    inode: tuple[int, int]
    mode: int
    tail: str
    copy: Path | None


def roll_back(images: Path) -> None:
    """Make the files of the generation in folder IMAGES what they were.

    Raises RestartFailedError with the first file that cannot be; then none has been touched.
    """
    look: dict[str, Any] = json.loads((images / FILES).read_text(encoding="utf-8"))
    files = [_recorded(images, values) for values in look["files"]]
    _refuse_lost(files)
    _make_fifos(look)
    for file in files:
        try:
            if file.copy is not None:
                _make_folders(file.path, look)
            _put_back(file)
        except OSError as error:
            raise RestartFailedError(
                f"{file.path} cannot be made what it was: {error.strerror}", "look at its permissions"
            ) from error


def _recorded(images: Path, values: dict[str, Any]) -> Recorded:
    copy = values["copy"]
    return Recorded(
        path=Path(values["path"]),
        size=values["size"],
        inode=(values["device"], values["inode"]),
        mode=values["mode"],
        tail=values["tail"],
        copy=images / Path(copy).name if copy else None,
    )


def _refuse_lost(files: Sequence[Recorded]) -> None:
    for file in files:
        problem = _problem(file) if file.copy is None else None
        if problem:
            raise RestartFailedError(
                f"{file.path}, which the program had open, {problem}", "put it back as it was, or use --fresh"
            )


def _problem(file: Recorded) -> str | None:
    """Return why FILE, of which there is no copy, cannot be what it was."""
    try:
        found = file.path.stat()
    except OSError as error:
        return f"is gone ({error.strerror})"
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file any more"
    if found.st_size < file.size:
        return f"had {file.size} bytes and now has {found.st_size}"
    if (found.st_dev, found.st_ino) != file.inode and file.tail and _tail(file) != file.tail:
        return "was replaced by another"
    return None


def _tail(file: Recorded) -> str:
    start = max(file.size - _TAIL_BYTES, 0)
    with file.path.open("rb") as content:
        return hashlib.sha256(os.pread(content.fileno(), file.size - start, start)).hexdigest()


def _make_fifos(look: dict[str, Any]) -> None:
    """Make the pipes with a name that are gone, as temporary files are on another machine or after a reboot."""
    for name, mode in look.get("fifos", {}).items():
        try:
            if not os.path.lexists(name):
                _make_folders(Path(name), look)
                os.mkfifo(name, mode)
        except OSError as error:
            raise RestartFailedError(
                f"the pipe {name} cannot be made again: {error.strerror}", "look at the permissions"
            ) from error


def _make_folders(path: Path, look: dict[str, Any]) -> None:
    """Make those folders above PATH that are gone, with the modes that they had."""
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir(look.get("folders", {}).get(str(folder), PRIVATE_DIR))


def _put_back(file: Recorded) -> None:
    if file.copy is None:
        if file.path.stat().st_size != file.size:
            os.truncate(file.path, file.size)
        return
    # in place where the file is: other names for it, and who holds it open, stay with it
    fd = os.open(file.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, file.mode)
    with os.fdopen(fd, "wb") as target, file.copy.open("rb") as source:
        shutil.copyfileobj(source, target, _BLOCK)
        target.truncate(file.size)
