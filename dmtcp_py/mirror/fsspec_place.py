"""What the places that fsspec reaches share. What is known of one protocol is in a module of its own."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fsspec.core import url_to_fs

from dmtcp_py.mirror.place import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dmtcp_py.mirror.address import Address
    from dmtcp_py.mirror.place import Digest, Meter, Place


def connect(address: Address) -> Place:
    """Return the place at ADDRESS, of any protocol that fsspec knows; raise what the library raises."""
    return FsspecPlace(*url_to_fs(address.text, use_listings_cache=False, skip_instance_cache=True))


class FsspecPlace:
    """Directory BASE of FS, a file system of fsspec's, without anything that is known of its protocol."""

    continues = False
    streams = True
    block_bytes = BLOCK_BYTES
    """How much is sent at once."""

    def __init__(self, fs: Any, base: str) -> None:
        self.fs, self.base = fs, base
        self._folders: set[str] = set()

    def names(self, folder: str) -> list[str]:
        """Return the names of what is in FOLDER."""
        try:
            found = self.fs.ls(self.path(folder), detail=False)
        except FileNotFoundError:
            return []
        return sorted({name for path in found if (name := str(path).rstrip("/").rpartition("/")[2])})

    def size(self, name: str) -> int | None:
        """Return the size of file NAME."""
        try:
            found = self.fs.info(self.path(name))
        except FileNotFoundError:
            return None
        return int(found["size"]) if found["type"] == "file" else None

    def read(self, name: str) -> Iterator[bytes]:
        """Yield the content of file NAME."""
        with self._opened(name, "rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block

    def write(self, name: str, data: bytes) -> None:
        """Replace file NAME through a second name, or directly if a file appears only once it is complete."""
        part = f"{name}.part"
        with self._opened(part, "wb") as file:
            file.write(data)
            self._flush(file)
        self._replace(part, name)

    def send(self, source: Path, name: str, start: int, meter: Meter) -> None:
        """Send file SOURCE to NAME."""
        with source.open("rb", buffering=0) as local:
            local.seek(start)
            with self._opened(name, "ab" if start else "wb") as remote:
                for block in iter(lambda: local.read(self.block_bytes), b""):
                    remote.write(block)
                    meter.add(block)
                self._flush(remote)

    def digest(self, source: Path) -> Digest | None:  # noqa: ARG002 - others need it
        """Return None: nothing is known."""
        return None

    def has(self, name: str, digest: Digest) -> bool | None:  # noqa: ARG002 - as above
        """Return None: it has to be read."""
        return None

    def remove(self, name: str) -> None:
        """Remove NAME with all that is in it."""
        with suppress(FileNotFoundError):
            self.fs.rm(self.path(name), recursive=True)
        self._folders.clear()

    def path(self, name: str) -> str:
        """Return the path of NAME at the server."""
        return f"{self.base}/{name}".rstrip("/")

    def _opened(self, name: str, mode: str) -> Any:
        if mode != "rb":
            self._make_folder(name.rpartition("/")[0])
        return self.fs.open(self.path(name), mode)

    def _make_folder(self, folder: str) -> None:
        if folder not in self._folders:
            self.fs.makedirs(self.path(folder), exist_ok=True)
            self._folders.add(folder)

    def _flush(self, file: Any) -> None:
        """Have FILE on disk, if the protocol can say that."""

    def _replace(self, part: str, name: str) -> None:
        self.fs.mv(self.path(part), self.path(name))
