"""Whose the connections from other nodes to the coordinator are: native/peers.c asks, and the agent there looks.

Each agent has a second link for that, so that no answer waits for other work.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dmtcp_py.system.tcp import packed, tcp_sockets

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.engine.dmtcp.nodes.link import Link

_END_S = 20.0
_MOST_BYTES = 256


class Peers:
    """Answers the coordinator; LINKS_TO returns the links to the agents at an address. Closed by `close`."""

    def __init__(self, links_to: Callable[[str], list[Link]]) -> None:
        self._links_to = links_to
        self._here, self._coordinator = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Return the end for the coordinator."""
        return self._coordinator.fileno()

    def close(self) -> None:
        """End the answers."""
        with suppress(OSError):
            self._here.shutdown(socket.SHUT_RDWR)
        self._thread.join(_END_S)
        self._here.close()
        self._coordinator.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while question := self._here.recv(_MOST_BYTES):
                self._here.send(b"1" if self._is_ours(question.decode()) else b"0")

    def _is_ours(self, question: str) -> bool:
        address, port, our_address, our_port = question.split()
        values = {"near": [address, int(port)], "far": [our_address, int(our_port)]}
        for link in self._links_to(address):
            with suppress(OSError, ValueError):
                link.send(values)
                # no time-out: where the agent stands still, the computation does too, and a lost node ends the link
                if link.receive().get("is_ours") is True:
                    return True
        return False


def serve(link: Link) -> None:
    """Answer at the other end of LINK, until that is closed, whether sockets on this node are this user's."""
    with suppress(OSError, ValueError):
        while True:
            link.send({"is_ours": is_ours(**link.receive())})


def is_ours(near: list[Any], far: list[Any]) -> bool:
    """Return whether the socket on this node with these two ends is open, and this user's. An end is address, port."""
    ends = [(socket.inet_aton(str(address)), int(port).to_bytes(2, "big")) for address, port in (near, far)]
    found = [one for one in tcp_sockets() if one.family == socket.AF_INET and [*map(packed, one[1:3])] == ends]
    # a socket that its process has closed has no inode, and its user is root
    return any(one.inode and one.uid == os.geteuid() for one in found)
