"""The TCP ports that a computation had and needs again: freed from what is left of it, and who else has them.

The kernel keeps the address of a connection for a minute after its end, although both ends died with the computation.
Such remains are taken away, as ``ss --kill`` does; nothing that belongs to a living process is. Run by path, with the
standard library alone, it frees the ports of the generation in a folder and becomes criu.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

# linux/sock_diag.h, linux/inet_diag.h, linux/netlink.h
_SOCK_DIAG_BY_FAMILY = 20
_SOCK_DESTROY = 21
_NLM_F_REQUEST = 1
_NLM_F_ACK = 4
_NETLINK_SOCK_DIAG = 4
_ANY_COOKIE = b"\xff" * 8
_ALL_STATES = 0xFFFFFFFF
_ID_AT, _COOKIE_AT, _INODE_AT = 20, 60, 84
_ANSWER_BYTES = 88
_REPLY_S = 1.0
_NO_INODE = "0"
_FIELDS = 10
_TABLES = (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6))


class _Socket(NamedTuple):
    """A line of /proc/net/tcp."""

    family: int
    near: str
    far: str
    inode: str

    @property
    def port(self) -> int:
        return int(self.near.partition(":")[2], 16)


def free(ports: set[int]) -> None:
    """Take away the ends of connections on PORTS that belong to no process any more, where the kernel can do that."""
    with suppress(OSError), socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(_REPLY_S)
        for remains in [one for one in _sockets_on(ports) if one.inode == _NO_INODE]:
            _destroy(netlink, remains)


def holders(ports: set[int]) -> list[str]:
    """Return, in words, which of PORTS living processes have, and who they are as far as this user may see that."""
    held = {one.inode: one.port for one in _sockets_on(ports) if one.inode != _NO_INODE}
    found: dict[int, str] = dict.fromkeys(held.values(), "")
    for pid in [name for name in os.listdir("/proc") if name.isdigit()] if held else []:  # noqa: PTH208 - names only
        with suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
                target = ""
                with suppress(FileNotFoundError):
                    target = os.readlink(f"/proc/{pid}/fd/{fd}")
                port = held.get(target.removeprefix("socket:[").removesuffix("]"))
                if port is not None:
                    found[port] = f" ({Path(f'/proc/{pid}/comm').read_text(encoding='utf-8').strip()}, pid {pid})"
    return [f"{port}{who}" for port, who in sorted(found.items())]


def _sockets_on(ports: set[int]) -> list[_Socket]:
    found = []
    for table, family in _TABLES:
        with suppress(OSError):
            for line in Path(f"/proc/self/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split(None, _FIELDS)
                found.append(_Socket(family, fields[1], fields[2], fields[9]))
    return [one for one in found if one.port in ports]


def _destroy(netlink: socket.socket, remains: _Socket) -> None:
    """Ask for REMAINS once more by its addresses, and destroy just what answers, if no process has it."""
    (near, near_port), (far, far_port) = _packed(remains.near), _packed(remains.far)
    address = struct.pack("=2s2s16s16sI", near_port, far_port, near, far, 0)
    with suppress(OSError):
        netlink.send(_request(_SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, remains.family, address + _ANY_COOKIE))
        answer = netlink.recv(1 << 16)
        if len(answer) < _ANSWER_BYTES or struct.unpack_from("=H", answer, 4)[0] != _SOCK_DIAG_BY_FAMILY:
            return
        is_it = answer[_ID_AT : _ID_AT + 4] == near_port + far_port
        if is_it and struct.unpack_from("=I", answer, _INODE_AT)[0] == 0:
            known = address + answer[_COOKIE_AT : _COOKIE_AT + 8]
            netlink.send(_request(_SOCK_DESTROY, _NLM_F_REQUEST | _NLM_F_ACK, remains.family, known))
            netlink.recv(1 << 16)


def _request(kind: int, flags: int, family: int, address: bytes) -> bytes:
    body = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, _ALL_STATES) + address
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body


def _packed(end: str) -> tuple[bytes, bytes]:
    """Return address and port as they are on the wire, from what /proc/net writes: 32-bit words in machine order."""
    address, _, port = end.partition(":")
    words = [int(address[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(address), 8)]
    return b"".join(words), int(port, 16).to_bytes(2, "big")


def main(images: str, argv: list[str]) -> None:
    """Free the ports of the generation in folder IMAGES, and become ARGV."""
    with suppress(OSError, ValueError):
        look = json.loads((Path(images) / "files.json").read_text(encoding="utf-8"))
        if ports := set(look.get("ports", ())):
            free(ports)
    os.execv(argv[0], argv)  # noqa: S606 - criu's own words


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
