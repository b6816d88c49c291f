"""A mirror in a directory of an XRootD server."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dmtcp_py.mirror.fsspec_place import FsspecPlace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dmtcp_py.mirror.address import Address
    from dmtcp_py.mirror.place import Digest, Place

_TIMEOUT_S = 30
_SETTINGS = {
    "XRD_CONNECTIONWINDOW": "15",
    "XRD_CONNECTIONRETRY": "2",
    "XRD_REQUESTTIMEOUT": "60",
    "XRD_STREAMTIMEOUT": "60",
    "XRD_STREAMERRORWINDOW": "15",
    "XRD_LOGLEVEL": "None",
}
"""Without them a server that is down is waited for half an hour."""
_NOT_FOUND, _IS_DIR = 3011, 2


def connect(address: Address) -> Place:
    """Return the place at the server of ADDRESS; raise ConnectionError if it does not answer."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from fsspec_xrootd import XRootDFileSystem  # noqa: PLC0415 - it reads the settings when it is imported

    parts = urlsplit(address.text)
    fs = XRootDFileSystem(hostid=parts.netloc, timeout=_TIMEOUT_S, locate_all_sources=False, skip_instance_cache=True)
    client: Any = fs._myclient  # noqa: SLF001 - exists() hides errors, and nothing else pings
    status, _ = client.ping(timeout=_TIMEOUT_S)
    if not status.ok:
        raise ConnectionError(status.message)
    return _XrootdPlace(fs, client, "/" + parts.path.strip("/"))


class _XrootdPlace(FsspecPlace):
    """Asks CLIENT itself what is there: what FS has of it is cached, and hides errors."""

    continues = True
    block_bytes = 2 << 20
    """Each block is a request, whose answer is waited for."""

    def __init__(self, fs: Any, client: Any, base: str) -> None:
        super().__init__(fs, base)
        self._client = client

    def names(self, folder: str) -> list[str]:
        listing = self._asked(self._client.dirlist, folder)
        return [] if listing is None else sorted(entry.name for entry in listing)

    def size(self, name: str) -> int | None:
        found = self._stat(name)
        return int(found.size) if found is not None and not found.flags & _IS_DIR else None

    def read(self, name: str) -> Iterator[bytes]:
        if self._stat(name) is None:
            raise FileNotFoundError(name)
        return super().read(name)

    def digest(self, source: Path) -> Digest | None:  # noqa: ARG002 - protocol
        return _Adler32()

    def has(self, name: str, digest: Digest) -> bool | None:
        try:
            kind, value = self.fs.checksum(self.path(name))
        except OSError:
            return None
        return value.rjust(8, "0") == digest.hexdigest() if kind == "adler32" else None  # type: ignore[attr-defined]

    def remove(self, name: str) -> None:
        if self._stat(name) is None:
            return
        if self.size(name) is None:
            for below in self.names(name):
                self.remove(f"{name}/{below}")
            self.fs.rmdir(self.path(name))
        else:
            self.fs.rm_file(self.path(name))
        self._folders.clear()

    def _stat(self, name: str) -> Any:
        return self._asked(self._client.stat, name)

    def _asked(self, request: Callable[..., Any], name: str) -> Any:
        """Return what the server answers to REQUEST about NAME; None if it is not there."""
        status, answer = request(self.path(name), timeout=_TIMEOUT_S)
        if not status.ok and status.errno != _NOT_FOUND:
            raise OSError(status.message)
        return answer if status.ok else None


class _Adler32:
    """The checksum that XRootD servers compute unless they are told otherwise."""

    def __init__(self) -> None:
        self.value = 1

    def update(self, data: bytes) -> None:
        self.value = zlib.adler32(data, self.value)

    def hexdigest(self) -> str:
        return f"{self.value:08x}"
