"""The files that a job has written, whenever that was, as its newest generation left them: ``written.json``.

A resume undoes what the program did since the generation, and restores what it held open then. What it wrote and closed
before is in no record of the generation, but the program may read it, and its user wants it: other jobs are not to
empty it, and a resume says once what somebody else changed or deleted.

Of each file there is its size and the time of its last change, as of the generation that began ``part`` of the journal;
or neither, where they are not known or say nothing: the program had it open, changed it again meanwhile, or it has
several names. It is looked at again at the next checkpoint or resume. Nothing is compared with another generation's
record, nor where changes of the program itself may not be recorded. Only the newest files are kept, up to a bound.
"""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dmtcp_py.rollback import held_files
from dmtcp_py.rollback.copies import inherited_streams
from dmtcp_py.rollback.inputs import NOT_ON_DISK
from dmtcp_py.rollback.journal import files_of, paths_now, read_entries
from dmtcp_py.rollback.parts import SEEN, numbers_of, started_with
from dmtcp_py.store.records import path_of, path_text
from dmtcp_py.system.files import temporary_prefix, write_atomic

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterator, Mapping

    from dmtcp_py.rollback.durable import WrittenFiles
    from dmtcp_py.rollback.held_files import HeldFiles
    from dmtcp_py.rollback.journal import FileKey
    from dmtcp_py.store.records import Manifest

NAME = "written.json"
MOST = 10_000
_MOST_LOOKED_AT = 20_000
"""Of files that the program made and removed again, not all are looked for."""
_MOST_NAMED = 3
_SECOND_NS = 1_000_000_000

Known = dict[Path, "tuple[int, int] | None"]
"""The size and the time of the last change of each file, those written last at the end."""


class _File(msgspec.Struct, frozen=True, array_like=True):
    path: str
    size: int = 0
    mtime_ns: int | None = None
    """None if it is not known what the file was."""


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    lineage: int
    part: str | None = None
    """The part of the journal that began with the generation as of which this is."""
    folder: int = 0
    """The inode of the job's directory: where it is a copy, its files may have times of their own."""
    files: list[_File] = []

    @property
    def known(self) -> Known:
        """The files."""
        return {
            path_of(file.path): None if file.mtime_ns is None else (file.size, file.mtime_ns) for file in self.files
        }


def names(root: Path, lineage: int) -> Iterator[Path]:
    """Yield the files that the record in ROOT, the folder of the journal, has of LINEAGE."""
    yield from _read(root, lineage).known


def remember(root: Path, manifest: Manifest, images: Path, written: WrittenFiles) -> None:
    """Record what was WRITTEN before the generation of MANIFEST in folder IMAGES, whose program may run on.

    Raises OSError; then the record is that of an earlier generation.
    """
    if manifest.undo_part is None:
        return
    record = _read(root, manifest.lineage)
    first = started_with(root) if record.part is None else int(record.part)
    numbers = [number for number in numbers_of(root) if first <= number < int(manifest.undo_part)]
    known = paths_now((entry for number in numbers for entry in written.entries(number)), record.known)
    held = _held(images)
    open_now = {*written.open, *(Path(file.path) for file in held.files)} if held else {*written.open}
    streams = inherited_streams()
    for path in open_now:
        known.pop(path, None)
        if (found := _found(path)) is None or (found.st_dev, found.st_ino) not in streams:
            known[path] = None

    def changes_again() -> set[FileKey]:
        later = (number for number in numbers_of(root) if number >= int(manifest.undo_part or 0))
        return {*files_of(entry for number in later for entry in read_entries(root / f"{number:06}")), *open_now}

    _write(root, manifest, _looked_at(known, root, changes_again))


def set_back(root: Path, manifest: Manifest, images: Path, undone: Collection[FileKey], *, is_recorded: bool) -> None:
    """Note which files are not to be compared after the rollback to the generation of MANIFEST in folder IMAGES.

    Those are what is UNDONE, and what it has to say itself. Nothing is compared unless all that the program did since
    IS_RECORDED. Raises OSError.
    """
    record, held = _read(root, manifest.lineage), _held(images)
    is_compared = is_recorded and not (held and held.unwatched) and not (root / SEEN).exists()
    is_compared = is_compared and manifest.undo_part is not None and record.part == manifest.undo_part
    restored = {*undone, *_open_then(manifest, held)}
    known: Known = {
        path: stamp if is_compared and restored.isdisjoint((path, *path.parents)) else None
        for path, stamp in record.known.items()
    }
    is_not_written = _what_is_not_written(root)
    for path in restored:
        if isinstance(path, Path) and not is_not_written(path):
            known.setdefault(path, None)
    _write(root, manifest, known, folder=record.folder)


def compare(root: Path, manifest: Manifest, images: Path, warn: Callable[[str], None]) -> None:
    """WARN once of the files that are not as the program left them, after a rollback before which there was `set_back`.

    Raises OSError.
    """
    record = _read(root, manifest.lineage)
    known = record.known
    changed, gone = _differing(known, is_copy=record.folder != _inode(root))
    if changed or gone:
        warn(_sentence(changed, gone))
    known.update(dict.fromkeys([*changed, *gone]))
    open_then = _open_then(manifest, _held(images))
    _write(root, manifest, _looked_at(known, root, lambda: open_then))


