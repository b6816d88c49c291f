"""A mirror under a prefix in a bucket. Credentials and endpoint come from where the tools of AWS look for them."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from s3fs import S3FileSystem

from dmtcp_py.mirror.fsspec_place import FsspecPlace

if TYPE_CHECKING:
    from pathlib import Path

    from dmtcp_py.mirror.address import Address
    from dmtcp_py.mirror.place import Digest, Place

_TIMEOUT_S = 30
_PART_BYTES = 5 << 20
_MOST_PARTS = 9000
"""S3 allows 10,000 parts of an object."""
_BLOCKS_OF_PART = 8


def connect(address: Address) -> Place:
    """Return the place in the bucket of ADDRESS; raise what the library raises if there is none."""
    parts = urlsplit(address.text)
    credentials, bucket = {}, parts.netloc
    if parts.password is not None:
        credentials = {"key": unquote(parts.username or ""), "secret": unquote(parts.password)}
        bucket = parts.hostname or ""
    fs = _file_system(credentials)
    # a bucket that is not there must not be taken for an empty one
    fs.call_s3("head_bucket", Bucket=bucket)
    return _S3Place(fs, f"{bucket}/{parts.path.strip('/')}")


def _file_system(credentials: dict[str, str]) -> Any:
    # the hash of each object is compared afterwards; older servers refuse what newer clients add
    os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    fs = S3FileSystem(
        **credentials,
        use_listings_cache=False,
        skip_instance_cache=True,
        fixed_upload_size=True,
        default_block_size=_PART_BYTES,
        default_fill_cache=False,
        config_kwargs={
            "connect_timeout": _TIMEOUT_S,
            "read_timeout": 2 * _TIMEOUT_S,
            "retries": {"max_attempts": 2},
        },
    )
    fs.retries = 2
    return fs


class _S3Place(FsspecPlace):
    def write(self, name: str, data: bytes) -> None:
        with self._opened(name, "wb") as file:
            file.write(data)

    def digest(self, source: Path) -> Digest | None:
        size = source.stat().st_size
        return _PartsMd5(_part_bytes(size), size)

    def has(self, name: str, digest: Digest) -> bool | None:
        etag = str(self.fs.info(self.path(name)).get("ETag", "")).strip('"')
        # with encryption by keys of KMS it is something else
        return True if etag == digest.etag() else None  # type: ignore[attr-defined]

    def _opened(self, name: str, mode: str, size: int = 0) -> Any:
        # there are no folders to make
        if mode == "rb":
            return self.fs.open(self.path(name), mode, block_size=_PART_BYTES, cache_type="readahead")
        return self.fs.open(self.path(name), mode, block_size=_part_bytes(size))

    def _block_bytes(self, file: Any) -> int:
        # a divisor of the size of a part: each part is sent as soon as it is full
        return int(file.blocksize) // _BLOCKS_OF_PART


class _PartsMd5:
    """The ETag of an object that was sent in parts of PART_BYTES: the MD5 of the MD5s of its parts, and their number.

    It detects what was damaged on the way; that nobody forges it is not needed.
    """

    def __init__(self, part_bytes: int, size: int) -> None:
        self._part_bytes, self._is_one = part_bytes, size < part_bytes
        self._done: list[bytes] = []
        self._open, self._left = hashlib.md5(usedforsecurity=False), part_bytes

    def update(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            part, view = view[: self._left], view[self._left :]
            self._open.update(part)
            self._left -= len(part)
            if not self._left:
                self._done.append(self._open.digest())
                self._open, self._left = hashlib.md5(usedforsecurity=False), self._part_bytes

    def etag(self) -> str:
        parts = [*self._done, *([self._open.digest()] if self._left < self._part_bytes else [])]
        if self._is_one:
            return self._open.hexdigest()
        return f"{hashlib.md5(b''.join(parts), usedforsecurity=False).hexdigest()}-{len(parts)}"


def _part_bytes(size: int) -> int:
    """Return the size of the parts in which an object of SIZE is sent."""
    least = max(_PART_BYTES, -(-size // _MOST_PARTS))
    return -(-least // _BLOCKS_OF_PART) * _BLOCKS_OF_PART
