"""criu's action script for a dump: while all processes are still frozen, it lists open files and copies some of them.

It runs inside the computation's namespaces. An image does not contain the content of files: each regular file that is
open for writing is listed with its size, and copied if the program may read back its old content, because it is open
for reading and writing, or mapped. `dmtcp_py.rollback.held_files` has the format.
"""

from __future__ import annotations

import math
import os
import stat
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmtcp_py.engine.criu.inside import attributes, refusals
from dmtcp_py.engine.criu.inside.mounts import SHM
from dmtcp_py.engine.executable import is_go
from dmtcp_py.rollback import held_files, in_memory
from dmtcp_py.rollback.held_files import HeldFile, HeldFiles
from dmtcp_py.rollback.inputs import Found, InputFile
from dmtcp_py.rollback.parts import GATE, begin_next
from dmtcp_py.rollback.watched_folders import stamps_in
from dmtcp_py.system.proc import (
    DELETED,
    has_ended,
    mapped_files,
    names_left,
    open_descriptors,
    processes_below,
    shared_writable_maps,
    sockets_of,
)
from dmtcp_py.system.stamps import stamp_of
from dmtcp_py.system.tcp import readable, tcp_sockets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WATCHER = "/native/files."
_TOOL_S = 3600
_NOT_FILES = ("/SYSV", "/memfd:", "/dev/zero")

Key = tuple[int, int]


def main(words: Sequence[str]) -> None:
    """Record what the images lack; WORDS: whether /dev/shm is the computation's own, and the folder of the journal."""
    covers_shm, journal = words
    root, images = int(os.environ["CRTOOLS_INIT_PID"]), Path(os.environ["CRTOOLS_IMAGE_DIR"])
    record(root, images, covers_shm=covers_shm == "1", journal=journal)
    if journal:
        # changes to files from now on come after this image
        with suppress(FileNotFoundError):
            begin_next(Path(journal))


def record(root: int, images: Path, *, covers_shm: bool, journal: str) -> None:
    """Write the list of files of ROOT and its descendants, and the copies, into IMAGES; with COVERS_SHM also /dev/shm.

    JOURNAL is the folder in which the processes record what they do to files by name; empty if they do not.
    """
    excluded = (*_NOT_FILES, f"{SHM}/") if covers_shm else _NOT_FILES
    pids = processes_below(root)
    living = [pid for pid in pids if not has_ended(pid)]
    attributes.record_all(root, pids, images)
    files, fifos = _files_of(living, images, excluded)
    memory, folders = ([], {}) if covers_shm or not journal else _in_memory(Path(journal), images, files)
    if covers_shm:
        # with the names, which include the links that criu makes for files without a name
        pack = ["tar", "--create", "--sparse", "--file", str(images / "shm.tar"), "-C", SHM, "."]
        subprocess.run(pack, check=True, timeout=_TOOL_S)
    unwatched = [pid for pid in living if journal and not _is_watched(pid, journal)]
    trees = sorted({place for pid in unwatched for place in _directory_of(pid)})
    writes_in = sorted({folder for pid in unwatched for folder in _writes_in(pid, excluded)})
    paths = [Path(file.path) for file in files] + [Path(name) for name in fifos]
    held = HeldFiles(
        files=[*files, *memory],
        fifos=fifos,
        folders=_modes({folder for path in paths for folder in path.parents}) | folders,
        links={link: name for pid in living for link, name in _links_of(pid, excluded)},
        processes=len(pids),
        unwatched=sorted(set(map(_name, unwatched))),
        trees=trees,
        writes_in=writes_in,
        taken_ns=_time_ns(images),
        seen=stamps_in(trees, writes_in, Path(journal).parents[1].resolve()) if unwatched else None,
        inputs=_inputs_of(living, (*excluded, *_gate_of(journal)), files),
        **_connections(living),
    )
    held_files.write(images, held)


def _gate_of(journal: str) -> tuple[str, ...]:
    """Return the gate of JOURNAL, which a process may have open to wait there, and of which no content counts."""
    return (os.path.realpath(Path(journal) / GATE),) if journal else ()


