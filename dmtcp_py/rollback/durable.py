"""Have what the program has written reach the disk before a generation is committed that relies on it.

The images know the program's files by name, size and position only: if the machine loses its power, what was still in
its memory is missing in files whose generation is on the disk.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.errors import StoreError
from dmtcp_py.rollback.journal import paths_now, read_entries
from dmtcp_py.rollback.parts import numbers_of, undone
from dmtcp_py.system.proc import files_open

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dmtcp_py.rollback.journal import Entry

_MOST_SINGLY = 200
"""Of more files, their whole file systems are written out."""
_LOOK_S = 1.0
_NOT_TO_BE_SYNCED = {errno.EINVAL, errno.ENOTSUP, errno.EROFS, errno.EBADF}


class WrittenFiles:
    """The files that process PID and those below it have written; ROOT is the journal's folder, if there is one.

    Made before a checkpoint, after which the processes may be gone. SINCE is the part of the journal that began with
    the last generation that this computation has; None if it has none yet: then all that is recorded counts, and what a
    rollback has put back before.
    """

    def __init__(self, pid: int, root: Path | None, *, streams: Iterable[Path | None], since: str | None) -> None:
        self._root, self._since = root, since
        self.open = {*map(Path, files_open(pid).for_writing), *(path for path in streams if path is not None)}
        """Those that were open."""
        self._entries: dict[int, list[Entry]] = {}

    def entries(self, number: int) -> list[Entry]:
        """Return what part NUMBER of the journal says, which ended by now; it is read once."""
        if self._root is not None and number not in self._entries:
            self._entries[number] = read_entries(self._root / f"{number:06}")
        return self._entries.get(number, [])

    def sync(self, part: str | None, *, within_s: float) -> None:
        """Write them to the disk, and PART of the journal, which has begun with the images.

        Raises StoreError if a disk does not take them, or writes none of them for WITHIN_S seconds: the thread that
        waits for it is left behind then.
        """
        _Syncing(self._files(part)).wait(within_s)

    def _files(self, part: str | None) -> Iterator[set[Path]]:
        """Yield files and folders in the order in which they have to be on the disk."""
        parts = self._parts_before(part)
        if self._root is not None and part is not None and parts:
            # before the changes: those of which the record is lost would be made once more
            yield {path for folder in parts for path in folder.iterdir() if path.is_file()}
            yield {*parts, self._root / part, self._root}
        paths = self.open | {*paths_now(entry for one in parts for entry in self.entries(int(one.name)))}
        if self._since is None and self._root is not None:
            paths |= undone(self._root)
        yield paths
        yield {path.parent for path in paths}

    def _parts_before(self, part: str | None) -> list[Path]:
        """Return the folders of the parts since the last generation that ended when PART began, or before."""
        if self._root is None or part is None:
            return []
        first = 0 if self._since is None else int(self._since)
        return [self._root / f"{number:06}" for number in numbers_of(self._root) if first <= number < int(part)]


class _Syncing:
    """Writes files to the disk in a thread, as a file system that does not answer lets nobody go."""

    def __init__(self, files: Iterable[set[Path]]) -> None:
        self._files = files
        self._done_at, self._now_at = time.monotonic(), ""
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._sync, daemon=True)

    def wait(self, within_s: float) -> None:
        """Wait until all are written. Raises StoreError."""
        self._thread.start()
        while self._thread.is_alive():
            self._thread.join(min(_LOOK_S, within_s))
            if self._thread.is_alive() and time.monotonic() - self._done_at > within_s:
                raise StoreError(
                    f"{self._now_at or 'a file of the program'} was not written to its disk within {within_s:.0f} s",
                    "look at its file system",
                )
        if isinstance(self._error, OSError):
            raise StoreError(
                f"{self._error.filename or 'a file of the program'} cannot be written to its disk: "
                f"{self._error.strerror}",
                "look at the disk and at the space that is free",
            ) from self._error
        if self._error is not None:
            raise self._error

    def _sync(self) -> None:
        try:
            for paths in self._files:
                if len(paths) > _MOST_SINGLY:
                    self._begin("the program's files")
                    _sync_file_systems({path.parent for path in paths})
                    continue
                for path in sorted(paths):
                    self._begin(str(path))
                    _sync(path)
        except BaseException as error:
            self._error = error

    def _begin(self, what: str) -> None:
        self._done_at, self._now_at = time.monotonic(), what


def _sync(path: Path) -> None:
    """Write the file or the directory PATH to the disk, if it is there and can be opened.

    A FIFO is not opened: a process that waits for its other end would go on.
    """
    try:
        if stat.S_IFMT(path.lstat().st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
            return
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _NOT_TO_BE_SYNCED:
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(fd)


def _sync_file_systems(folders: Iterable[Path]) -> None:
    syncfs, seen = ctypes.CDLL(None, use_errno=True).syncfs, set()
    for folder in folders:
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                device = os.fstat(fd).st_dev
                if device not in seen and syncfs(fd):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
                seen.add(device)
            finally:
                os.close(fd)
