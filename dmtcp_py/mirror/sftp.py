"""The protocol of SFTP, version 3 (draft-ietf-secsh-filexfer-02), over an ssh(1), with many requests on their way.

ssh(1) encrypts in a process of its own, which is faster than any library of Python's.
"""

from __future__ import annotations

import errno
import stat
import struct
import weakref
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.mirror.ssh import end

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dmtcp_py.mirror.ssh import Login

_INIT, _OPEN, _CLOSE, _READ, _WRITE, _FSTAT, _SETSTAT = 1, 3, 4, 5, 6, 8, 9
_OPENDIR, _READDIR, _REMOVE, _MKDIR, _RMDIR, _STAT, _EXTENDED = 11, 12, 13, 14, 15, 17, 200
_STATUS = 101
_OK, _EOF, _NO_SUCH_FILE, _PERMISSION_DENIED = 0, 1, 2, 3
_ERRNO = {_NO_SUCH_FILE: errno.ENOENT, _PERMISSION_DENIED: errno.EACCES}
_HAS_SIZE, _HAS_OWNER, _HAS_MODE, _HAS_TIMES, _HAS_MORE = 1, 2, 4, 8, 1 << 31
_OPEN_TO_READ, _CONTINUED, _NEW = 1, 2, 2 | 8 | 16
_REQUEST_BYTES = 32 << 10
"""What every server accepts."""
_MOST_REQUESTS = 64
"""So many answers fit into a pipe: no two sides wait for each other."""
_RENAME = "posix-rename@openssh.com"


class Stat(Struct, frozen=True):
    """What there is under a name."""

    size: int
    is_folder: bool


