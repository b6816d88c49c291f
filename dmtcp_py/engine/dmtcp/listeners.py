"""The TCP ports at which a program listened at its checkpoint, as native/state_listeners.c recorded them.

A restart needs them. The kernel keeps the ports of a killed program for a minute, for sockets without SO_REUSEADDR.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from dmtcp_py.engine import tcp_ports
from dmtcp_py.state import record
from dmtcp_py.system.timeout import Timeout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PORT = re.compile(r"port of the listening socket that is descriptor (\d+)")
_LOST = re.compile(rf"{_PORT.pattern} was (\d+)")
_POLL_S = 0.25


def await_ports(images: Path, is_cancelled: Callable[[], bool], warn: Callable[[str], None]) -> bool:
    """Wait until the kernel lets go of the ports of the program in IMAGES; return False if that was cancelled."""
    ports = _exclusive_ports(images)
    if not ports:
        return True
    tcp_ports.free(ports)
    timeout = Timeout(tcp_ports.KEPT_S)
    if tcp_ports.has_remains(ports):
        warn("waiting until the kernel lets go of the TCP ports of the killed program, which takes a minute at most")
    while tcp_ports.has_remains(ports) and not timeout.is_over():
        if is_cancelled():
            return False
        time.sleep(_POLL_S)
    return True


def refuse_if_held(difference: str) -> None:
    """Raise EngineError if DIFFERENCE is about a port that another program has."""
    if lost := _LOST.search(difference):
        tcp_ports.refuse_held({int(lost[2])})


def _exclusive_ports(images: Path) -> set[int]:
    """Return the ports that sockets without SO_REUSEADDR listen at."""
    return {
        int(value)
        for values in record.read(images).values()
        for name, value in values.items()
        if (found := _PORT.fullmatch(name)) and values.get(f"SO_REUSEADDR of descriptor {found[1]}") != "1"
    }
