"""What lies at a mirror, and what a job's directory says of its mirrors.

At a mirror, in a directory with the job's name::

    generations/000007/…              as in the job's directory; the manifest comes last, so that it stands for all
    rest/HASH-SIZE                    pieces of the job's other files, immutable
    index.json                        of which pieces those files consist, and which attempt wrote last

In the job's directory, ``mirrors/KEY.json`` says how far a mirror is.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime  # noqa: TC003 - msgspec reads the annotations
from typing import TYPE_CHECKING, TypeVar

import msgspec
import xxhash

from dmtcp_py.errors import StoreError
from dmtcp_py.store.decoding import FORMAT, decoded, stays_below
from dmtcp_py.store.records import json_of, path_text

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

    from dmtcp_py.store.layout import JobLayout

INDEX = "index.json"
MANIFEST = "manifest.json"
_GENERATIONS, _REST = "generations", "rest"


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a file: the file in ``rest`` that holds it is named after both."""

    xxh3_128: str
    size: int

    @property
    def name(self) -> str:
        """The name in ``rest``."""
        return f"{self.xxh3_128}-{self.size}"


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the job's directory: its path there, and its pieces, or where it points to if it is a link."""

    name: str
    pieces: list[Piece] = []
    link: str | None = None
    mtime_ns: int = 0

    @property
    def size(self) -> int:
        """The size of all pieces together."""
        return sum(piece.size for piece in self.pieces)


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """What a mirror has besides generations, and the attempt that wrote it: ``index.json``."""

    format: int = FORMAT
    job: str
    epoch: int
    host: str
    pid: int
    pid_started: float = 0.0
    boot_id: str
    beat: int
    """Grows as long as the attempt runs."""
    written: datetime
    ended: str | None = None
    """How the attempt ended; None while it runs, or if it was killed."""
    files: list[StoredFile] = []


class MirrorState(msgspec.Struct, frozen=True, kw_only=True):
    """How far a mirror is: ``mirrors/KEY.json``, written by the process that copies."""

    format: int = FORMAT
    url: str
    epoch: int
    updated: datetime
    generations: list[int] = []
    """The generations that are complete there."""
    copying: int | None = None
    done: int = 0
    size: int = 0
    problem: str | None = None
    failing_since: datetime | None = None
    oldest_part: str | None = None
    """The oldest part of the journal of changed files that a generation there needs."""
    least_stdin_bytes: int | None = None
    """From where on a generation there needs the input."""


RecordT = TypeVar("RecordT", Index, MirrorState)


def encode(record: Index | MirrorState) -> bytes:
    """Return RECORD as JSON."""
    return json_of(record) + b"\n"


def decode(data: bytes, kind: type[RecordT], where: str) -> RecordT:
    """Return the record of KIND in DATA, which was read at WHERE; raise StoreError if it is none, or a newer one."""
    record, _ = decoded(data, kind, where, hint="fetch from another mirror")
    if isinstance(record, Index):
        for file in record.files:
            if not stays_below(file.name):
                raise StoreError(f"{where} names a file outside the job's directory: {file.name!r}")
            if file.link is not None and ("/" in file.link or file.link in ("", ".", "..")):
                raise StoreError(f"{where} has a link that leads elsewhere: {file.link!r}")
    return record


def generations_name(job: str) -> str:
    """Return where a mirror keeps the generations of JOB."""
    return f"{job}/{_GENERATIONS}"


def generation_name(job: str, number: int) -> str:
    """Return where a mirror keeps generation NUMBER of JOB."""
    return f"{generations_name(job)}/{number:06}"


def image_name(job: str, number: int, image: str) -> str:
    """Return where a mirror keeps file IMAGE of a generation; bytes that are no text are escaped as in manifests."""
    return f"{generation_name(job, number)}/{path_text(image)}"


def rest_name(job: str) -> str:
    """Return where a mirror keeps the pieces of other files."""
    return f"{job}/{_REST}"


def piece_name(job: str, piece: Piece) -> str:
    """Return where a mirror keeps PIECE."""
    return f"{rest_name(job)}/{piece.name}"


def index_name(job: str) -> str:
    """Return where a mirror keeps the index of JOB."""
    return f"{job}/{INDEX}"


def piece_of(data: bytes) -> Piece:
    """Return the piece whose content is DATA."""
    return Piece(xxh3_128=xxhash.xxh3_128_hexdigest(data), size=len(data))


def state_path(layout: JobLayout, key: str) -> Path:
    """Return where the job's directory says how far the mirror with KEY is."""
    return layout.mirrors / f"{key}.json"


def mirror_states(layout: JobLayout) -> list[MirrorState]:
    """Return how far each mirror of a job is; what cannot be read is left out."""
    found = []
    for path in sorted(layout.mirrors.glob("[0-9a-f]*.json")):
        try:
            found.append(decode(path.read_bytes(), MirrorState, str(path)))
        except (OSError, StoreError):
            continue
    return found


def forget_mirrors(layout: JobLayout, keys: Container[str]) -> None:
    """Remove how far the mirrors are that are not used any more: KEYS are in use. They would hold the journal."""
    for path in layout.mirrors.glob("[0-9a-f]*.json"):
        if path.stem not in keys:
            with suppress(OSError):
                path.unlink()
