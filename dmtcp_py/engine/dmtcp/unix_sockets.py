"""The Unix sockets and their peers, from the kernel's sock_diag(7), as no file in /proc has the peers."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Iterator

_NETLINK_SOCK_DIAG = 4
_BY_FAMILY, _DONE, _ERROR = 20, 3, 2
_REQUEST_DUMP = 0x301
_SHOW_NAME_PEER_AND_WAITING = 1 | 4 | 8
_NAME, _PEER, _WAITING, _SHUTDOWN = 0, 2, 3, 6
_ONE_DIRECTION = (b"\1", b"\2")
_HEADER = struct.Struct("=IHHII")
_MESSAGE = struct.Struct("=BBBBIII")
_ATTRIBUTE = struct.Struct("=HH")
_ALL_STATES = 0xFFFFFFFF
_ANSWER_S = 5.0
_BLOCK = 1 << 18


class UnixSocket(Struct, frozen=True):
    """A socket by its inode, with the inode of its PEER (0: none) and its NAME as ss(8) prints it."""

    inode: int
    peer: int
    name: str
    waiting: tuple[int, ...] = ()
    """The inodes of the sockets whose connections it has not accepted yet: their other ends have no inode."""
    kind: int = socket.SOCK_STREAM
    is_half_closed: bool = False
    """Whether it was shut down in one direction only."""


def unix_sockets() -> dict[int, UnixSocket]:
    """Return all Unix sockets of this network namespace by inode; none if the kernel does not answer."""
    found = {}
    with suppress(OSError), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as asked:
        asked.settimeout(_ANSWER_S)
        request = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, _ALL_STATES, 0, _SHOW_NAME_PEER_AND_WAITING, 0, 0)
        asked.sendto(_HEADER.pack(_HEADER.size + len(request), _BY_FAMILY, _REQUEST_DUMP, 1, 0) + request, (0, 0))
        while (answer := asked.recv(_BLOCK)) and not _is_last(answer):
            found.update({one.inode: one for one in _read(answer)})
    for one in list(found.values()):
        found.update({inode: replace(found[inode], peer=one.inode) for inode in one.waiting if inode in found})
    return found


def _is_last(answer: bytes) -> bool:
    return _HEADER.unpack_from(answer)[1] in (_DONE, _ERROR)


def _read(answer: bytes) -> Iterator[UnixSocket]:
    at = 0
    while at + _HEADER.size + _MESSAGE.size <= len(answer):
        length, kind, *_ = _HEADER.unpack_from(answer, at)
        if kind != _BY_FAMILY or length < _HEADER.size:
            return
        _, kind_of_socket, _, _, inode, *_ = _MESSAGE.unpack_from(answer, at + _HEADER.size)
        values = dict(_attributes(answer[at + _HEADER.size + _MESSAGE.size : at + length]))
        peer = struct.unpack("=I", values[_PEER])[0] if len(values.get(_PEER, b"")) == 4 else 0  # noqa: PLR2004 - a u32
        waiting = values.get(_WAITING, b"")
        inodes = struct.unpack(f"={len(waiting) // 4}I", waiting)
        yield UnixSocket(
            inode=inode,
            peer=peer,
            name=_readable(values.get(_NAME, b"")),
            waiting=inodes,
            kind=kind_of_socket,
            is_half_closed=values.get(_SHUTDOWN, b"") in _ONE_DIRECTION,
        )
        at += _aligned(length)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _readable(name: bytes) -> str:
    """Return a name as ss(8) prints it: one that is not a file's begins with ``@``."""
    text = name.decode("utf-8", "replace")
    return f"@{text[1:]}" if text.startswith("\0") else text.rstrip("\0")
