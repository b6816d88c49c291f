"""A place at which files can be kept under names such as ``job/generations/000007/manifest.json``: the protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


BLOCK_BYTES = 64 << 10
"""How much is read and written at once: malloc(3) requests larger blocks from the kernel, which takes more time."""
LEAST_RATE = 2e6
"""A server that stores, hashes or hands out fewer bytes a second counts as one that does not answer."""


class Digest(Protocol):
    """What a place can compute of its own copy of a file, computed here while the file is sent."""

    def update(self, data: bytes, /) -> None:
        """Add DATA."""


class Meter(Protocol):
    """Is told what is sent. It may wait, or raise to end the sending."""

    def add(self, data: bytes, /) -> None:
        """Count DATA, and add it to the digest of the file."""

    def sent(self, size: int, /) -> None:
        """Count SIZE bytes, where the place computes no digest."""


class Place(Protocol):
    """Where a mirror keeps files. Every method may raise OSError or an error of a library, with any text."""

    continues: bool
    """Whether a file that was sent in part can be continued."""

    streams: bool
    """Whether `read` yields a file while it arrives, not only once all of it is there."""

    def names(self, folder: str) -> list[str]:
        """Return the names of what is in FOLDER; none if there is no such folder."""

    def size(self, name: str) -> int | None:
        """Return the size of file NAME; None if there is none."""

    def read(self, name: str) -> Iterator[bytes]:
        """Yield the content of file NAME. Raises FileNotFoundError."""

    def write(self, name: str, data: bytes) -> None:
        """Replace the small file NAME: a reader finds the old content or the new one."""

    def send(self, source: Path, name: str, start: int, meter: Meter) -> None:
        """Send file SOURCE to NAME, from byte START on if that `continues`."""

    def digest(self, source: Path) -> Digest | None:
        """Return what the place can compute of a copy of file SOURCE; None if it can compute nothing."""

    def has(self, name: str, digest: Digest) -> bool | None:
        """Return whether file NAME has DIGEST; None if the place cannot tell, so that it has to be read."""

    def remove(self, name: str) -> None:
        """Remove file NAME, or folder NAME with all that is in it, if it is there."""
