"""Copies of the user's own programs and libraries, of whose code an image of CRIU has none.

Somebody who builds a program again while its job waits replaces the file that the images refer to. So the first
checkpoint copies what the program runs, as far as users build such files: what lies in the folder of the program or in
its working directory, and was not installed there. A copy lies in a folder named after the file's description and the
hash of its content.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from dmtcp_py.rollback import held_files
from dmtcp_py.rollback.inputs import changes
from dmtcp_py.store.verify import hash_file
from dmtcp_py.system.files import free_bytes, fsync_path, make_private_dir, remove_tree, size_below, why_not_room

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dmtcp_py.rollback.inputs import InputFile

_MOST_BYTES = 256 << 20
"""So much is kept of one job."""
_INSTALLED = ("/usr/", "/lib", "/bin/", "/sbin/", "/opt/")
_PACKAGES = {"site-packages", "dist-packages", "node_modules"}
_ENVIRONMENTS = ("conda-meta", "pyvenv.cfg")
"""What lies in a folder into which conda, or pip, installs."""
_EXECUTABLE = 0o700
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def keep(images: Path, kept: Path, folders: Collection[Path], *, spare_bytes: int) -> None:
    """Copy to KEPT the code that the program of the images in folder IMAGES runs from below FOLDERS, each file once.

    SPARE_BYTES stay free on the disk. Without a copy the program can be resumed all the same, as long as the file
    stays: so nothing is raised where one cannot be made.
    """
    with suppress(OSError):
        files = [file for file in _code_of(images) if _is_own(file.path, (*folders, kept.resolve()))]
        needed = {copy.parent for copy in (_found(file, kept) for file in files) if copy is not None}
        for folder in needed:
            os.utime(folder)
        for file in sorted(files, key=lambda file: file.size):
            if _found(file, kept) is None and _make_room(kept, file.size, needed, spare_bytes):
                needed |= _copied(file, kept)


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
    if path.startswith(_INSTALLED) or not _PACKAGES.isdisjoint(Path(path).parts):
        return False
    is_here = any(Path(path).is_relative_to(folder) for folder in folders)
    return is_here and not any((folder / name).exists() for folder in Path(path).parents for name in _ENVIRONMENTS)


def _key(file: InputFile) -> str:
    """Return what FILE is known by, which is the same for its copy."""
    what = f"{Path(file.path).name}\0{file.size}\0{file.changed_ns}\0{file.content}"
    return xxhash.xxh3_128_hexdigest(os.fsencode(what))


def _found(file: InputFile, kept: Path) -> Path | None:
    """Return the copy of FILE in KEPT that nobody else can have put there, if there is one."""
    found = (folder / Path(file.path).name for folder in kept.glob(f"{_key(file)}-*"))
    return next((copy for copy in found if _is_mine(copy)), None)


def _is_mine(copy: Path) -> bool:
    with suppress(OSError):
        found = copy.lstat()
        return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE
    return False


def _verified(file: InputFile, kept: Path) -> Path | None:
    """Return the copy of FILE if it is what was copied and may be executed where it is."""
    copy = _found(file, kept)
    with suppress(OSError):
        if copy is not None and copy.parent.name.endswith(f"-{hash_file(copy)}"):
            # a mirror keeps no modes
            copy.chmod(_EXECUTABLE)
            return None if os.statvfs(copy).f_flag & os.ST_NOEXEC else copy
    return None


def _make_room(kept: Path, size: int, needed: Collection[Path], spare_bytes: int) -> bool:
    """Remove from KEPT what was not needed for the longest time, but none NEEDED, until SIZE fits; return if it does.

    It does not if less than SPARE_BYTES would be left on the disk.
    """
    if sum(map(size_below, needed)) + size > _MOST_BYTES:
        return False
    make_private_dir(kept)
    for folder in sorted(kept.iterdir(), key=lambda folder: folder.lstat().st_mtime):
        if size_below(kept) + size > _MOST_BYTES and folder not in needed:
            remove_tree(folder)
    return free_bytes(kept) >= size + spare_bytes and why_not_room(kept, size + spare_bytes) is None


def _copied(file: InputFile, kept: Path) -> set[Path]:
    """Copy FILE to a folder in KEPT, and return that; none if FILE has changed since the images were taken."""
    # a mirror leaves out what has a dot
    new = kept / ".new"
    remove_tree(new)
    try:
        make_private_dir(new)
        copy = new / Path(file.path).name
        shutil.copyfile(file.path, copy)
        os.utime(copy, ns=(file.changed_ns, file.changed_ns))
        copy.chmod(_EXECUTABLE)
        fsync_path(copy)
        if any(changes([file])) or copy.stat().st_size != file.size:
            return set()
        folder = kept / f"{_key(file)}-{hash_file(copy)}"
        new.rename(folder)
        return {folder}
    finally:
        remove_tree(new)
