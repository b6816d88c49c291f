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
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from dmtcp_py.errors import FilesChangedError
from dmtcp_py.rollback import held_files, in_memory
from dmtcp_py.rollback.inputs import Change, changes
from dmtcp_py.rollback.put_back import problems_named
from dmtcp_py.rollback.undo import ACCEPT
from dmtcp_py.system.files import PRIVATE_DIR, free_name, make_private_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from dmtcp_py.rollback.held_files import HeldFile, HeldFiles
    from dmtcp_py.rollback.inputs import InputFile

BACK = "put it back as it was (same size and content), or use --fresh"
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
    needs_same_size: bool
    """Whether the engine resumes only with inputs of the size that they had."""
    is_undone: Callable[[HeldFile | InputFile], bool] = lambda _file: False
    """Whether a file is still to be made what it was, so that it says nothing as it is now."""


def refuse(images: Path, since: Since, *, but: Collection[str] = (), accept: bool) -> None:
    """Raise FilesChangedError as `restore` would, without changing anything; see there."""
    if (images / held_files.NAME).exists():
        _judge(held_files.read(images), since, but=but, accept=accept, warn=lambda _text: None)


def restore(
    images: Path, since: Since, *, but: Collection[str] = (), accept: bool, warn: Callable[[str], None]
) -> None:
    """Make the files of the generation in folder IMAGES what they were, BUT those that it is not to be restarted with.

    SINCE says what is known of the time since then. With ACCEPT a file that others changed is resumed with, as far as
    that is possible, and WARNed of. Raises FilesChangedError with the first file that cannot be what it was; then none
    has been touched.
    """
    _remove_temporary(images.parent)
    if not (images / held_files.NAME).exists():
        return
    held = held_files.read(images)
    _judge(held, since, but=but, accept=accept, warn=warn)
    # said before: our own output may be in such a file
    _warn_of_ends(held.files, since.aside, warn)
    for folder in filter(in_memory.is_in_memory, held.folders):
        _make_folders(Path(folder, "any"), held)
    _make_fifos(held)
    for file in held.files:
        with problems_named(file.path):
            if file.copy is not None or not os.path.lexists(file.path):
                _make_folders(Path(file.path), held)
            _put_back(file, images, since.aside)
    _make_links(held)


def _remove_temporary(generations: Path) -> None:
    """Remove what restarts of any of GENERATIONS left that failed or were killed: it would be taken for the file."""
    for record in generations.glob(f"*/{held_files.NAME}"):
        # another generation than the one that is resumed may be damaged
        with suppress(OSError, ValueError, LookupError, TypeError):
            for path in map(Path, held_files.read(record.parent).temporary):
                if path.name.startswith(held_files.TEMPORARY):
                    path.unlink(missing_ok=True)


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


def look(images: Path, *, but: Collection[str] = (), needs_same_size: bool) -> list[Change]:
    """Return which files are not what they were when the images in folder IMAGES were taken; those in BUT may differ.

    NEEDS_SAME_SIZE says whether the engine resumes only with inputs of the size that they had.
    Looks at the files as they are now: before what the program did since then is undone.
    """
    if not (images / held_files.NAME).exists():
        return []
    held = held_files.read(images)
    losses = [loss.change for loss in _losses(held.files, sees_others=False)]
    inputs = [file for file in held.inputs if file.path not in but]
    return [*losses, *changes(inputs, needs_same_size=needs_same_size)]


def _judge(held: HeldFiles, since: Since, *, but: Collection[str], accept: bool, warn: Callable[[str], None]) -> None:
    is_known = since.is_recorded and not held.unwatched
    for loss in _losses([file for file in held.files if not since.is_undone(file)], sees_others=is_known):
        _accept(loss.change, accept=accept, warn=warn, then=loss.then)
    inputs = [
        file
        for file in held.inputs
        if file.path not in but and not (file.is_large and Path(file.path) in since.own) and not since.is_undone(file)
    ]
    # otherwise the program itself may have written them since
    accept = accept or (since.has_run_on and not is_known)
    # data that is mapped, or that belongs to others, may change all the time, such as caches of the system's services
    for change in changes(inputs, needs_same_size=since.needs_same_size):
        _accept(change, accept=accept or not change.matters, warn=warn, then="the program goes on with it as it is now")


