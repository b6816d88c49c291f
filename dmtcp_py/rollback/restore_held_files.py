"""Make the files that a program held open what they were when its image was taken.

An image knows of a file that it was open, and where; what was written into it since is still there. Before a restart
files are cut to the size that they had, and those that the program may read back get their old content. Nothing is
changed unless everything can be, and the files that the program only reads are what they were.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.errors import FilesChangedError
from dmtcp_py.rollback import held_files, in_memory
from dmtcp_py.rollback.inputs import changes
from dmtcp_py.rollback.put_back import problems_named
from dmtcp_py.rollback.undo import ACCEPT
from dmtcp_py.system.files import PRIVATE_DIR, make_private_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from dmtcp_py.rollback.held_files import HeldFile, HeldFiles
    from dmtcp_py.rollback.inputs import Change, InputFile

_BACK = "put it back as it was, or use --fresh"
_BLOCK = 1 << 20
_MOST_OF_END_BYTES = 16 << 20


class Since(Struct, frozen=True, kw_only=True):
    """What is known of the time since the images were taken."""

    is_recorded: bool
    """Whether what the program did to files was recorded, and is undone by now: other changes are somebody else's."""
    has_run_on: bool
    """Whether the program went on after the images were taken."""
    aside: Path | None
    """Where the ends of files go that are cut; None where nothing is kept of them."""
    own: frozenset[Path]
    """The files that the program changed by name, as far as that was recorded."""


def restore(
    images: Path, since: Since, *, but: Collection[str] = (), accept: bool, warn: Callable[[str], None]
) -> None:
    """Make the files of the generation in folder IMAGES what they were, BUT those that it is not to be restarted with.

    SINCE says what is known of the time since then. With ACCEPT what others changed in files that the program only
    writes to, or only reads, is WARNed of. Raises FilesChangedError with the first file that cannot be what it was;
    then none has been touched.
    """
    if not (images / held_files.NAME).exists():
        return
    held = held_files.read(images)
    _refuse_lost(held.files)
    is_known = since.is_recorded and not held.unwatched
    if is_known:
        _look_for_others(held.files, accept=accept, warn=warn)
    # otherwise the program itself may have written them since
    inputs = [
        file for file in held.inputs if file.path not in but and not (file.is_large and Path(file.path) in since.own)
    ]
    _look_at_inputs(inputs, accept=accept or (since.has_run_on and not is_known), warn=warn)
    for folder in filter(in_memory.is_in_memory, held.folders):
        _make_folders(Path(folder, "any"), held)
    _make_fifos(held)
    for file in held.files:
        with problems_named(file.path):
            if file.copy is not None:
                _make_folders(Path(file.path), held)
            _put_back(file, images, since.aside)
    _make_links(held)


def held_open(images: Path) -> frozenset[Path]:
    """Return the files that the program could write when the images in folder IMAGES were taken."""
    if not (images / held_files.NAME).exists():
        return frozenset()
    return frozenset(Path(file.path) for file in held_files.read(images).files)


def kept_in_memory(images: Path) -> frozenset[Path]:
    """Return the files in memory of which folder IMAGES has copies, which `restore` restores."""
    if not (images / held_files.NAME).exists():
        return frozenset()
    files = held_files.read(images).files
    return frozenset(Path(file.path) for file in files if file.copy is not None and in_memory.is_in_memory(file.path))


def look(images: Path, *, but: Collection[str] = ()) -> tuple[list[str], list[Change]]:
    """Return what about files stops a resume from the images in folder IMAGES, and which files changed that it reads.

    Files in BUT are not needed.
    Looks at the files as they are now: before what the program did since then is undone.
    """
    if not (images / held_files.NAME).exists():
        return [], []
    held = held_files.read(images)
    return list(_lost(held.files)), list(changes(file for file in held.inputs if file.path not in but))


def _refuse_lost(files: Sequence[HeldFile]) -> None:
    for problem in _lost(files):
        raise FilesChangedError(problem, _BACK)


def _lost(files: Sequence[HeldFile]) -> Iterator[str]:
    for file in files:
        problem = _problem(file) if file.copy is None else None
        if problem:
            yield f"{file.path}, which the program had open, {problem}"


def _look_for_others(files: Sequence[HeldFile], *, accept: bool, warn: Callable[[str], None]) -> None:
    """Compare the ends of the files that the program only writes to with what they were."""
    for file in files:
        if file.copy or file.is_read or not file.tail or held_files.tail_of(file.path, file.size) == file.tail:
            continue
        problem = f"{file.path}, which the program had open, was changed by another program"
        if not accept:
            raise FilesChangedError(problem, f"{_BACK}; {ACCEPT}")
        warn(f"{problem}: left as it is")


def _look_at_inputs(inputs: Sequence[InputFile], *, accept: bool, warn: Callable[[str], None]) -> None:
    """Compare the files that the program only reads with what they were.

    Data that is mapped, or that belongs to others, may change all the time, such as caches of the system's services:
    of such files it only warns.
    """
    for change in changes(inputs):
        if change.can_be_accepted and (accept or not change.matters):
            warn(f"{change.text}: the program goes on with it as it is now")
            continue
        raise FilesChangedError(change.text, f"{_BACK}; {ACCEPT}" if change.can_be_accepted else _BACK)


def _problem(file: HeldFile) -> str | None:
    """Return why FILE, of which there is no copy, cannot be what it was."""
    try:
        found = Path(file.path).stat()
    except OSError as error:
        return f"is gone ({error.strerror})"
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file any more"
    if found.st_size < file.size:
        return f"had {file.size} bytes and now has {found.st_size}"
    is_another = (found.st_dev, found.st_ino) != (file.device, file.inode)
    if is_another and file.tail and held_files.tail_of(file.path, file.size) != file.tail:
        return "was replaced by another"
    return None


def _make_fifos(held: HeldFiles) -> None:
    """Make the FIFOs that are gone, as temporary files are on another machine or after a reboot."""
    for name, mode in held.fifos.items():
        with problems_named(name):
            if not os.path.lexists(name):
                _make_folders(Path(name), held)
                os.mkfifo(name, mode)


def _make_links(held: HeldFiles) -> None:
    for link, name in held.links.items():
        with problems_named(link), suppress(FileExistsError):
            Path(link).hardlink_to(name)


def _make_folders(path: Path, held: HeldFiles) -> None:
    """Make those folders above PATH that are gone, with the modes that they had."""
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir(held.folders.get(str(folder), PRIVATE_DIR))


def _put_back(file: HeldFile, images: Path, aside: Path | None) -> None:
    if file.copy is None:
        if Path(file.path).stat().st_size != file.size:
            if aside is not None:
                _keep_end(file, aside)
            os.truncate(file.path, file.size)
        return
    # in place if the file is still there: its other names, and whoever holds it open, keep it
    fd = os.open(file.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, file.mode)
    with os.fdopen(fd, "wb") as target, (images / Path(file.copy).name).open("rb") as source:
        shutil.copyfileobj(source, target, _BLOCK)
        target.truncate(file.size)


def _keep_end(file: HeldFile, aside: Path) -> None:
    """Copy what is behind the former end of FILE to folder ASIDE, up to a bound: others may have written there, too."""
    make_private_dir(aside)
    # the program writes its own part once more, so that nothing is lost if this fails
    with suppress(OSError), Path(file.path).open("rb") as source:
        source.seek(file.size)
        (aside / f"end-of-{Path(file.path).name[:200]}").write_bytes(source.read(_MOST_OF_END_BYTES))
