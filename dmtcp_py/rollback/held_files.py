"""The format of ``files.json``: the files that a program held open when an image was taken.

Lies beside the images of a generation, with copies of those files whose old content the program may read back. Written
for CRIU inside the computation's namespaces, so this module uses the standard library alone.
"""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from dmtcp_py.rollback.inputs import InputFile
from dmtcp_py.system.stamps import Stamp

if TYPE_CHECKING:
    from pathlib import Path

NAME = "files.json"
TEMPORARY = ".dmtcp-run-deleted-"
"""How names begin that native/state_deleted.c has DMTCP give files without a name, for a moment at a restart."""
MOST_COPIED_BYTES = 64 << 20
"""Larger files are copied only if their file system shares blocks."""
_TAIL_BYTES = 1 << 16


class HeldFile(NamedTuple):
    """A regular file that was open for writing, or mapped for it."""

    path: str
    size: int
    device: int
    inode: int
    mode: int
    tail: str = ""
    """A hash of the last bytes, by which a file is recognized; empty if it was not taken."""
    copy: str | None = None
    """The name of its copy beside the images."""
    is_read: bool = False
    """Whether the program may read back what it wrote."""
    is_mapped: bool = False
    """Whether the program writes it as memory, so that its times say nothing."""
    stamp: Stamp | None = None
    """By what it is recognized as unchanged; None if it was not taken."""


class HeldFiles(NamedTuple):
    """What is recorded beside the images of one generation."""

    files: list[HeldFile]
    fifos: dict[str, int] = {}  # noqa: RUF012 - a tuple's fields are never changed
    """The FIFOs that it had open, with their modes."""
    folders: dict[str, int] = {}  # noqa: RUF012 - as above
    """The directories above all of these, with their modes."""
    links: dict[str, str] = {}  # noqa: RUF012 - as above
    """Names by which CRIU restores files that lost the name they were opened by, each with one that they still have."""
    processes: int = 0
    unwatched: list[str] = []  # noqa: RUF012 - as above
    """The names of processes whose changes to files are not recorded in the journal."""
    trees: list[str] = []  # noqa: RUF012 - as above
    """The working directories of those processes."""
    writes_in: list[str] = []  # noqa: RUF012 - as above
    """The directories of what they had open for writing, and of what their command lines name."""
    taken_ns: int = 0
    """When the images were taken, by the clock of the file system on which they are: nothing ran then."""
    seen: dict[str, Stamp] | None = None
    """By what all that was then in `trees` and `writes_in` is recognized; None if there was too much, or nothing to."""
    streams: list[str] = []  # noqa: RUF012 - as above
    """The files to which dmtcp-run itself wrote the program's output."""
    outside: list[str] = []  # noqa: RUF012 - as above
    """The far ends of TCP connections to other programs."""
    ports: list[int] = []  # noqa: RUF012 - as above
    """The TCP ports that it used."""
    inputs: list[InputFile] = []  # noqa: RUF012 - as above
    """The files that it only read."""
    temporary: list[str] = []  # noqa: RUF012 - as above
    """Names that files without one have for a moment at a restart."""


def described(path: Path, found: os.stat_result, copy: str | None) -> HeldFile:
    """Return the record of file PATH, of which stat says FOUND, with the name of its COPY beside the images."""
    return HeldFile(
        path=str(path),
        size=found.st_size,
        device=found.st_dev,
        inode=found.st_ino,
        mode=stat.S_IMODE(found.st_mode),
        copy=copy,
    )


def write(folder: Path, held: HeldFiles) -> None:
    """Write HELD beside the images in FOLDER."""
    values = {
        **held._asdict(),
        "files": [file._replace(path=_text_of(file.path))._asdict() for file in held.files],
        "inputs": [file._replace(path=_text_of(file.path))._asdict() for file in held.inputs],
        "fifos": {_text_of(path): mode for path, mode in held.fifos.items()},
        "folders": {_text_of(path): mode for path, mode in held.folders.items()},
        "temporary": list(map(_text_of, held.temporary)),
        "links": {_text_of(link): _text_of(name) for link, name in held.links.items()},
        "seen": None if held.seen is None else {_text_of(path): stamp for path, stamp in held.seen.items()},
    }
    (folder / NAME).write_text(json.dumps(values), encoding="utf-8")


def read(folder: Path) -> HeldFiles:
    """Return what lies beside the images in FOLDER; fields that are not known here are ignored."""
    values: dict[str, Any] = json.loads((folder / NAME).read_text(encoding="utf-8"))
    files = [HeldFile(**_known(file, HeldFile._fields)) for file in values["files"]]
    inputs = [InputFile(**_known(file, InputFile._fields)) for file in values.get("inputs", ())]
    return HeldFiles(**_known(values, HeldFiles._fields))._replace(
        files=[
            file._replace(path=_path_of(file.path), stamp=None if file.stamp is None else Stamp._make(file.stamp))
            for file in files
        ],
        inputs=[file._replace(path=_path_of(file.path)) for file in inputs],
        fifos={_path_of(text): mode for text, mode in values.get("fifos", {}).items()},
        folders={_path_of(text): mode for text, mode in values.get("folders", {}).items()},
        links={_path_of(link): _path_of(name) for link, name in values.get("links", {}).items()},
        temporary=[_path_of(text) for text in values.get("temporary", ())],
        seen=_stamps_of(values.get("seen")),
    )


def tail_of(place: str | Path, size: int) -> str:
    """Return the hash of the last bytes of the file at PLACE when it has SIZE; raise OSError if it cannot be read."""
    import hashlib  # noqa: PLC0415 - a few ms, for which most computations need not be frozen

    start = max(size - _TAIL_BYTES, 0)
    fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return hashlib.sha256(os.pread(fd, size - start, start)).hexdigest()
    finally:
        os.close(fd)


def _stamps_of(values: dict[str, Any] | None) -> dict[str, Stamp] | None:
    return None if values is None else {_path_of(text): Stamp._make(stamp) for text, stamp in values.items()}


def _text_of(path: str) -> str:
    """Return PATH as text that is the same whatever the locale: the next attempt may have another."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def _path_of(text: str) -> str:
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def _known(values: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in fields}