class Sftp:
    """A connection for SFTP with LOGIN; raises OSError, or MirrorError where the login is refused."""

    def __init__(self, login: Login) -> None:
        self._login, self._ssh = login, login.start("sftp", "-s")
        weakref.finalize(self, end, self._ssh)
        self._number, self._early = 0, dict[int, bytes]()
        assert self._ssh.stdin is not None  # noqa: S101 - pipes were asked for
        assert self._ssh.stdout is not None  # noqa: S101 - as above
        self._to, self._from = self._ssh.stdin, self._ssh.stdout
        self._put(struct.pack(">BI", _INIT, 3))
        self._packet()

    def names(self, folder: str) -> list[str]:
        """Return the names in FOLDER, without ``.`` and ``..``."""
        handle, found = self._ask(_OPENDIR, _text(folder)), list[str]()
        with suppress(EOFError):
            while True:
                answer = self._ask(_READDIR, handle)
                (count,), rest = struct.unpack_from(">I", answer), answer[4:]
                for _ in range(count):
                    name, rest = _cut(rest)
                    _, rest = _cut(rest)
                    _, rest = _attributes(rest)
                    found.append(name.decode("utf-8", "surrogateescape"))
        self._ask(_CLOSE, handle)
        return sorted(name for name in found if name not in {".", ".."})

    def stat(self, path: str) -> Stat | None:
        """Return what PATH is; None if there is nothing."""
        try:
            return _attributes(self._ask(_STAT, _text(path)))[0]
        except FileNotFoundError:
            return None

    def make_folder(self, path: str, mode: int) -> None:
        """Make folder PATH and those above it, unless they are there."""
        if self.stat(path) is None:
            self.make_folder(path.rpartition("/")[0] or "/", mode)
            self._ask(_MKDIR, _text(path) + struct.pack(">II", _HAS_MODE, mode))

    def remove(self, path: str) -> None:
        """Remove PATH with all that is in it, if it is there."""
        found = self.stat(path)
        if found is not None and found.is_folder:
            for name in self.names(path):
                self.remove(f"{path}/{name}")
            self._ask(_RMDIR, _text(path))
        elif found is not None:
            self._ask(_REMOVE, _text(path))

    def replace(self, source: str, target: str) -> None:
        """Rename SOURCE to TARGET, which it replaces."""
        self._ask(_EXTENDED, _text(_RENAME) + _text(source) + _text(target))

    def read(self, path: str) -> Iterator[bytes]:
        """Yield the content of file PATH."""
        handle = self._ask(_OPEN, _text(path) + struct.pack(">II", _OPEN_TO_READ, 0))
        size = _attributes(self._ask(_FSTAT, handle))[0].size
        asked, begun = deque[tuple[int, int]](), 0
        while asked or begun < size:
            while begun < size and len(asked) < _MOST_REQUESTS:
                part = min(_REQUEST_BYTES, size - begun)
                asked.append((self._send(_READ, handle + struct.pack(">QI", begun, part)), part))
                begun += part
            number, part = asked.popleft()
            data, _ = _cut(self._answer(number))
            if len(data) != part:
                raise OSError(f"the server sent {len(data)} bytes where {part} were asked for")
            yield data
        self._ask(_CLOSE, handle)

    def write(self, path: str, start: int, mode: int, blocks: Iterable[bytes]) -> None:
        """Write BLOCKS to file PATH from byte START on, and set its MODE; a START of 0 replaces the file."""
        wanted = struct.pack(">II", _HAS_MODE, mode)
        handle = self._ask(_OPEN, _text(path) + struct.pack(">I", _CONTINUED if start else _NEW) + wanted)
        self._ask(_SETSTAT, _text(path) + wanted)
        asked = deque[int]()
        for data in blocks:
            for first in range(0, len(data), _REQUEST_BYTES):
                part = data[first : first + _REQUEST_BYTES]
                asked.append(self._send(_WRITE, handle + struct.pack(">QI", start, len(part)), part))
                start += len(part)
                if len(asked) == _MOST_REQUESTS:
                    self._answer(asked.popleft())
        for number in asked:
            self._answer(number)
        self._ask(_CLOSE, handle)

    def _ask(self, kind: int, payload: bytes) -> bytes:
        return self._answer(self._send(kind, payload))

    def _send(self, kind: int, payload: bytes, data: bytes = b"") -> int:
        """Send a request whose payload ends with DATA, and return its number."""
        self._number += 1
        self._put(struct.pack(">BI", kind, self._number) + payload, data)
        return self._number

    def _put(self, start: bytes, data: bytes = b"") -> None:
        try:
            self._to.write(struct.pack(">I", len(start) + len(data)) + start)
            self._to.write(data)
            self._to.flush()
        except BrokenPipeError:
            raise self._login.failure(self._ssh) from None

    def _answer(self, number: int) -> bytes:
        """Return the answer to request NUMBER; raise EOFError at an end, and OSError for what the server refuses."""
        while number not in self._early:
            packet = self._packet()
            self._early[struct.unpack_from(">I", packet, 1)[0]] = packet
        packet = self._early.pop(number)
        if packet[0] != _STATUS:
            return packet[5:]
        (code,), said = struct.unpack_from(">I", packet, 5), _cut(packet[9:])[0]
        if code == _EOF:
            raise EOFError
        if code != _OK:
            raise OSError(_ERRNO.get(code, errno.EIO), said.decode("utf-8", "replace") or "refused")
        return b""

    def _packet(self) -> bytes:
        return self._exactly(struct.unpack(">I", self._exactly(4))[0])

    def _exactly(self, size: int) -> bytes:
        data = self._from.read(size)
        if len(data) < size:
            raise self._login.failure(self._ssh)
        return data


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    return struct.pack(">I", len(data)) + data


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """Return the string with which DATA begins, and the rest."""
    end = 4 + struct.unpack_from(">I", data)[0]
    return data[4:end], data[end:]


def _attributes(data: bytes) -> tuple[Stat, bytes]:
    """Return what is known from the attributes with which DATA begins, and the rest."""
    (flags,), at, size, mode = struct.unpack_from(">I", data), 4, 0, 0
    if flags & _HAS_SIZE:
        (size,), at = struct.unpack_from(">Q", data, at), at + 8
    at += 8 if flags & _HAS_OWNER else 0
    if flags & _HAS_MODE:
        (mode,), at = struct.unpack_from(">I", data, at), at + 4
    at += 8 if flags & _HAS_TIMES else 0
    rest = data[at:]
    if flags & _HAS_MORE:
        (count,), rest = struct.unpack_from(">I", rest), rest[4:]
        for _ in range(2 * count):
            _, rest = _cut(rest)
    return Stat(size=size, is_folder=stat.S_ISDIR(mode)), rest