def look(root: Path, manifest: Manifest) -> str | None:
    """Return which files a resume of the generation of MANIFEST would say are changed, as a sentence; None if none."""
    record = _read(root, manifest.lineage)
    if record.part is None or record.part != manifest.undo_part:
        return None
    later = (number for number in numbers_of(root) if number >= int(record.part))
    undone = files_of(entry for number in later for entry in read_entries(root / f"{number:06}"))
    known: Known = {path: one for path, one in record.known.items() if undone.isdisjoint((path, *path.parents))}
    changed, gone = _differing(known, is_copy=record.folder != _inode(root))
    return _sentence(changed, gone) if changed or gone else None


def _differing(known: Known, *, is_copy: bool) -> tuple[list[Path], list[Path]]:
    """Return which files of KNOWN changed, and which are gone; of a COPY the times say nothing."""
    changed, gone = [], []
    for path, stamp in known.items():
        try:
            found = path.stat() if stamp is not None else None
        except (FileNotFoundError, NotADirectoryError):
            gone.append(path)
            continue
        except OSError:
            # who may not look has not lost it
            continue
        if stamp is None or found is None:
            continue
        size, mtime_ns = stamp
        # some copies have whole seconds alone
        is_of_then = found.st_mtime_ns in (mtime_ns, mtime_ns // _SECOND_NS * _SECOND_NS)
        if found.st_size != size or not (is_copy or is_of_then):
            changed.append(path)
    return changed, gone


def _looked_at(known: Known, root: Path, not_compared: Callable[[], Collection[FileKey]]) -> Known:
    """Return those files of KNOWN that there are, with size and time of those that have none.

    Not of those that are NOT COMPARED, as they may have changed again meanwhile: that is asked for afterwards. ROOT is
    the folder of the journal.
    """
    is_not_written = _what_is_not_written(root)
    found: dict[Path, os.stat_result | None] = {}
    kept: list[Path] = []
    for path, stamp in reversed(known.items()):
        if len(kept) == MOST:
            break
        if stamp is None and (len(found) == _MOST_LOOKED_AT or is_not_written(path)):
            continue
        if stamp is None:
            found[path] = _found(path)
        if stamp is not None or found[path] is not None:
            kept.append(path)
    but = not_compared()
    return {path: known[path] if path not in found else _stamp(path, found[path], but) for path in reversed(kept)}


def _stamp(path: Path, found: os.stat_result | None, but: Collection[FileKey]) -> tuple[int, int] | None:
    if found is None or found.st_nlink > 1 or (found.st_dev, found.st_ino) in but:
        return None
    return None if any(one in but for one in (path, *path.parents)) else (found.st_size, found.st_mtime_ns)


def _found(path: Path) -> os.stat_result | None:
    with suppress(OSError, ValueError):
        found = path.lstat()
        return found if stat.S_ISREG(found.st_mode) else None
    return None


def _what_is_not_written(root: Path) -> Callable[[Path], bool]:
    """Return what tells whether a path is on no disk, or one of dmtcp-run's own; ROOT is the folder of the journal."""
    others, temporary = (f"{root.parent.resolve()}/", *NOT_ON_DISK), temporary_prefix(root.parent)
    return lambda path: str(path).startswith(others) or temporary in str(path)


def _open_then(manifest: Manifest, held: HeldFiles | None) -> set[FileKey]:
    """Return what the program had open when the generation of MANIFEST was taken."""
    found: set[FileKey] = {path_of(path) for path in (*manifest.updated_files, *manifest.mapped_files)}
    for file in held.files if held else ():
        found |= {Path(file.path), (file.device, file.inode)}
    return found


def _held(images: Path) -> HeldFiles | None:
    with suppress(FileNotFoundError):
        return held_files.read(images)
    return None


def _sentence(changed: list[Path], gone: list[Path]) -> str:
    texts = [f"{_listed(changed)} changed after the checkpoint"] if changed else []
    texts += [f"{_listed(gone)} {'is' if len(gone) == 1 else 'are'} gone"] if gone else []
    as_they_are = "it as it is" if len(changed) + len(gone) == 1 else "them as they are"
    return f"{', '.join(texts)}; the program goes on with {as_they_are}"


def _listed(paths: list[Path]) -> str:
    here = Path.cwd()
    found = [str(path.relative_to(here) if path.is_relative_to(here) else path) for path in paths[:_MOST_NAMED]]
    if len(paths) > _MOST_NAMED:
        found.append(f"{len(paths) - _MOST_NAMED} more")
    return " and ".join(filter(None, (", ".join(found[:-1]), found[-1])))


def _read(root: Path, lineage: int) -> _Record:
    """Return the record in ROOT; an empty one if there is none of LINEAGE that can be read."""
    with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
        record = msgspec.json.decode((root / NAME).read_bytes(), type=_Record)
        if record.lineage == lineage:
            return record
    return _Record(lineage=lineage)


def _write(root: Path, manifest: Manifest, known: Mapping[Path, tuple[int, int] | None], folder: int = 0) -> None:
    record = _Record(
        lineage=manifest.lineage,
        part=manifest.undo_part,
        folder=folder or _inode(root),
        files=[_File(path_text(path), *(stamp or ())) for path, stamp in known.items()],
    )
    data = msgspec.json.encode(record)
    with suppress(FileNotFoundError):
        if (root / NAME).read_bytes() == data:
            return
    write_atomic(root / NAME, data, durable=False)


def _inode(root: Path) -> int:
    return root.parent.stat().st_ino
