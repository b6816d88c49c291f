"""The TCP ports that a computation had and needs again: freeing them, and finding other programs that use them.

The kernel keeps the address of a connection for a minute after its end, although both ends died with the computation.
Such remains are destroyed, as ``ss --kill`` does; a socket of a living process never is. `main` runs inside the
computation's namespaces, with the standard library only: it frees the ports of a generation and executes criu.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.errors import EngineError
from dmtcp_py.rollback import held_files
from dmtcp_py.system.proc import sockets_of
from dmtcp_py.system.tcp import TcpSocket, packed, tcp_sockets

if TYPE_CHECKING:
    from collections.abc import Sequence

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
_NO_INODE = 0
KEPT_S = 70.0
"""How long a kernel that cannot free ports on request keeps them after a connection ends: TIME_WAIT and a margin."""
PREDECESSOR_S = 3.0
"""How long the process that uses a port may still be one of the previous attempt, which is ending."""


def free(ports: set[int]) -> None:
    """Destroy the ends of connections on PORTS that belong to no process any more, if the kernel supports that."""
    with suppress(OSError), socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(_REPLY_S)
        for remains in [one for one in _sockets_on(ports) if one.inode == _NO_INODE]:
            _destroy(netlink, remains)


def holders(ports: set[int]) -> list[str]:
    """Return, as text, which of PORTS living processes use, with the processes that this user may see."""
    held = {one.inode: one.port for one in _sockets_on(ports) if one.inode != _NO_INODE}
    found: dict[int, str] = dict.fromkeys(held.values(), "")
    for name in os.listdir("/proc") if held else []:  # noqa: PTH208 - only names are wanted
        with suppress(OSError):
            for inode in sockets_of(int(name)) & held.keys() if name.isdigit() else ():
                program = Path(f"/proc/{name}/comm").read_text(encoding="utf-8", errors="replace").strip()
                found[held[inode]] = f" ({program}, pid {name})"
    return [f"{port}{holder}" for port, holder in sorted(found.items())]


def refuse_held(ports: set[int]) -> None:
    """Raise EngineError if living processes use PORTS, with their names."""
    if held := holders(ports):
        raise EngineError(
            f"other programs on this machine use the program's TCP ports: {', '.join(held)}",
            "run the same line again once they are free, or on another machine",
        )


def has_remains(ports: set[int]) -> bool:
    """Return whether the kernel keeps PORTS for connections that belong to no process any more."""
    return any(one.inode == _NO_INODE for one in _sockets_on(ports))


def _sockets_on(ports: set[int]) -> list[TcpSocket]:
    return [one for one in tcp_sockets() if one.port in ports]


def _destroy(netlink: socket.socket, remains: TcpSocket) -> None:
    """Look up REMAINS once more by its addresses, and destroy exactly that socket if no process has it."""
    (near, near_port), (far, far_port) = packed(remains.near), packed(remains.far)
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


def main(words: Sequence[str]) -> None:
    """Free the ports of a generation and execute a command; WORDS: the generation's folder, then the command."""
    images, *argv = words
    with suppress(OSError, ValueError):
        if ports := set(held_files.read(Path(images)).ports):
            free(ports)
    os.execv(argv[0], argv)  # noqa: S606 - criu's command line
