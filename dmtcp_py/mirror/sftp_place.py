"""A mirror in a directory behind sshd, whose key has to be known, as for ssh(1)."""

from __future__ import annotations

import shlex
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote, urlsplit

from paramiko import SSHException

from dmtcp_py.mirror import ssh
from dmtcp_py.mirror.fsspec_place import FsspecPlace
from dmtcp_py.system.files import PRIVATE_DIR, PRIVATE_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dmtcp_py.mirror.address import Address
    from dmtcp_py.mirror.place import Digest, Place

_CKSUM_S = 3600
_LEAST_CKSUM_BYTES = 5 << 20
"""A shell starts more slowly than a smaller file is read."""


def connect(address: Address) -> Place:
    """Return the place behind the sshd of ADDRESS; raise MirrorError, or what the library raises."""
    parts = urlsplit(address.text)
    fs = ssh.connected(
        host=parts.hostname or "",
        port=parts.port,
        user=parts.username and unquote(parts.username),
        password=parts.password and unquote(parts.password),
    )
    return _SftpPlace(fs, unquote(parts.path).rstrip("/"))


class _SftpPlace(FsspecPlace):
    continues = True
    folder_options: ClassVar[Mapping[str, Any]] = {"mode": PRIVATE_DIR}

    def read(self, name: str) -> Iterator[bytes]:
        with self._opened(name, "rb") as file:
            yield from ssh.read(file, file.stat().st_size)

    def digest(self, source: Path) -> Digest | None:
        return _Cksum(source) if source.stat().st_size > _LEAST_CKSUM_BYTES else None

    def has(self, name: str, digest: Digest) -> bool | None:
        """Have the server's shell compute a checksum; servers without a shell cannot."""
        assert isinstance(digest, _Cksum)  # noqa: S101 - it is what `digest` made
        try:
            _, out, _ = self.fs.client.exec_command(f"cksum < {shlex.quote(self.path(name))}", timeout=_CKSUM_S)
            here = digest.value()
            there = out.read(200).split()
        except SSHException:
            return None
        return here == there if here and len(there) == len(here) else None

    def _opened(self, name: str, mode: str, size: int = 0) -> Any:
        file = super()._opened(name, mode, size)
        if mode == "rb":
            return file
        file.chmod(PRIVATE_FILE)
        return ssh.Writer(file, file.stat().st_size)

    def _replace(self, part: str, name: str) -> None:
        self.fs.ftp.posix_rename(self.path(part), self.path(name))


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
