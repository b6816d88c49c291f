"""The supervisor's side of a computation on several nodes: the agents on the other nodes, and the program's requests.

It knows no scheduler: a `NodeList` says how to run a command on a node. The first node is this one and has no agent.
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
from dmtcp_py.engine.dmtcp.nodes.link import AGENT, PEERS, SUPERVISOR, TOKEN, Link
from dmtcp_py.engine.dmtcp.nodes.network import addresses, aliases, network
from dmtcp_py.engine.dmtcp.nodes.peers import Peers
from dmtcp_py.engine.dmtcp.nodes.remote_node import ANSWER_S, RemoteNode
from dmtcp_py.engine.dmtcp.nodes.rsh_command import command_path, make_command
from dmtcp_py.errors import EngineError
from dmtcp_py.messages import one_line
from dmtcp_py.system.child import Child, ChildStdio
from dmtcp_py.system.files import make_private_dir, remove_tree, write_atomic
from dmtcp_py.system.proc import command_of, process_tree
from dmtcp_py.system.timeout import Timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dmtcp_py.engine.protocol import NodeList

_CONNECT_S = 120.0
"""The longest that agents may take to connect; a scheduler can be slow to start them."""
_POLL_S = 0.1
_SETTLES_S = 2.0
"""The time for a command on another node to connect to the program, by an address that a restart can invalidate."""
# with -m, Python would look for modules in the working directory too, where others may have put some
_AGENT = """\
import sys
sys.path[:] = [path for path in sys.path if path]
from dmtcp_py.engine.dmtcp.nodes.agent import main
main()
"""
# runs inside the computation; its output and its status go to files that belong to the checkpoint
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
        self.peers = Peers(self._links_to)
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
        """How many nodes there are, including this one."""
        return len(self._list.names)

    @property
    def pids(self) -> list[int]:
        """The pids of our children that run agents, or commands on this node."""
        return [node.child.pid for node in self._agents] + [child.pid for child in self._local]

    @property
    def started(self) -> list[str]:
        """The commands that were started for the program so far, by the stems of their files' names."""
        return sorted(self._started)

    def lost_node(self) -> str | None:
        """Return which node's agent has ended, with its last lines; None if all run."""
        for node in self._agents:
            if node.child.poll() is not None:
                return f"node {node.name} of the computation is lost ({node.last_lines or 'its agent printed nothing'})"
        return None

    def silent_node(self) -> str | None:
        """Return which node's agent does not answer; None if all do."""
        try:
            for _ in self.ask_all("size", folder=str(self._list.spool)):
                pass
        except EngineError as error:
            return error.what
        return None

    def folder(self, index: int) -> str:
        """Return the folder for temporary files on node INDEX."""
        return self._agents[index - 1].folder

    def environ(self, index: int, environ: Mapping[str, str]) -> dict[str, str]:
        """Return ENVIRON with the variables of node INDEX."""
        own = self._agents[index - 1].environ if index else {}
        return {**environ, **own, rsh.NODE: str(index)}

    def settings(self) -> dict[str, str]:
        """Return variables for a program on several nodes: a PATH with our rsh, and the network between the nodes."""
        path = f"{self._command.parent}:{self._environ.get('PATH', os.defpath)}"
        cidr = network(self.address, [node.link.peer_address for node in self._agents if node.link])
        wanted = ("OMPI_MCA_btl_tcp_if_include", "OMPI_MCA_oob_tcp_if_include")
        found = {name: cidr for name in wanted if cidr and name not in self._environ}
        return {"PATH": path, rsh.NODE: "0", **found}

    def serve(
        self,
        start: Callable[[int, Sequence[str]], tuple[Sequence[str], Mapping[str, str]]],
        started: Sequence[str] | None = None,
    ) -> None:
        """Start commands as the program requests them; START returns the engine's command line and environment.

        At a restart, STARTED are the commands that already run, because they are in the images.
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
            for request in spool.glob("*.request"):
                # a process in the images that still waits for this command will request it again
                if request.stem not in self._started:
                    request.unlink()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def is_settled(self, pid: int) -> bool:
        """Return whether no command is just starting on another node for the program of process PID.

        Its command line may contain an address of the first node, which is wrong after a restart on other nodes.
        """
        names = {rsh.__file__, str(self._command)}
        callers = sum(not names.isdisjoint(command_of(member)[0]) for member, _ in process_tree(pid))
        served = sum(not self._has_ended(stem) for stem in self.started)
        return callers <= served and time.monotonic() >= self._settled_at

    def start_lock(self) -> threading.Lock:
        """Return a lock; while it is held, no command is started on another node."""
        return self._serving

    def ask(self, index: int, do: str, **values: Any) -> dict[str, Any]:
        """Return the answer of the agent on node INDEX; see `dmtcp_py.engine.dmtcp.nodes.agent`."""
        return self._agents[index - 1].ask(do, **values)

    def ask_all(self, do: str, **values: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the number and the answer of each other node."""
        for node in self._agents:
            yield node.index, node.ask(do, **values)

    def send_all(self, do: str, **values: Any) -> None:
        """Send a request to each other node, and ignore nodes that do not answer."""
        for node in self._agents:
            with suppress(EngineError):
                node.ask(do, **values)

    def close(self) -> None:
        """End all that runs on the other nodes for this computation."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(ANSWER_S)
        for link in [link for node in self._agents for link in (node.link, node.for_peers)]:
            if link is not None:
                link.close()
        self.peers.close()
        for node in self._agents:
            # an agent that connected ends what it started, and the scheduler's command ends after it
            if node.child.wait(ANSWER_S if node.folder else 0) is None:
                node.child.stop()
        for child in self._local:
            child.stop(0)

    @property
    def _command(self) -> Path:
        """The command by which the program reaches another node."""
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
                    self._list.command_on(name, [sys.executable, "-c", _AGENT, *order]),
                    env={**self._environ, TOKEN: self._token},
                    dies_with_us=True,
                    stdio=ChildStdio(subprocess.DEVNULL, file.fileno(), subprocess.STDOUT),
                )
            self._agents.append(RemoteNode(index=index, name=name, child=child, log=log))

    def _await_agents(self, listener: socket.socket) -> None:
        listener.settimeout(1)
        timeout = Timeout(_CONNECT_S)
        while missing := [node for node in self._agents if node.link is None or node.for_peers is None]:
            if (lost := self.lost_node()) is not None:
                raise EngineError(lost, "check the nodes of the allocation; --nodes 1 uses the first one only")
            if timeout.is_over():
                names = ", ".join(node.name for node in missing)
                raise EngineError(
                    f"the agents on {names} did not connect within {_CONNECT_S:.0f} s",
                    "check whether a firewall is between the nodes; --nodes 1 uses the first one only",
                )
            with suppress(TimeoutError):
                self._admit(Link(listener.accept()[0]))

    def _admit(self, link: Link) -> None:
        """Accept the connection if it is an agent's, and close any other."""
        try:
            link.prove(self._token, SUPERVISOR, AGENT)
            report = link.receive(ANSWER_S)
        except (OSError, EngineError, ValueError):
            link.close()
            return
        node = self._agents[report["index"] - 1]
        if report.get("for") == PEERS:
            node.for_peers = link
            return
        node.link, node.folder, node.environ = link, report["folder"], report["environ"]

    def _links_to(self, address: str) -> list[Link]:
        links = [node.for_peers for node in self._agents]
        return [link for link in links if link is not None and link.peer_address == address]

    def _address(self) -> str:
        """Return the address by which the other nodes reach this one."""
        found = [node.link.own_address for node in self._agents if node.link]
        if len(set(found)) != 1:
            raise EngineError(f"the other nodes reach this one by different addresses: {', '.join(found)}")
        return found[0]

    def _serve(self) -> None:
        while not self._closing.wait(_POLL_S):
            with self._serving:
                for path in sorted(self._list.spool.glob("*.request")):
                    if path.stem not in self._started and not self._closing.is_set():
                        self._started.add(path.stem)
                        self._settled_at = time.monotonic() + _SETTLES_S
                        self._start_requested(path)

    def _start_requested(self, path: Path) -> None:
        """Start the command of the request in PATH; if that fails, its status is 255, as with ssh(1)."""
        files = [path.with_suffix(f".{name}") for name in ("out", "err", "status")]
        try:
            request = json.loads(path.read_text(encoding="utf-8"))
            index, command, cwd = int(request["node"]), str(request["command"]), str(request["cwd"])
            wrapped = ["/bin/sh", "-c", _WRAPPER, "dmtcp-run", *map(str, files), command]
            if self._start is None:
                return
            argv, environ = self._start(index, wrapped)
            if index:
                self.ask(index, "start", argv=list(argv), environ=dict(environ), cwd=cwd)
            else:
                self._local.append(Child(argv, env=environ, stdio=ChildStdio(subprocess.DEVNULL)))
        except (EngineError, OSError, ValueError, KeyError, IndexError) as error:
            files[1].write_text(f"dmtcp-run: {one_line(str(error))}\n", encoding="utf-8")
            files[2].write_text("255\n", encoding="utf-8")