def _files_of(pids: Sequence[int], images: Path, excluded: tuple[str, ...]) -> tuple[list[HeldFile], dict[str, int]]:
    """Return the files that PIDS can write, with copies in IMAGES, and the modes of their FIFOs."""
    files = _Files(images)
    fifos: dict[str, int] = {}
    for pid in pids:
        fifos |= _fifos_of(pid, excluded)
        for place, flags in _open_for_writing(pid, excluded):
            files.add(place, is_read=flags & os.O_ACCMODE == os.O_RDWR and not flags & os.O_APPEND)
        for place in _mapped_for_writing(pid, excluded):
            files.add(place, is_read=True, is_mapped=True)
    return files.found, fifos


def _inputs_of(pids: Sequence[int], excluded: tuple[str, ...], written: Sequence[HeldFile]) -> list[InputFile]:
    """Return the files that PIDS only read, and those whose pages the images lack, without those that are WRITTEN."""
    found = Found()
    for pid in pids:
        for place, target, flags in open_descriptors(pid):
            is_read = flags & os.O_ACCMODE == os.O_RDONLY and not flags & os.O_PATH
            if is_read and not target.startswith(excluded):
                found.add(str(place), target)
        for path, is_executed in mapped_files(pid):
            if not path.startswith(excluded):
                found.add(path, path, is_mapped=True, is_executed=is_executed)
    return found.but((file.device, file.inode) for file in written)


def _in_memory(journal: Path, images: Path, files: Sequence[HeldFile]) -> tuple[list[HeldFile], dict[str, int]]:
    """Copy the files in memory that the JOURNAL tells of, but for those of FILES of which there are copies."""
    return in_memory.save(journal, images, {file.path for file in files if file.copy is not None}, math.inf)


class _Files:
    """The files found so far, each once, with their copies in IMAGES."""

    def __init__(self, images: Path) -> None:
        self._images = images
        self._by_inode: dict[Key, HeldFile] = {}

    @property
    def found(self) -> list[HeldFile]:
        return list(self._by_inode.values())

    def add(self, place: Path, *, is_read: bool, is_mapped: bool = False) -> None:
        """Add the file at PLACE, a link in /proc or its path, unless it is no regular file, or has no name any more."""
        found, path = place.stat(), os.readlink(place) if place.is_symlink() else str(place)
        if place.is_symlink() and (names := refusals.own_names_left(place)):
            path = str(names[0])
        is_deleted = found.st_nlink == 0 or path.endswith(DELETED)
        if not stat.S_ISREG(found.st_mode) or is_deleted:
            return
        key = (found.st_dev, found.st_ino)
        file = self._by_inode.get(key) or _describe(place, path, found)
        file = file._replace(is_read=file.is_read or is_read, is_mapped=file.is_mapped or is_mapped)
        self._by_inode[key] = file
        if is_read and file.copy is None:
            name = f"file-{len(self._by_inode)}"
            if _copy(place, self._images / name, found.st_size):
                self._by_inode[key] = file._replace(copy=name)


def _describe(place: Path, path: str, found: os.stat_result) -> HeldFile:
    tail = ""
    with suppress(OSError):
        tail = held_files.tail_of(place, found.st_size)
    return HeldFile(
        path=path,
        size=found.st_size,
        device=found.st_dev,
        inode=found.st_ino,
        mode=stat.S_IMODE(found.st_mode),
        tail=tail,
        stamp=stamp_of(found),
    )


def _open_for_writing(pid: int, excluded: tuple[str, ...]) -> Iterator[tuple[Path, int]]:
    for place, target, flags in open_descriptors(pid):
        is_written = flags & os.O_ACCMODE != os.O_RDONLY and not flags & os.O_PATH
        if is_written and not target.startswith(excluded):
            yield place, flags


