"""How the nodes of a computation reach each other: their addresses and names, over IPv4."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from dmtcp_py.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence


def addresses(name: str) -> list[str]:
    """Return the addresses by which other nodes may reach this one, those to which its NAME resolves first."""
    import psutil  # noqa: PLC0415 - 19 ms that a program on one node need not wait for

    mine = [
        one.address
        for its in psutil.net_if_addrs().values()
        for one in its
        if one.family == socket.AF_INET and not ipaddress.ip_address(one.address).is_loopback
    ]
    if not mine:
        raise EngineError(
            "this node has no IPv4 address but localhost", "connect it to the other nodes, or use --nodes 1"
        )
    named: list[str] = []
    with suppress(OSError):
        named = [str(found[4][0]) for found in socket.getaddrinfo(name, None, socket.AF_INET)]
    return list(dict.fromkeys([*(address for address in named if address in mine), *mine]))


def network(address: str, others: Sequence[str]) -> str | None:
    """Return the network of ADDRESS, such as ``10.0.0.0/24``; None unless all OTHERS are in it too."""
    import psutil  # noqa: PLC0415 - as above

    for its in psutil.net_if_addrs().values():
        for one in its:
            if one.family == socket.AF_INET and one.address == address and one.netmask:
                found = ipaddress.ip_network(f"{address}/{one.netmask}", strict=False)
                return str(found) if all(ipaddress.ip_address(other) in found for other in others) else None
    return None


def aliases(name: str) -> set[str]:
    """Return the names by which node NAME may be called: this one, its short name, its aliases and addresses."""
    found = {name.lower(), name.lower().partition(".")[0]}
    with suppress(OSError):
        host, others, numbers = socket.gethostbyname_ex(name)
        found |= {host.lower(), *map(str.lower, others), *numbers}
    return {alias for alias in found if alias != "localhost" and not alias.startswith("127.")}
