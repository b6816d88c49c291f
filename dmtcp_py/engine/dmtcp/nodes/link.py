"""The connection between the supervisor and an agent: JSON messages, one a line, once each has proved its identity."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dmtcp_py.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

TOKEN = "DMTCP_RUN_TOKEN"  # noqa: S105 - the name of a variable
"""The environment variable with the secret that the two sides share."""
AGENT, SUPERVISOR = "agent", "supervisor"
"""The names of the two sides in their proofs."""
PEERS = "peers"
"""What an agent's second link is for; see `dmtcp_py.engine.dmtcp.nodes.peers`."""
_CONNECT_S = 10.0
_PROOF_S = 10.0
_IDLE_S, _PROBE_S, _PROBES = 10, 5, 3
"""TCP keep-alive, by which the loss of a whole node is noticed."""


class Link:
    """One end of the connection; closed by `close`."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._lines = connection.makefile("rb")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)

    @property
    def own_address(self) -> str:
        """The address of this end."""
        return str(self._socket.getsockname()[0])

    @property
    def peer_address(self) -> str:
        """The address of the other end."""
        return str(self._socket.getpeername()[0])

    def send(self, message: dict[str, Any]) -> None:
        """Send MESSAGE. Raises OSError."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout_s: float | None = None) -> dict[str, Any]:
        """Return the next message; raise OSError if none arrives within TIMEOUT_S, or the other end is gone."""
        self._socket.settimeout(timeout_s)
        try:
            line = self._lines.readline()
        finally:
            with suppress(OSError):
                self._socket.settimeout(None)
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the connection has ended")
        return dict(json.loads(line))

    def prove(self, token: str, me: str, other: str) -> None:
        """Prove to OTHER, as ME, that this end knows TOKEN, and have it do the same; OSError or EngineError if not."""
        nonce = secrets.token_hex(16)
        self.send({"nonce": nonce})
        self.send({"proof": _proof(token, me, str(self.receive(_PROOF_S).get("nonce")))})
        if not hmac.compare_digest(str(self.receive(_PROOF_S).get("proof")), _proof(token, other, nonce)):
            raise EngineError(f"{self.peer_address} does not know the token of this computation")

    def close(self) -> None:
        """End the connection."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._lines.close()
        self._socket.close()


def connect(addresses: Sequence[str], port: int) -> Link:
    """Return a link to the first of ADDRESSES that answers. Raises EngineError if none does."""
    for address in addresses:
        with suppress(OSError):
            return Link(socket.create_connection((address, port), timeout=_CONNECT_S))
    raise EngineError(
        f"none of {', '.join(addresses)} answers on port {port}", "check whether a firewall is between the nodes"
    )


def _proof(token: str, side: str, nonce: str) -> str:
    return hmac.new(token.encode(), f"{side} {nonce}".encode(), hashlib.sha256).hexdigest()
