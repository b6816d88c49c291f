"""A mirror in a directory behind sshd, whose key has to be known, as for ssh(1)."""

from __future__ import annotations

import os
import shlex
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from dmtcp_py.mirror import ssh
from dmtcp_py.mirror.place import BLOCK_BYTES
from dmtcp_py.mirror.sftp import Sftp
from dmtcp_py.system.files import PRIVATE_DIR, PRIVATE_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dmtcp_py.mirror.address import Address
    from dmtcp_py.mirror.place import Digest, Meter, Place

_CKSUM_S = 3600
_LEAST_CKSUM_BYTES = 5 << 20
"""A shell starts more slowly than a smaller file is read."""


def connect(address: Address) -> Place:
    """Return the place behind the sshd of ADDRESS; raise OSError, or MirrorError where the login is refused."""
    parts = urlsplit(address.text)
    login = ssh.Login(
        host=parts.hostname or "",
        port=parts.port,
        user=parts.username and unquote(parts.username),
        password=parts.password and unquote(parts.password),
    )
    return _SftpPlace(login, unquote(parts.path).rstrip("/"))


class _SftpPlace:
    """Directory BASE, reached with LOGIN."""

    continues = True
    streams = True

    def __init__(self, login: ssh.Login, base: str) -> None:
        self._login, self._base, self._sftp = login, base, Sftp(login)
        self._folders: set[str] = set()

    def names(self, folder: str) -> list[str]:
        """Return the names of what is in FOLDER."""
        with suppress(FileNotFoundError):
            return self._sftp.names(self._path(folder))
        return []

    def size(self, name: str) -> int | None:
        """Return the size of file NAME."""
        found = self._sftp.stat(self._path(name))
        return found.size if found is not None and not found.is_folder else None

    def read(self, name: str) -> Iterator[bytes]:
        """Yield the content of file NAME."""
        return self._sftp.read(self._path(name))

    def write(self, name: str, data: bytes) -> None:
        """Replace file NAME through a second name."""
        part = f"{self._path(name)}.part"
        self._make_folder(name)
        self._sftp.write(part, 0, PRIVATE_FILE, [data])
        self._sftp.replace(part, self._path(name))

    def send(self, source: Path, name: str, start: int, meter: Meter) -> None:
        """Send file SOURCE to NAME, from byte START on."""
        self._make_folder(name)
        self._sftp.write(self._path(name), start, PRIVATE_FILE, _blocks(source, start, meter))

    def digest(self, source: Path) -> Digest | None:
        """Return what cksum(1) will say of SOURCE, if that is faster than reading the copy."""
        return _Cksum(source) if source.stat().st_size > _LEAST_CKSUM_BYTES else None

    def has(self, name: str, digest: Digest) -> bool | None:
        """Have the server's shell compute a checksum; servers without a shell cannot."""
        assert isinstance(digest, _Cksum)  # noqa: S101 - it is what `digest` made
        with self._login.start(f"cksum < {shlex.quote(self._path(name))}") as process:
            here = digest.value()
            there = process.communicate(timeout=_CKSUM_S)[0][:200].split()
        return here == there if here and len(there) == len(here) else None

    def remove(self, name: str) -> None:
        """Remove NAME with all that is in it."""
        self._sftp.remove(self._path(name))
        self._folders.clear()

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}".rstrip("/")

    def _make_folder(self, name: str) -> None:
        folder = self._path(name).rpartition("/")[0]
        if folder not in self._folders:
            self._sftp.make_folder(folder, PRIVATE_DIR)
            self._folders.add(folder)


class _Cksum:
    """What cksum(1) prints of a file, the fastest hash that every POSIX shell has; SSH itself detects forgeries."""

    def __init__(self, source: Path) -> None:
        self._source = source

    def update(self, data: bytes) -> None:
        """Do nothing: the tool reads the file."""

    def value(self) -> list[bytes]:
        with suppress(OSError, subprocess.SubprocessError), self._source.open("rb") as file:
            return subprocess.run(
                ["cksum"],  # noqa: S607 - POSIX has it
                stdin=file,
                capture_output=True,
                check=True,
                timeout=_CKSUM_S,
            ).stdout.split()
        return []


def _blocks(source: Path, start: int, meter: Meter) -> Iterator[bytes]:
    with source.open("rb", buffering=0) as file:
        file.seek(start, os.SEEK_SET)
        while block := file.read(BLOCK_BYTES):
            yield block
            meter.add(block)
