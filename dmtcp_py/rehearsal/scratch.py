"""A copy of the working directory, in which a program can be rehearsed without harm to the files here.

The copy lies beside the directory where that is possible: so paths that lead upwards lead to the same files, and the
disk is the one of the real run.
"""

from __future__ import annotations

import fcntl
import glob
import os
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.errors import UsageError
from dmtcp_py.system.files import free_bytes, remove_tree
from dmtcp_py.system.units import format_size

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

MOST_BYTES = 2 << 30
MOST_FILES = 100_000
_SHARE_OF_FREE = 0.5
_FICLONE = 0x40049409
"""ioctl(2) of Linux by which a copy shares its blocks with the original, where the file system can."""
_TOOLS = (".git", ".hg", ".svn", "node_modules")
_ENVIRONMENTS = ("pyvenv.cfg", "conda-meta")
_SUFFIX = "-rehearsal-"


class Survey(Struct, frozen=True):
    """What there is to copy in a directory."""

    files: int
    size: int
    linked: tuple[Path, ...]
    """What is linked, not copied: as asked, and directories of tools that no program writes to, such as ``.git``."""


def survey(folder: Path, *, links: Collection[Path], but: Path) -> Survey:
    """Return what there is to copy of FOLDER: not BUT, and not LINKS. Raises UsageError if that is too much."""
    most = min(MOST_BYTES, int(free_bytes(folder) * _SHARE_OF_FREE))
    files = size = 0
    linked: list[Path] = []
    largest: dict[Path, int] = {}
    for path, found in _walk(folder, links=links, but=but, linked=linked):
        here = found.st_size if stat.S_ISREG(found.st_mode) else 0
        files, size = files + 1, size + here
        top = folder / path.relative_to(folder).parts[0]
        largest[top] = largest.get(top, 0) + here
        if files > MOST_FILES:
            raise UsageError(f"there are more than {MOST_FILES} files in {folder} to copy", _what_to_do(folder, ""))
    if size > most:
        name = max(largest, key=lambda one: largest[one])
        raise UsageError(
            f"{folder} has {format_size(size)}, and a rehearsal copies at most {format_size(most)}",
            _what_to_do(
                folder, f"'--link {name.name}' if the program only reads that ({format_size(largest[name])}); "
            ),
        )
    return Survey(files, size, tuple(linked))


def make_copy(folder: Path, survey: Survey, *, but: Path, fallback: Path) -> Path:
    """Copy FOLDER, except for BUT, and return the copy: beside FOLDER, or in FALLBACK where that cannot be written.

    What SURVEY says is linked.
    """
    target = _place(folder, fallback)
    copied = {folder: target}
    for path in survey.linked:
        _target(path, folder, target).parent.mkdir(parents=True, exist_ok=True)
        _target(path, folder, target).symlink_to(path)
    for path, found in _walk(folder, links=survey.linked, but=but, linked=[]):
        for above in reversed(path.relative_to(folder).parents[:-1]):
            _copy_folder(folder / above, target / above, copied)
        with suppress(PermissionError, FileNotFoundError):
            _copy_entry(path, _target(path, folder, target), found)
    for source, copy in reversed(copied.items()):
        with suppress(OSError):
            shutil.copystat(source, copy)
    return target


def moved(words: Sequence[str], folder: Path, copy: Path) -> tuple[str, ...]:
    """Return WORDS of a command line with paths in FOLDER replaced by those in its COPY."""
    within = re.compile(rf"(^|=){re.escape(str(folder))}(?=/|$)")
    return tuple(within.sub(lambda found: found[1] + str(copy), word) for word in words)


def _what_to_do(folder: Path, first: str) -> str:
    return (
        f"use {first}--in-place to rehearse in {folder} itself, where what the program changes is undone as far as it "
        "could be recorded; or a directory with only what the program needs"
    )


def _walk(
    folder: Path, *, links: Collection[Path], but: Path, linked: list[Path]
) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield what is to be copied below FOLDER, empty directories too; what is to be linked is added to LINKED."""
    for root, folders, names in os.walk(folder):
        here = Path(root)
        kept = []
        for name in folders:
            path = here / name
            if path == but or (_SUFFIX in name and name.startswith(".")):
                continue
            if path in links or name in _TOOLS or any((path / sign).exists() for sign in _ENVIRONMENTS):
                linked.append(path)
            else:
                kept.append(name)
        folders[:] = [name for name in kept if not (here / name).is_symlink()]
        for name in [*names, *kept]:
            path = here / name
            if path in links:
                linked.append(path)
                continue
            with suppress(OSError):
                found = path.lstat()
                if not stat.S_ISDIR(found.st_mode) or not os.listdir(path):  # noqa: PTH208 - only whether it is empty
                    yield path, found


def _place(folder: Path, fallback: Path) -> Path:
    ours = f".{folder.name}{_SUFFIX}{os.uname().nodename}-"
    for left in folder.parent.glob(f"{glob.escape(ours)}*-*"):
        pid = left.name.removeprefix(ours).partition("-")[0]
        if not Path(f"/proc/{pid}").exists():
            # of a rehearsal that was killed
            remove_tree(left)
    prefix = f"{ours}{os.getpid()}-"
    with suppress(OSError):
        return Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    return Path(tempfile.mkdtemp(prefix=prefix, dir=fallback))


def _target(path: Path, folder: Path, target: Path) -> Path:
    return target / path.relative_to(folder)


def _copy_folder(source: Path, copy: Path, copied: dict[Path, Path]) -> None:
    if source not in copied:
        copied[source] = copy
        copy.mkdir(exist_ok=True)


def _copy_entry(path: Path, copy: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        copy.symlink_to(os.readlink(path))
    elif stat.S_ISDIR(found.st_mode):
        copy.mkdir(exist_ok=True)
        shutil.copystat(path, copy)
    elif stat.S_ISFIFO(found.st_mode):
        os.mkfifo(copy)
    elif stat.S_ISREG(found.st_mode):
        with path.open("rb") as source, copy.open("xb") as target:
            try:
                fcntl.ioctl(target, _FICLONE, source.fileno())
            except OSError:
                shutil.copyfileobj(source, target, 1 << 20)
        shutil.copystat(path, copy)
