"""A network of the program's own: a loopback interface, with the addresses under which the program looks for itself.

Uses the standard library alone.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# linux/sockios.h, linux/if.h
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_SIOCSIFADDR, _SIOCSIFNETMASK = 0x8916, 0x891C
_IFF_UP = 1
_ONLY_THIS = "255.255.255.255"


def bring_up(addresses: Iterable[str]) -> None:
    """Bring loopback up in the network of this process, with IPv4 ADDRESSES beside its own. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH22x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(sock, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))
        for number, address in enumerate(addresses):
            for code, value in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, _ONLY_THIS)):
                words = (f"lo:{number}".encode(), socket.AF_INET, socket.inet_aton(value))
                fcntl.ioctl(sock, code, struct.pack("16sH2x4s16x", *words))


def main(words: Sequence[str]) -> None:
    """Try it; WORDS: the addresses."""
    bring_up(words)
