"""Copies of the user's own programs and libraries, of whose code an image of CRIU has none.

Somebody who builds a program again while its job waits replaces the file that the images refer to. So the first
checkpoint copies what the program runs, as far as users build such files: what lies in the folder of the program or in
its working directory, and was not installed there. A copy lies in a folder named after the file's description and the
hash of its content.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from dmtcp_py.rollback import held_files
from dmtcp_py.rollback.inputs import changes
from dmtcp_py.system.files import make_private_dir, remove_tree, size_below

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dmtcp_py.rollback.inputs import InputFile

_MOST_BYTES = 256 << 20
"""So much is kept of one job."""
_INSTALLED = ("/usr/", "/lib", "/bin/", "/sbin/", "/opt/")
_PACKAGES = {"site-packages", "dist-packages"}
_BLOCK = 1 << 20
_EXECUTABLE = 0o700


def keep(images: Path, kept: Path, folders: Collection[Path]) -> None:
    """Copy to KEPT the code that the program of the images in folder IMAGES runs from below FOLDERS, each file once."""
    files = [file for file in _code_of(images) if _is_own(file.path, folders)]
    # without a copy the program can be resumed all the same, as long as the file stays
    with suppress(OSError):
        found = [_found(file, kept) for file in files]
        for copy in filter(None, found):
            os.utime(copy.parent)
        new = [file for file, copy in zip(files, found, strict=True) if copy is None]
        if new:
            make_private_dir(kept)
            _make_room(kept, sum(file.size for file in new), {copy.parent for copy in found if copy is not None})
        for file in new:
            _copy(file, kept)


def copies(images: Path, kept: Path) -> dict[str, Path]:
    """Return, by path, the copy in KEPT of each file of code that is not what the images in folder IMAGES need.

    Each copy is what was copied, and can be executed where it is.
    """
    found = {file.path: _verified(file, kept) for file in _code_of(images) if any(changes([file]))}
    return {path: copy for path, copy in found.items() if copy is not None}


def _code_of(images: Path) -> Iterator[InputFile]:
    """Yield the files of code that the images need; what the program has open besides has a position, too."""
    if (images / held_files.NAME).exists():
        yield from (file for file in held_files.read(images).inputs if file.is_executed and not file.is_open)


def _is_own(path: str, folders: Collection[Path]) -> bool:
    """Whether users build such a file as PATH is themselves, in one of FOLDERS."""
    is_installed = path.startswith(_INSTALLED) or not _PACKAGES.isdisjoint(Path(path).parts)
    return not is_installed and any(Path(path).is_relative_to(folder) for folder in folders)


def _key(file: InputFile) -> str:
    """Return what FILE is known by, which is the same for its copy."""
    what = f"{Path(file.path).name}\0{file.size}\0{file.changed_ns}\0{file.content}"
    return xxhash.xxh3_128_hexdigest(os.fsencode(what))


def _found(file: InputFile, kept: Path) -> Path | None:
    return next((folder / Path(file.path).name for folder in kept.glob(f"{_key(file)}-*")), None)


def _verified(file: InputFile, kept: Path) -> Path | None:
    """Return the copy of FILE if it is what was copied and may be executed where it is."""
    copy = _found(file, kept)
    with suppress(OSError):
        if copy is not None and copy.parent.name.endswith(f"-{_hash_of(copy)}"):
            # a mirror keeps no modes
            copy.chmod(_EXECUTABLE)
            return None if os.statvfs(copy).f_flag & os.ST_NOEXEC else copy
    return None


def _make_room(kept: Path, size: int, needed: Collection[Path]) -> None:
    """Remove from KEPT the copies that were not needed for the longest time, but none NEEDED, until SIZE fits."""
    for folder in sorted(kept.iterdir(), key=lambda folder: folder.stat().st_mtime):
        if size_below(kept) + size > _MOST_BYTES and folder not in needed:
            remove_tree(folder)


def _copy(file: InputFile, kept: Path) -> None:
    """Copy FILE to KEPT, unless that is full or FILE has changed since the images were taken."""
    if size_below(kept) + file.size > _MOST_BYTES or any(changes([file])):
        return
    new = kept / "new"
    remove_tree(new)
    make_private_dir(new)
    copy = new / Path(file.path).name
    shutil.copy2(file.path, copy)
    if any(changes([file])) or copy.stat().st_size != file.size:
        remove_tree(new)
    else:
        new.rename(kept / f"{_key(file)}-{_hash_of(copy)}")


def _hash_of(path: Path) -> str:
    hashed = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            hashed.update(block)
    return hashed.hexdigest()