def _accept(change: Change, *, accept: bool, warn: Callable[[str], None], then: str) -> None:
    """WARN of CHANGE and what happens THEN, if it can be and is to be ACCEPTed; raise FilesChangedError otherwise."""
    if not change.can_be_accepted:
        raise FilesChangedError(change.text, BACK)
    if not accept:
        raise FilesChangedError(change.text, f"{BACK}; {ACCEPT}")
    warn(f"{change.text}: {then}")


class _Loss(NamedTuple):
    """A file that cannot be what it was, and what happens THEN to it if that is accepted."""

    change: Change
    then: str


def _losses(files: Sequence[HeldFile], *, sees_others: bool) -> Iterator[_Loss]:
    """Yield what is wrong with those FILES of which there is no copy.

    SEES_OTHERS says whether the program itself is known not to have overwritten anything since.
    """
    for file in files:
        found = _problem(file, sees_others=sees_others) if file.copy is None else None
        if found is not None:
            problem, then = found
            text = f"{file.path}, which the program had open, {problem}"
            yield _Loss(Change(text, matters=True, can_be_accepted=then is not None), then or "")


def _problem(file: HeldFile, *, sees_others: bool) -> tuple[str, str | None] | None:
    """Return why FILE cannot be what it was, and what a resume makes of it; None for that if it cannot be resumed."""
    try:
        found = Path(file.path).stat()
    except OSError as error:
        then = f"made again, with zeros for its {file.size} bytes" if isinstance(error, FileNotFoundError) else None
        return f"is gone ({error.strerror})", then
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file any more", None
    if found.st_size < file.size:
        then = f"bytes {found.st_size} to {file.size} are zeros now"
        return f"had {file.size} bytes and now has {found.st_size}", then
    is_another = (found.st_dev, found.st_ino) != (file.device, file.inode)
    is_compared = file.tail and (is_another or (sees_others and not file.is_read))
    if is_compared and held_files.tail_of(file.path, file.size) != file.tail:
        then = f"left as it is up to byte {file.size}, where the program goes on"
        return "was replaced by another" if is_another else "was changed by another program", then
    return None


def _warn_of_ends(files: Sequence[HeldFile], aside: Path | None, warn: Callable[[str], None]) -> None:
    """WARN of the ends of FILES that are to be cut off and kept in folder ASIDE: others may have written there, too."""
    longer = [file.path for file in files if file.copy is None and _size_of(file) > file.size]
    if aside is not None and longer:
        what = longer[0] if len(longer) == 1 else f"{len(longer)} files"
        warn(f"cut off what was written to {what} after the checkpoint; it is in {aside}")


def _size_of(file: HeldFile) -> int:
    with suppress(FileNotFoundError):
        return Path(file.path).stat().st_size
    return 0


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
    path = Path(file.path)
    if file.copy is None and path.exists():
        # one that is as it was keeps its times, and may be read-only by now
        if path.stat().st_size != file.size:
            if aside is not None and path.stat().st_size > file.size:
                _keep_end(file, aside)
            os.truncate(path, file.size)
        return
    # in place if the file is still there: its other names, and whoever holds it open, keep it
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, file.mode)
    with os.fdopen(fd, "wb") as target:
        if file.copy is not None:
            with (images / Path(file.copy).name).open("rb") as source:
                shutil.copyfileobj(source, target, _BLOCK)
        else:
            os.fchmod(fd, file.mode)
        target.truncate(file.size)


def _keep_end(file: HeldFile, aside: Path) -> None:
    """Copy what is behind the former end of FILE to folder ASIDE, up to a bound: others may have written there, too."""
    make_private_dir(aside)
    # the program writes its own part once more, so that nothing is lost if this fails
    with suppress(OSError), Path(file.path).open("rb") as source:
        source.seek(file.size)
        # files in two folders may share a name
        free_name(aside / f"end-of-{Path(file.path).name[:200]}").write_bytes(source.read(_MOST_OF_END_BYTES))
