"""What a mirror has of a job: its index and its complete generations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.errors import StoreError
from dmtcp_py.mirror.errors import DamagedError
from dmtcp_py.store.mirrored import (
    MANIFEST,
    Index,
    decode,
    generation_name,
    generations_name,
    index_name,
    piece_name,
    piece_of,
)
from dmtcp_py.store.records import Manifest
from dmtcp_py.store.records import decode as decode_record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dmtcp_py.mirror.place import Place
    from dmtcp_py.store.mirrored import StoredFile

_NUMBER = re.compile(r"(?!0+$)[0-9]{6}|[1-9][0-9]{6,}")


def read_whole(place: Place, name: str) -> bytes | None:
    """Return the content of the small file NAME; None if there is none."""
    try:
        return b"".join(place.read(name))
    except FileNotFoundError:
        return None


def index_of(place: Place, job: str) -> Index | None:
    """Return the index of JOB; None if the mirror has none. Raises StoreError if it is damaged."""
    data = read_whole(place, index_name(job))
    return None if data is None else decode(data, Index, f"the mirror's {index_name(job)}")


def manifests_of(place: Place, job: str) -> dict[int, Manifest | None]:
    """Return the manifests of the complete generations of JOB, by number; None for a damaged one."""
    found: dict[int, Manifest | None] = {}
    for name in place.names(generations_name(job)):
        if _NUMBER.fullmatch(name):
            data = read_whole(place, f"{generation_name(job, int(name))}/{MANIFEST}")
            if data is not None:
                found[int(name)] = _manifest(data, int(name))
    return found


def content_of(place: Place, job: str, file: StoredFile) -> Iterator[bytes]:
    """Yield the content of FILE, each piece verified. Raises DamagedError."""
    for piece in file.pieces:
        data = read_whole(place, piece_name(job, piece))
        if data is None or piece_of(data) != piece:
            raise DamagedError(
                f"{file.name}: a piece of it is {'missing' if data is None else 'damaged'} at the mirror"
            )
        yield data


def jobs_at(place: Place) -> list[str]:
    """Return the names of the jobs of which a mirror has an index."""
    return [name for name in place.names("") if read_whole(place, index_name(name)) is not None]


def _manifest(data: bytes, number: int) -> Manifest | None:
    try:
        manifest = decode_record(data, Manifest, Path(f"{number:06}") / MANIFEST)
    except StoreError:
        return None
    return manifest if manifest.generation == number else None
