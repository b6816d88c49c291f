"""Options of sockets that criu forgets: recorded at a dump, and set again where they are not the same after a restore.

Uses the standard library alone.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from dmtcp_py.engine.criu.inside.descriptors import descriptors_of, taken

if TYPE_CHECKING:
    from collections.abc import Iterable

_INTERNET = (socket.AF_INET, socket.AF_INET6)


class Option(NamedTuple):
    """An option with a number for a value."""

    name: str
    level: int
    number: int


TABLE = (
    Option("TCP_USER_TIMEOUT", socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
    Option("TCP_QUICKACK", socket.IPPROTO_TCP, socket.TCP_QUICKACK),
    Option("IP_TTL", socket.IPPROTO_IP, socket.IP_TTL),
    Option("IP_TOS", socket.IPPROTO_IP, socket.IP_TOS),
    Option("IP_MULTICAST_TTL", socket.IPPROTO_IP, socket.IP_MULTICAST_TTL),
    Option("IP_MULTICAST_LOOP", socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP),
    Option("IPV6_UNICAST_HOPS", socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
    Option("IPV6_MULTICAST_HOPS", socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS),
    Option("IPV6_MULTICAST_LOOP", socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP),
)


def record(pid: int) -> list[dict[str, Any]]:
    """Return the options of the sockets of process PID."""
    found = []
    for fd in descriptors_of(pid, "socket:["):
        # not every kernel hands over descriptors, and what is not recorded stays as criu restores it
        with suppress(OSError), taken(pid, fd) as own, socket.socket(fileno=os.dup(own)) as one:
            if one.family in _INTERNET:
                found.append({"pid": pid, "fd": fd, "options": _options_of(one)})
    return found


def set_again(recorded: Iterable[dict[str, Any]]) -> list[str]:
    """Set what is not as RECORDED; return what could not be set."""
    return [problem for values in recorded for problem in _set_again(values)]


def _set_again(values: dict[str, Any]) -> list[str]:
    pid, fd, lost = values["pid"], values["fd"], []
    try:
        with taken(pid, fd) as own, socket.socket(fileno=os.dup(own)) as one:
            now = _options_of(one)
            for option in TABLE:
                value = values["options"].get(option.name)
                if value is not None and now.get(option.name) != value:
                    one.setsockopt(option.level, option.number, value)
    except OSError as error:
        lost.append(f"options of socket {fd} of process {pid}: {error.strerror}")
    return lost


def _options_of(one: socket.socket) -> dict[str, int]:
    found = {}
    for option in TABLE:
        if one.type == socket.SOCK_STREAM and "MULTICAST" in option.name:
            # can be read but not set, and has no effect
            continue
        # not every socket has each of them
        with suppress(OSError):
            found[option.name] = one.getsockopt(option.level, option.number)
    return found
