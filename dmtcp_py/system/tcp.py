"""TCP sockets as the kernel lists them in /proc/net/tcp and tcp6. Uses only the standard library."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_TABLES = (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6))
_FIELDS = 10
"""Number of fields of a line up to the inode."""
_ESTABLISHED = "01"


class TcpSocket(NamedTuple):
    """A line of the table. NEAR (local) and FAR (remote) are addresses with ports, as the kernel writes them."""

    family: int
    near: str
    far: str
    state: str
    uid: int
    inode: int
    """0 if its process has closed it."""

    @property
    def port(self) -> int:
        """The local port."""
        return int(self.near.partition(":")[2], 16)

    @property
    def is_established(self) -> bool:
        """Whether it is connected."""
        return self.state == _ESTABLISHED


def tcp_sockets(pid: int | str = "self") -> list[TcpSocket]:
    """Return the TCP sockets in the network namespace of process PID."""
    found = []
    for table, family in _TABLES:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
                _, near, far, state, *_, uid, _, inode = line.split()[:_FIELDS]
                ends = {"near": near, "far": far}
                found.append(TcpSocket(family=family, **ends, state=state, uid=int(uid), inode=int(inode)))
    return found


def packed(end: str) -> tuple[bytes, bytes]:
    """Return address and port of END in network byte order; the kernel prints 32-bit words in the machine's order."""
    address, _, port = end.partition(":")
    words = [int(address[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(address), 8)]
    return b"".join(words), int(port, 16).to_bytes(2, "big")


def readable(end: str) -> str:
    """Return END as readable text: address and port."""
    address, port = packed(end)
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6  # noqa: PLR2004 - bytes of an IPv4 address
    return f"{socket.inet_ntop(family, address)} port {int.from_bytes(port, 'big')}"
