"""Takes away what a generation did not have, and keeps it in a folder; `dmtcp_py.rollback.put_back` decides what."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from dmtcp_py.system.files import make_private_dir, remove_tree

if TYPE_CHECKING:
    from pathlib import Path


class SetAside:
    """Where things go that the generation did not have; those of the rollback before make room for these."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.left: list[Path] = []
        """Folders that are not empty once all is undone that was noted."""
        self.made: set[Path] = set()
        """Folders that were gone, and are there again."""
        self._ranges: dict[Path, Path] = {}
        self._unfinished = folder / ".unfinished"
        # what a rollback that was interrupted has set aside belongs to this one
        self.count = sum(1 for _ in folder.iterdir()) - 1 if self._unfinished.exists() else 0

    def place(self, path: Path) -> Path:
        """Return a free name for what was at PATH."""
        if not self._unfinished.exists():
            remove_tree(self.folder)
            make_private_dir(self.folder)
            self._unfinished.touch(mode=0o600)
        self.count += 1
        while os.path.lexists(self.folder / self._name(path)):
            self.count += 1
        return self.folder / self._name(path)

    def place_of_ranges(self, path: Path) -> Path:
        """Return where ranges of the file at PATH go: one file for all of them, with each in its place."""
        if path not in self._ranges:
            self._ranges[path] = self.place(path)
        return self._ranges[path]

    def close(self) -> None:
        """Say that the rollback came to its end."""
        self._unfinished.unlink(missing_ok=True)

    def _name(self, path: Path) -> str:
        # a name may be as long as names can be
        return f"{self.count:04}-{path.name[:40]}"


def clear(path: Path, aside: SetAside) -> None:
    """Let there be a folder for PATH, and nothing in its place."""
    if os.path.lexists(path):
        move_away(path, aside)
    make_folders(path.parent, aside)


def take_away(path: Path, aside: SetAside) -> None:
    """Move away what was not there, but no folder with what the program was not seen to put into it."""
    if stat.S_ISDIR(mode_of(path)):
        try:
            path.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            aside.left.append(path)
    else:
        move_away(path, aside)


def move_away(path: Path, aside: SetAside) -> None:
    """Move PATH to the folder, or remove it where nothing is lost by that: a folder that is empty, a second name."""
    found = path.lstat()
    mode = found.st_mode
    if stat.S_ISDIR(mode):
        with suppress(OSError):
            path.rmdir()
            return
    elif not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        path.unlink()  # a pipe or a socket holds nothing
        return
    elif found.st_nlink > 1:
        path.unlink()  # it stays at its other names; moved, it would have one more than the program knows
        return
    shutil.move(path, aside.place(path))


def make_folders(folder: Path, aside: SetAside) -> None:
    """Make FOLDER and those above it, and note which were gone."""
    for path in reversed([folder, *folder.parents]):
        if not path.is_dir():
            path.mkdir(exist_ok=True)
            aside.made.add(path)


def mode_of(path: Path) -> int:
    """Return the mode of PATH; 0 if there is nothing."""
    with suppress(OSError):
        return path.lstat().st_mode
    return 0
