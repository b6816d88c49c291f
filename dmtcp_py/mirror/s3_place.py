"""A mirror under a prefix in a bucket. Credentials and endpoint come from where the tools of AWS look for them."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

from dmtcp_py.mirror.place import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path
    from typing import BinaryIO

    from dmtcp_py.mirror.address import Address
    from dmtcp_py.mirror.place import Digest, Meter, Place

_TIMEOUT_S = 30
_PART_BYTES = 5 << 20
_MOST_PARTS = 9000
"""S3 allows 10,000 parts of an object."""
_PARTS_AT_ONCE = 3
_MISSING = frozenset({"404", "NoSuchKey"})


def connect(address: Address) -> Place:
    """Return the place in the bucket of ADDRESS; raise what the library raises if there is none."""
    parts = urlsplit(address.text)
    credentials, bucket = {}, parts.netloc
    if parts.password is not None:
        credentials = {
            "aws_access_key_id": unquote(parts.username or ""),
            "aws_secret_access_key": unquote(parts.password),
        }
        bucket = parts.hostname or ""
    client = _client(credentials)
    # a bucket that is not there must not be taken for an empty one
    client.head_bucket(Bucket=bucket)
    return _S3Place(client, bucket, parts.path.strip("/"))


def _client(credentials: dict[str, str]) -> Any:
    # the hash of each object is compared afterwards; older servers refuse what newer clients add
    os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    settings = Config(connect_timeout=_TIMEOUT_S, read_timeout=2 * _TIMEOUT_S, retries={"max_attempts": 2})
    return botocore.session.get_session().create_client("s3", config=settings, **credentials)


class _S3Place:
    """What is below PREFIX in BUCKET. botocore itself: what fsspec adds to it takes twice the memory."""

    continues = False
    streams = True

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client, self._bucket, self._prefix = client, bucket, prefix

    def names(self, folder: str) -> list[str]:
        """Return the names of what is in FOLDER."""
        prefix = f"{self._prefix}/{folder}".rstrip("/") + "/"
        found = [
            text.removeprefix(prefix).rstrip("/")
            for page in self._pages(Prefix=prefix, Delimiter="/")
            for text in (
                *(one["Key"] for one in page.get("Contents", ())),
                *(one["Prefix"] for one in page.get("CommonPrefixes", ())),
            )
        ]
        return sorted(filter(None, found))

    def size(self, name: str) -> int | None:
        """Return the size of file NAME."""
        found = self._head(name)
        return None if found is None else int(found["ContentLength"])

    def read(self, name: str) -> Iterator[bytes]:
        """Yield the content of file NAME."""
        try:
            body = self._client.get_object(**self._key(name))["Body"]
        except ClientError as error:
            if _is_missing(error):
                raise FileNotFoundError(name) from None
            raise
        yield from iter(lambda: body.read(BLOCK_BYTES), b"")

    def write(self, name: str, data: bytes) -> None:
        """Replace file NAME: an object appears only once it is complete."""
        self._client.put_object(**self._key(name), Body=data)

    def send(self, source: Path, name: str, start: int, meter: Meter) -> None:  # noqa: ARG002 - protocol
        """Send file SOURCE to NAME, in parts if it is large."""
        size = source.stat().st_size
        with source.open("rb", buffering=0) as file:
            if size < _PART_BYTES:
                part = bytearray(size)
                _read_part(file, part, meter)
                self.write(name, bytes(part))
                return
            upload = {
                **self._key(name),
                "UploadId": self._client.create_multipart_upload(**self._key(name))["UploadId"],
            }
            try:
                parts = self._send_parts(file, upload, size, meter)
                self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
            except BaseException:
                # what was sent takes space there, and nobody sees it
                with suppress(Exception):
                    self._client.abort_multipart_upload(**upload)
                raise

    def digest(self, source: Path) -> Digest | None:
        """Return the ETag that an object like SOURCE will have."""
        size = source.stat().st_size
        return _PartsMd5(_part_bytes(size), size)

    def has(self, name: str, digest: Digest) -> bool | None:
        """Return whether object NAME has the ETag; with encryption by keys of KMS it is something else."""
        etag = (self._head(name) or {}).get("ETag", "").strip('"')
        return True if etag == digest.etag() else None  # type: ignore[attr-defined]

    def remove(self, name: str) -> None:
        """Remove NAME with all that is in it."""
        keys = [
            one["Key"] for page in self._pages(Prefix=f"{self._prefix}/{name}/") for one in page.get("Contents", ())
        ]
        if self._head(name) is not None:
            keys.append(f"{self._prefix}/{name}")
        for key in keys:
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def _send_parts(self, file: BinaryIO, upload: dict[str, str], size: int, meter: Meter) -> list[dict[str, Any]]:
        """Send FILE with some parts on their way at once; their memory is used again."""
        buffers = [bytearray(_part_bytes(size)) for _ in range(_PARTS_AT_ONCE + 1)]
        sent: list[dict[str, Any]] = []
        running: deque[Future[dict[str, Any]]] = deque()
        with ThreadPoolExecutor(_PARTS_AT_ONCE) as pool:
            for number in range(1, -(-size // len(buffers[0])) + 1):
                part = buffers[number % len(buffers)]
                count = _read_part(file, part, meter)
                if len(running) == _PARTS_AT_ONCE:
                    sent.append(running.popleft().result())
                body = part if count == len(part) else bytes(part[:count])
                running.append(pool.submit(self._send_part, upload, number, body))
            return [*sent, *(one.result() for one in running)]

    def _send_part(self, upload: dict[str, str], number: int, body: bytes | bytearray) -> dict[str, Any]:
        answer = self._client.upload_part(**upload, PartNumber=number, Body=body)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    def _head(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._client.head_object(**self._key(name))
        except ClientError as error:
            if _is_missing(error):
                return None
            raise
        return found

    def _pages(self, **options: str) -> Any:
        return self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, **options)

    def _key(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}/{name}"}


def _is_missing(error: ClientError) -> bool:
    return error.response.get("Error", {}).get("Code") in _MISSING


def _read_part(file: BinaryIO, part: bytearray, meter: Meter) -> int:
    """Fill PART from FILE, and return how much there was."""
    view, count = memoryview(part), 0
    while size := file.readinto(view[count : count + BLOCK_BYTES]):  # type: ignore[attr-defined]
        meter.add(view[count : count + size])  # type: ignore[arg-type] # hashes read any buffer
        count += size
    return count


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
    return max(_PART_BYTES, -(-size // _MOST_PARTS))
