"""The files of a job besides its generations: which there are, and what of them a mirror does not have yet.

Files of the journal only grow, and a file that grew is sent from where it ended. What the journal's list announces is
there before its entry, and the entry before the size of the list: they are looked at in the reverse order.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.store.mirrored import Piece, StoredFile, piece_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dmtcp_py.store.layout import JobLayout

_PIECE_BYTES = 8 << 20
_MOST_PIECES = 64
"""A file in more pieces than these is sent anew if it is small."""
_GROWING = ("list", "blocks", "history.jsonl", "segments")
_INPUT_DIGITS = 20
_LOOKED_AT_FIRST = ("now", "next", "size", "list", "segments")


class _Known(Struct, frozen=True):
    """What was sent of a file when it had this state."""

    file: StoredFile
    state: tuple[int, int, int]


class Rest:
    """What a mirror knows of the files in LAYOUT."""

    def __init__(self, layout: JobLayout) -> None:
        self._layout = layout
        self._known: dict[str, _Known] = {}

    def forget(self) -> None:
        """Send all anew: files may have been cut and have grown again."""
        self._known.clear()

    def files(self, send: Callable[[Piece, bytes], None]) -> list[StoredFile]:
        """Return all files as they are now, after SEND was called with each piece that was not sent before."""
        found: dict[str, StoredFile] = {}
        for path in _paths(self._layout):
            name = path.relative_to(self._layout.root).as_posix()
            try:
                state = path.lstat()
                if stat.S_ISLNK(state.st_mode):
                    # one that leads out of the job's directory is of this machine alone
                    if "/" not in (link := os.readlink(path)):
                        found[name] = StoredFile(name=name, link=link)
                elif stat.S_ISREG(state.st_mode):
                    found[name] = self._file(path, name, send)
            except FileNotFoundError:
                # a part of the journal that no generation needs any more
                continue
        self._known = {name: known for name, known in self._known.items() if name in found}
        return list(found.values())

    def _file(self, path: Path, name: str, send: Callable[[Piece, bytes], None]) -> StoredFile:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(fd)
            state = (found.st_ino, found.st_size, found.st_mtime_ns)
            before = self._known.get(name)
            if before is not None and before.state == state:
                return before.file
            pieces = self._continued(path.name, before, state)
            start = sum(piece.size for piece in pieces)
            while data := os.pread(fd, min(_PIECE_BYTES, found.st_size - start), start):
                piece = piece_of(data)
                send(piece, data)
                pieces.append(piece)
                start += len(data)
        finally:
            os.close(fd)
        file = StoredFile(name=name, pieces=pieces, mtime_ns=found.st_mtime_ns)
        self._known[name] = _Known(file, state)
        return file

    def _continued(self, name: str, before: _Known | None, state: tuple[int, int, int]) -> list[Piece]:
        """Return the pieces that stay as they are."""
        is_growing = name in _GROWING or (len(name) == _INPUT_DIGITS and name.isdecimal())
        if before is None or not is_growing or before.state[0] != state[0] or before.state[1] > state[1]:
            return []
        too_many = len(before.file.pieces) >= _MOST_PIECES and state[1] < _PIECE_BYTES
        return [] if too_many else list(before.file.pieces)


def _paths(layout: JobLayout) -> Iterator[Path]:
    found = [path for top in layout.others() for path in _below(top)]
    yield from sorted(found, key=lambda path: (_rank(path.name), path))


def _rank(name: str) -> int:
    return _LOOKED_AT_FIRST.index(name) if name in _LOOKED_AT_FIRST else len(_LOOKED_AT_FIRST)


def _below(top: Path) -> Iterator[Path]:
    if top.is_symlink() or top.is_file():
        yield top
        return
    for folder, folders, names in os.walk(top):
        # names with a dot are incomplete
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in [*names, *_links(folder, folders)] if not name.startswith("."))


def _links(folder: str, folders: list[str]) -> list[str]:
    return [name for name in folders if os.path.islink(os.path.join(folder, name))]  # noqa: PTH114, PTH118 - text
