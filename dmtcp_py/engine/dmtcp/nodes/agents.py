"""The nodes of a computation as its supervisor sees them: an agent on each other one, and what the program asks for.

Knows nothing of schedulers: how a command is run on a node is given. The first node is this one and has no agent.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dmtcp_py.engine.dmtcp.nodes import rsh
from dmtcp_py.engine.dmtcp.nodes.link import AGENT, SUPERVISOR, TOKEN, Link
from dmtcp_py.engine.dmtcp.nodes.network import addresses, aliases, network
from dmtcp_py.engine.dmtcp.nodes.remote_node import ANSWER_S, RemoteNode
from dmtcp_py.engine.dmtcp.nodes.rsh_command import command_path, make_command
from dmtcp_py.errors import EngineError
from dmtcp_py.system.child import Child, ChildStdio
from dmtcp_py.system.files import make_private_dir, remove_tree, write_atomic
from dmtcp_py.system.proc import command_of, process_tree
from dmtcp_py.system.timeout import Timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dmtcp_py.engine.protocol import NodeList

_UP_S = 120.0
"""So long agents have to come up: a scheduler may take its time."""
_LOOK_S = 0.1
_SETTLES_S = 2.0
"""So long what was started on another node has to find those who wait for it, by an address that may soon be wrong."""
_MODULE = "dmtcp_py.engine.dmtcp.nodes.agent"
# within the computation, with its streams and its status in files of the checkpoint
_WRAPPER = """\
exec </dev/null >>"$1" 2>>"$2" 3>>"$3"
/bin/sh -c "$4" 3>&-
echo $? >&3
"""


class NodeAgents:
    """The nodes of one computation, from the start of their agents to their end."""

    def __init__(self, listed: NodeList, environ: Mapping[str, str], folder: Path) -> None:
        self._list = listed
        self._environ = environ
        self._token = secrets.token_hex(32)
        self._agents: list[RemoteNode] = []
        self._started: set[str] = set()
        self._settled_at = 0.0
        self._local: list[Child] = []
        self._start: Callable[[int, Sequence[str]], tuple[Sequence[str], Mapping[str, str]]] | None = None
        self._closing = threading.Event()
        self._serving = threading.Lock()
        self._thread: threading.Thread | None = None
        make_command(self._list.spool)
        with socket.create_server(("0.0.0.0", 0)) as listener:  # noqa: S104 - the other nodes have to reach it
            try:
                self._start_agents(listener.getsockname()[1], folder)
                self._await_agents(listener)
            except BaseException:
                self.close()
                raise
        self.address = self._address()

    @property
    def count(self) -> int:
        """How many nodes there are, this one counted."""
        return len(self._list.names)

    @property
    def pids(self) -> list[int]:
        """Our children that are there for it."""
        return [node.child.pid for node in self._agents] + [child.pid for child in self._local]

    @property
    def started(self) -> list[str]:
        """The commands that the program had started on other nodes until now, by the names of their files."""
        return sorted(self._started)

    def lost(self) -> str | None:
        """Return which node's agent has ended, and its last words; None where all are there."""
        for node in self._agents:
            if node.child.poll() is not None:
                return f"node {node.name} of the computation is lost ({node.said or 'nothing was said'})"
        return None

    def silent(self) -> str | None:
        """Return which node's agent does not answer; None where all do."""
        try:
            for _ in self.ask_all("size", folder=str(self._list.spool)):
                pass
        except EngineError as error:
            return error.what
        return None

    def folder(self, index: int) -> str:
        """Return where temporary files go on node INDEX."""
        return self._agents[index - 1].folder

    def environ(self, index: int, environ: Mapping[str, str]) -> dict[str, str]:
        """Return ENVIRON as it is to be on node INDEX."""
        own = self._agents[index - 1].environ if index else {}
        return {**environ, **own, rsh.NODE: str(index)}

    def settings(self) -> dict[str, str]:
        """Return what a program of several nodes gets into its environment: our rsh, and the network between them."""
        path = f"{self._command.parent}:{self._environ.get('PATH', os.defpath)}"
        cidr = network(self.address, [node.link.there for node in self._agents if node.link])
        wanted = ("OMPI_MCA_btl_tcp_if_include", "OMPI_MCA_oob_tcp_if_include")
        found = {name: cidr for name in wanted if cidr and name not in self._environ}
        return {"PATH": path, rsh.NODE: "0", **found}

    def serve(
        self,
        start: Callable[[int, Sequence[str]], tuple[Sequence[str], Mapping[str, str]]],
        started: Sequence[str] | None = None,
    ) -> None:
        """Start what the program asks for, from now on; START gives the engine's command line and environment.

        At a restart STARTED are the commands that run already, as they are in the images.
        """
        self._start = start
        spool = self._list.spool
        if started is None:
            remove_tree(spool)
            make_private_dir(spool)
            names = {alias: index for index, name in enumerate(self._list.names) for alias in aliases(name)}
            write_atomic(spool / rsh.NAMES, json.dumps(names).encode())
        else:
            self._started = set(started)
            for asked in spool.glob("*.request"):
                # who waits for another one asks again
                if asked.stem not in self._started:
                    asked.unlink()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def is_settled(self, pid: int) -> bool:
        """Whether the program of process PID is not just starting something on another node.

        The command line of that may hold an address of the first node, and come up again where it is another one's.
        """
        names = {rsh.__file__, str(self._command)}
        callers = sum(not names.isdisjoint(command_of(member)[0]) for member, _ in process_tree(pid))
        served = sum(not self._has_ended(stem) for stem in self.started)
        return callers <= served and time.monotonic() >= self._settled_at

    def paused(self) -> threading.Lock:
        """Return a lock: nothing is started on another node while it is held."""
        return self._serving

    def ask(self, index: int, do: str, **values: Any) -> dict[str, Any]:
        """Return the answer of the agent on node INDEX; see `dmtcp_py.engine.dmtcp.nodes.agent`."""
        return self._agents[index - 1].ask(do, **values)

    def ask_all(self, do: str, **values: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the number and the answer of each other node."""
        for node in self._agents:
            yield node.index, node.ask(do, **values)

    def tell_all(self, do: str, **values: Any) -> None:
        """Have each other node do something, those left out that do not answer."""
        for node in self._agents:
            with suppress(EngineError):
                node.ask(do, **values)

    def close(self) -> None:
        """End all that runs on the other nodes for this computation."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(ANSWER_S)
        for link in [node.link for node in self._agents]:
            if link is not None:
                link.close()
        for node in self._agents:
            # what it started is ended by it, if it came up; a scheduler's command says when it is done
            if node.child.wait(ANSWER_S if node.folder else 0) is None:
                node.child.stop()
        for child in self._local:
            child.stop(0)

    @property
    def _command(self) -> Path:
        """What the program calls to reach another node."""
        return command_path(self._list.spool)

    def _has_ended(self, stem: str) -> bool:
        with suppress(OSError):
            return (self._list.spool / f"{stem}.status").read_bytes().endswith(b"\n")
        return False

    def _start_agents(self, port: int, folder: Path) -> None:
        for index, name in enumerate(self._list.names[1:], start=1):
            order = [str(index), str(self._list.owner), str(port), *addresses(self._list.names[0])]
            log = folder / f"node-{index}"
            with log.open("wb") as file:
                child = Child(
                    self._list.command_on(name, [sys.executable, "-m", _MODULE, *order]),
                    env={**self._environ, TOKEN: self._token},
                    dies_with_us=True,
                    stdio=ChildStdio(subprocess.DEVNULL, file.fileno(), subprocess.STDOUT),
                )
            self._agents.append(RemoteNode(index=index, name=name, child=child, log=log))

    def _await_agents(self, listener: socket.socket) -> None:
        listener.settimeout(1)
        timeout = Timeout(_UP_S)
        while missing := [node for node in self._agents if node.link is None]:
            if (lost := self.lost()) is not None:
                raise EngineError(lost, "look at the nodes of the allocation; --nodes 1 uses the first one alone")
            if timeout.is_over():
                names = ", ".join(node.name for node in missing)
                raise EngineError(
                    f"nothing came up on {names} in {_UP_S:.0f} s", "may a firewall be between the nodes?"
                )
            with suppress(TimeoutError):
                self._welcome(Link(listener.accept()[0]))

    def _welcome(self, link: Link) -> None:
        """Take in an agent; whoever else connects is turned away."""
        try:
            link.prove(self._token, SUPERVISOR, AGENT)
            told = link.receive(ANSWER_S)
        except (OSError, EngineError, ValueError):
            link.close()
            return
        node = self._agents[told["index"] - 1]
        node.link, node.folder, node.environ = link, told["folder"], told["environ"]

    def _address(self) -> str:
        """Return the address of this node by which the others reach it."""
        found = [node.link.here for node in self._agents if node.link]
        if len(set(found)) != 1:
            raise EngineError(f"the other nodes reach this one by different addresses: {', '.join(found)}")
        return found[0]

    def _serve(self) -> None:
        while not self._closing.wait(_LOOK_S):
            with self._serving:
                for asked in sorted(self._list.spool.glob("*.request")):
                    if asked.stem not in self._started and not self._closing.is_set():
                        self._started.add(asked.stem)
                        self._settled_at = time.monotonic() + _SETTLES_S
                        self._begin(asked)

    def _begin(self, asked: Path) -> None:
        """Start what the file ASKED asks for; where that fails its status is that of ssh(1)."""
        files = [asked.with_suffix(f".{name}") for name in ("out", "err", "status")]
        try:
            request = json.loads(asked.read_text(encoding="utf-8"))
            index, command, cwd = int(request["node"]), str(request["command"]), str(request["cwd"])
            what = ["/bin/sh", "-c", _WRAPPER, "dmtcp-run", *map(str, files), command]
            if self._start is None:
                return
            argv, environ = self._start(index, what)
            if index:
                self.ask(index, "start", argv=list(argv), environ=dict(environ), cwd=cwd)
            else:
                self._local.append(Child(argv, env=environ, stdio=ChildStdio(subprocess.DEVNULL)))
        except (EngineError, OSError, ValueError, KeyError, IndexError) as error:
            files[1].write_text(f"dmtcp-run: {error}\n", encoding="utf-8")
            files[2].write_text("255\n", encoding="utf-8")