def _mapped_for_writing(pid: int, excluded: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files that it can write through shared pages, which the image does not contain."""
    for addresses, path, _ in shared_writable_maps(pid):
        if path.startswith(excluded):
            continue
        place = Path(f"/proc/{pid}/map_files/{addresses}")
        try:
            place.stat()
        except PermissionError:
            # in a user namespace; without a name it is not put back anyway
            if path.endswith(DELETED):
                continue
            place = Path(path)
        yield place


def _fifos_of(pid: int, excluded: tuple[str, ...]) -> dict[str, int]:
    """Return the modes of the FIFOs that it has open."""
    found = {}
    for place, target, _ in open_descriptors(pid):
        if target.startswith("/") and not target.startswith(excluded) and not target.endswith(DELETED):
            with suppress(FileNotFoundError):
                mode = place.stat().st_mode
                if stat.S_ISFIFO(mode):
                    found[target] = stat.S_IMODE(mode)
    return found


def _links_of(pid: int, excluded: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the links that criu made for this dump, and removes at its end although it needs them for the restore."""
    for place, target, _ in open_descriptors(pid):
        if not target.startswith(excluded) and (names := refusals.own_names_left(place)):
            yield from ((str(name), str(names[0])) for name in names_left(place) or () if name not in names)


def _is_watched(pid: int, journal: str) -> bool:
    """Return whether it records its changes: it has the library, calls libc, and may write to the journal."""
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    if not maps:
        return True
    owner = Path(journal).stat().st_uid
    is_allowed = owner == Path(f"/proc/{pid}").stat().st_uid and os.readlink(f"/proc/{pid}/root") == "/"
    return WATCHER in maps and is_allowed and not is_go(Path(f"/proc/{pid}/exe"))


def _directory_of(pid: int) -> Iterator[str]:
    with suppress(OSError):
        place = os.readlink(f"/proc/{pid}/cwd")
        if not place.endswith(DELETED):
            yield place


def _writes_in(pid: int, excluded: tuple[str, ...]) -> Iterator[str]:
    """Yield directories in which the process may write by name: of what it has open, and of what its line names."""
    for place, _ in _open_for_writing(pid, excluded):
        target = Path(os.readlink(place))
        if target.is_absolute():
            yield str(target.parent)
    words = os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")[1:]
    named = {word for word in (*words, *(word.partition("=")[2] for word in words)) if "/" in word}
    for directory in _directory_of(pid):
        for path in (Path(directory, word) for word in named):
            # a word may be anything, as long as it likes
            with suppress(OSError):
                folder = path if path.is_dir() else path.parent
                if folder.is_dir():
                    yield str(folder.resolve())


def _time_ns(images: Path) -> int:
    clock = images / "clock"
    clock.touch()
    found = clock.stat().st_mtime_ns
    clock.unlink()
    return found


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()


def _modes(folders: set[Path]) -> dict[str, int]:
    found = {}
    for folder in folders:
        with suppress(OSError):
            found[str(folder)] = stat.S_IMODE(folder.stat().st_mode)
    return found


def _connections(pids: list[int]) -> dict[str, Any]:
    """Return the TCP connections of PIDS to ends outside, which a restore cannot restore, and their own ports."""
    own = {inode for pid in pids for inode in sockets_of(pid)}
    mine = [one for one in tcp_sockets(pids[0]) if one.inode in own]
    ends = {(one.near, one.far) for one in mine if one.is_established}
    return {
        "outside": sorted({readable(far) for near, far in ends if (far, near) not in ends}),
        "ports": sorted({one.port for one in mine}),
    }


def _copy(place: Path, target: Path, size: int) -> bool:
    """Copy a file if it is small or its file system shares blocks; return whether there is a copy."""
    for reflink in ("always", "auto"):
        if reflink == "auto" and size > held_files.MOST_COPIED_BYTES:
            return False
        copy = ["cp", "--dereference", f"--reflink={reflink}", "--sparse=auto", str(place), str(target)]
        done = subprocess.run(copy, check=False, timeout=_TOOL_S, capture_output=reflink == "always")
        if done.returncode == 0:
            return True
        target.unlink(missing_ok=True)
    raise OSError(f"{place} could not be copied")
