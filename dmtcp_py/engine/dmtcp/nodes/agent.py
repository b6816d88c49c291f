"""The agent on each other node of a computation, which starts processes for the supervisor and ends them with it.

``main`` with the words INDEX OWNER PORT ADDRESS... connects to the first ADDRESS that answers,
and serves it. When the connection ends, the agent ends all that it started. It derives the names of the job's temporary
files from OWNER.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from dmtcp_py.engine.dmtcp import shared_memory as segments
from dmtcp_py.engine.dmtcp.inspection import inspect
from dmtcp_py.engine.dmtcp.nodes.link import AGENT, PEERS, SUPERVISOR, TOKEN, connect
from dmtcp_py.engine.dmtcp.nodes.peers import serve
from dmtcp_py.errors import DmtcpRunError
from dmtcp_py.system.child import Child, ChildStdio
from dmtcp_py.system.files import files_below, fsync_path, make_temporary, own_folder, remove_temporaries, size_below
from dmtcp_py.system.prctl import become_subreaper
from dmtcp_py.system.proc import SHARED_MEMORY, process_tree, resident_bytes
from dmtcp_py.system.reaping import end_descendants, reap_orphans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dmtcp_py.engine.dmtcp.nodes.link import Link

NODE_VARIABLES = ("HOSTNAME", "SLURMD_NODENAME", "TMPDIR")
"""Environment variables that have another value on each node."""
_SHARED = Path(SHARED_MEMORY)


def main() -> None:
    """Serve the supervisor until the connection ends."""
    index, owner, port, addresses = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    token = os.environ.pop(TOKEN)
    become_subreaper()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with _temporaries(owner, index) as folder:
        mine = {name: os.environ[name] for name in NODE_VARIABLES if name in os.environ}
        try:
            for_peers = _connected(addresses, port, token, {"index": index, "for": PEERS})
            link = _connected(addresses, port, token, {"index": index, "folder": str(folder), "environ": mine})
        except (DmtcpRunError, OSError) as error:
            sys.exit(f"node {index} of the computation: {error}")
        threading.Thread(target=serve, args=(for_peers,), daemon=True).start()
        agent = Agent()
        with suppress(OSError):
            # an OSError means that the supervisor has closed the connection, or is gone
            while True:
                link.send(agent.serve(link.receive()))


def _connected(addresses: list[str], port: int, token: str, report: dict[str, Any]) -> Link:
    """Return a link to the supervisor, which knows from REPORT what it is for."""
    link = connect(addresses, port)
    link.prove(token, AGENT, SUPERVISOR)
    link.send(report)
    return link


@contextmanager
def _temporaries(owner: Path, index: int) -> Iterator[Path]:
    """Make the job's own folder in /dev/shm, yield one for temporary files; at the end, end all that uses them."""
    # if the nodes share TMPDIR, the folders of the other nodes are there too
    mine = owner / str(index)
    _remove(owner, mine)
    try:
        if os.access(_SHARED, os.W_OK):
            segments.claim(own_folder(owner, _SHARED))
        yield make_temporary(mine)
    finally:
        end_descendants()
        _remove(owner, mine)


def _remove(owner: Path, mine: Path) -> None:
    remove_temporaries(mine)
    remove_temporaries(owner, _SHARED)


class Agent:
    """Answers the supervisor's requests on this node."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    def serve(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to REQUEST: its result, or the error."""
        answers: dict[str, Callable[..., dict[str, Any]]] = {
            "start": self._start,
            "inspect": self._inspect,
            "size": _size,
            "sync": _sync,
            "signal": self._signal,
            "clear": self._clear,
            "unname": self._unname,
        }
        reap_orphans([child.pid for child in self._children if child.poll() is None])
        try:
            return answers[request.pop("do")](**request)
        except DmtcpRunError as error:
            return {"error": error.what, "hint": error.hint}
        except OSError as error:
            return {"error": f"{error.filename or 'a call'}: {error.strerror}"}

    def _start(
        self, argv: Sequence[str], environ: dict[str, str], cwd: str, *, is_restart: bool = False
    ) -> dict[str, Any]:
        """Start ARGV in folder CWD, or in the home folder if CWD does not exist here."""
        with suppress(OSError):
            os.chdir(Path.home())
            os.chdir(cwd)
        null = os.open(os.devnull, os.O_RDWR)
        try:
            child = Child(
                argv, env=environ, own_session=not is_restart, fixed_addresses=is_restart, stdio=ChildStdio(null)
            )
        finally:
            os.close(null)
        self._children.append(child)
        return {"pid": child.pid}

    def _inspect(self) -> dict[str, Any]:
        """Return what prevents a checkpoint here, and what the engine has to know about the processes."""
        found = inspect(None)
        return {
            "obstacle": None if found.obstacle is None else asdict(found.obstacle),
            "connections": found.connections,
            "ranks": found.ranks,
            "all_ranks": found.all_ranks,
            "resident": resident_bytes(os.getpid()),
            "segments": segments.record(os.getpid()),
        }

    def _signal(self, signum: int) -> dict[str, Any]:
        for pid, _ in process_tree(os.getpid())[1:]:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signum)
        return {}

    def _clear(self, engine_data: dict[str, str]) -> dict[str, Any]:
        segments.clear(engine_data)
        return {}

    def _unname(self, engine_data: dict[str, str]) -> dict[str, Any]:
        segments.unname(engine_data)
        return {}


def _size(folder: str) -> dict[str, Any]:
    """Return the size of the files below FOLDER."""
    return {"size": size_below(Path(folder))}


def _sync(folder: str) -> dict[str, Any]:
    """Flush the files below FOLDER to disk, so that the first node sees them; return their names and sizes."""
    found = {}
    for path in files_below(Path(folder)):
        fsync_path(path)
        found[str(path.relative_to(folder))] = path.stat().st_size
    fsync_path(Path(folder))
    return {"files": found}
