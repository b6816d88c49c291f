"""Which network a program is in: the host's, or one of its own, in which it reaches itself and nothing else.

Where CRIU has no privileges, it restores TCP connections only in a network that belongs to the program's namespaces.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmtcp_py.engine.criu import ways
from dmtcp_py.engine.criu.inside.argv import inside_argv
from dmtcp_py.engine.criu.keeper_client import in_namespaces
from dmtcp_py.engine.executable import is_mpi_launcher
from dmtcp_py.errors import EngineError
from dmtcp_py.options import HOST_NETWORK, OWN_NETWORK
from dmtcp_py.system.tools import run_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dmtcp_py.engine.criu.ways import Way
    from dmtcp_py.engine.protocol import Launch

_TRIAL_S = 30.0
_LAUNCHERS = ("torchrun", "accelerate", "deepspeed", "horovodrun")
_MODULES = ("torch.distributed.run", "torch.distributed.launch", "accelerate.commands.launch")
_LOOPBACK = "127."


def chosen(way: Way, launch: Launch) -> Way:
    """Return WAY with the network for what LAUNCH starts, and say which.

    Raises EngineError if the user asked for a network of the program's own, and there can be none.
    """
    asked, speaker = launch.network, talks_to_itself(launch.command)
    if asked == HOST_NETWORK or (asked is None and (speaker is None or way.takes_connections)):
        _say(way, launch.say)
        return way
    own = way.in_own_network(_addresses())
    problem = _problem(own)
    if problem and asked == OWN_NETWORK:
        raise EngineError(f"--network own is not possible here: {problem}", "see 'sysctl user.max_net_namespaces'")
    why = "--network own" if asked else f"{speaker} connects its own processes"
    _say(way if problem else own, launch.say, f": {problem}" if problem else f": {why}")
    return way if problem else own


def recorded(record: Mapping[str, Any], default: Way, say: Callable[[str], None]) -> Way:
    """Return the way that made a generation by its RECORD, DEFAULT if that is older, and say which."""
    way = ways.named(record["way"]) if "way" in record else default
    addresses = record.get("addresses")
    way = way if addresses is None else way.in_own_network(addresses)
    _say(way, say)
    return way


def talks_to_itself(command: Sequence[str]) -> str | None:
    """Return the word of COMMAND that starts processes which connect to each other; None if there is none."""
    for before, word in zip(("", *command), command, strict=False):
        is_module = before == "-m" and word in _MODULES
        if is_module or Path(word).name in _LAUNCHERS or is_mpi_launcher(Path(word)):
            return Path(word).name
    return None


def _addresses() -> list[str]:
    """Return the addresses of this host's name, under which programs look for themselves."""
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
    except OSError:
        return []
    addresses = {str(address[0]) for *_, address in found}
    return sorted(address for address in addresses if not address.startswith(_LOOPBACK))


def _problem(way: Way) -> str | None:
    """Return why the network of WAY cannot be made; None if it can."""
    argv = inside_argv("engine.criu.inside.network", *(way.addresses or ()))
    try:
        done = run_tool(in_namespaces(way, None, argv), timeout_s=_TRIAL_S)
    except EngineError as error:
        return str(error)
    said = [line.strip() for line in done.output.splitlines() if line.strip()]
    return None if done.status == 0 else (said or [f"status {done.status}"])[-1]


def _say(way: Way, say: Callable[[str], None], why: str = "") -> None:
    say(f"CRIU runs {way.words}{why}")
