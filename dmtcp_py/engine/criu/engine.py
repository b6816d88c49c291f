"""Launch and restore with CRIU."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.engine.criu import installation as installed
from dmtcp_py.engine.criu import tcp_ports
from dmtcp_py.engine.criu.command import Tool, failure_in, restore_argv
from dmtcp_py.engine.criu.computation import CriuComputation
from dmtcp_py.engine.criu.inside import keeper
from dmtcp_py.engine.criu.keeper_client import KeeperClient
from dmtcp_py.engine.criu.stdio import Connections
from dmtcp_py.engine.protocol import Launch
from dmtcp_py.errors import EngineError, RestartFailedError
from dmtcp_py.native import built
from dmtcp_py.rollback import held_files, recording, restore_held_files, unwatched_files
from dmtcp_py.rollback.undo import go_back
from dmtcp_py.system.files import remove_tree
from dmtcp_py.system.timeout import Timeout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dmtcp_py.engine.criu.installation import Installation
    from dmtcp_py.engine.protocol import Restart, Stdio

_START_S = 30.0
_RESTART_S = 60.0
_SLOWEST_BYTES_PER_S = 20e6
_LOOK_S = 0.25
_ADDRESS_S = 70.0
"""So long a kernel that frees no ports on request keeps them after the end of a connection (TIME_WAIT, and some)."""
_OTHERS_S = 3.0
"""So long somebody else's program may be one of our own that is still dying."""
_ADDRESS_LOOKS = 8
_LEAST_PID_MAX = 32768
"""What a machine on which it is resumed may have for pid_max."""
_ROOM = 1000
"""Pids after the init's, so that most programs see them rise."""
_ADDRESS_IN_USE = "Address already in use"


class CriuEngine:
    """CRIU as it is installed in one place."""

    name = "criu"

    def __init__(self, criu: Installation) -> None:
        self._criu = criu

    @classmethod
    def find(cls) -> CriuEngine:
        """Return the engine on this machine; raise EngineError where there is none that works."""
        found = installed.find()
        problem = installed.known_problem(found)
        if problem:
            raise EngineError(f"{found.path} does not work here: {problem}")
        return cls(found)

    def version(self) -> str:
        """Return CRIU's version."""
        return self._criu.version

    def refusal(self, program: Path) -> str | None:
        """Return None: what CRIU cannot take depends on what a program does, not on what it is."""
        del program
        return None

    def refusal_of_nodes(self) -> str | None:
        """Return why CRIU cannot take a computation over several nodes."""
        return "it takes the processes of one node; --nodes 1 uses the first one alone"

    def doubt(self, program: Path) -> str | None:
        """Return None, for the same reason."""
        del program
        return None

    def launch(self, launch: Launch) -> CriuComputation:
        """Start a program in namespaces of its own."""
        near = (launch.program, launch.staging, launch.temporary, *_paths(launch.stdio), Path.cwd())
        tool = self._tool(launch, covers_shm=not any(map(_is_in_shm, near)))
        connections = Connections(launch.stdio)
        # a shell's exec takes no name that starts with a dash
        first = str(launch.program) if launch.command[0].startswith("-") else launch.command[0]
        root = _any_pid()
        order = {"root": root, "command": [first, *launch.command[1:]], "environ": _environ(launch)}
        recording.begin(launch.undo)
        keeper_client = _begin(tool, connections, "launch", order)
        try:
            _await_start(keeper_client)
            return _computation(tool, keeper_client, connections, root, launch.staging)
        except BaseException:
            _undo(keeper_client, connections)
            remove_tree(launch.temporary)
            raise

    def restart(self, restart: Restart) -> CriuComputation | None:
        """Go on from images in new namespaces; None where it was cancelled before all processes ran."""
        computation = None
        try:
            computation = self._restart_patiently(restart)
        finally:
            if computation is None:
                remove_tree(restart.temporary)
        return computation

    def _restart_patiently(self, restart: Restart) -> CriuComputation | None:
        timeout, short = Timeout(_ADDRESS_S), Timeout(_OTHERS_S)
        while True:
            try:
                return self._restart(restart)
            except RestartFailedError as error:
                if _ADDRESS_IN_USE not in error.what or timeout.is_over():
                    raise
                if short.is_over():
                    _refuse_ports_of_others(restart)
            for _ in range(_ADDRESS_LOOKS):
                if restart.is_cancelled():
                    return None
                timeout.is_over()
                time.sleep(_LOOK_S)

    def _tool(self, order: Launch | Restart, *, covers_shm: bool) -> Tool:
        is_watched = _is_watched(order) if isinstance(order, Launch) else order.manifest.undo_part is not None
        notes = order.undo if is_watched else None
        return Tool(
            path=self._criu.path,
            options=self._criu.options,
            environ=order.environ,
            temporary=order.temporary,
            covers_shm=covers_shm,
            undo=notes,
        )

    def _restart(self, restart: Restart) -> CriuComputation | None:
        record = json.loads((restart.folder / keeper.RECORD).read_text(encoding="utf-8"))
        if restart.undo is not None:
            unwatched_files.check(
                restart.folder,
                restart.undo,
                restart.manifest,
                accept=restart.accepts_changed,
                warn=restart.warn,
            )
        go_back(
            restart.undo,
            restart.manifest.undo_part,
            program_stopped=restart.manifest.program_stopped,
            accept=restart.accepts_changed,
            warn=restart.warn,
        )
        restore_held_files.restore(restart.folder)
        tool = self._tool(restart, covers_shm=record["covers_shm"])
        connections = Connections(restart.stdio, record["kinds"])
        order = {
            "root": record.get("root", keeper.LEAST_PID),
            "folder": str(restart.folder),
            "argv": restore_argv(tool, restart.folder),
            "environ": dict(restart.environ),
            "output": str(tool.output("restore")),
        }
        keeper_client = _begin(tool, connections, "restore", order)
        try:
            if not _is_up(keeper_client, tool, restart):
                _undo(keeper_client, connections)
                return None
            return _computation(tool, keeper_client, connections, order["root"], restart.staging)
        except BaseException:
            _undo(keeper_client, connections)
            raise


def _environ(launch: Launch) -> dict[str, str]:
    """Return the program's environment, with what is loaded into it."""
    environ = dict(launch.environ)
    if launch.plugins:
        loaded = [*map(str, launch.plugins), *filter(None, [environ.get("LD_PRELOAD")])]
        environ["LD_PRELOAD"] = ":".join(loaded)
    if _is_watched(launch):
        environ[recording.VARIABLE] = str(launch.undo)
    return environ


def _is_watched(launch: Launch) -> bool:
    """Whether it is noted what the program does to files."""
    return launch.undo is not None and built("files") in launch.plugins


def _any_pid() -> int:
    """Return a pid for the init, that those of no other computation are likely to be near.

    Programs name temporary files by their pid, and take it as the seed of random numbers.
    """
    most = min(int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii")), _LEAST_PID_MAX)
    return random.randrange(keeper.LEAST_PID, most - _ROOM)  # noqa: S311 - no secret


def _begin(tool: Tool, connections: Connections, action: str, order: Mapping[str, object]) -> KeeperClient:
    try:
        keeper_client = KeeperClient(installed.launcher(), tool.environ, tool.temporary, connections.descriptors)
    except BaseException:
        connections.close()
        raise
    keeper_client.order(
        action,
        **order,
        streams=connections.orders,
        kinds=connections.kinds,
        covers_shm=tool.covers_shm,
        temporary=str(tool.temporary),
    )
    return keeper_client


def _await_start(keeper_client: KeeperClient) -> None:
    if not keeper_client.wait_for(lambda told: told.has_started, _START_S):
        why = "; ".join(keeper_client.state.why) or keeper_client.own_words() or "it says nothing"
        raise EngineError(f"the program could not be started in namespaces of its own: {why}")


def _is_up(keeper_client: KeeperClient, tool: Tool, restart: Restart) -> bool:
    """Wait until all processes run again; return whether they do, and not because the wait was cancelled."""
    timeout = Timeout(_RESTART_S + restart.manifest.size / _SLOWEST_BYTES_PER_S)
    while not keeper_client.wait_for(lambda told: told.has_started, _LOOK_S):
        told = keeper_client.state
        if told.failed or told.is_gone:
            why = "; ".join(told.why) or failure_in(tool, "restore")
            raise RestartFailedError(f"criu restore failed: {why}")
        if restart.is_cancelled():
            return False
        if timeout.is_over():
            raise RestartFailedError("criu restore did not bring its processes up in time")
    return True


def _computation(
    tool: Tool, keeper_client: KeeperClient, connections: Connections, root: int, staging: Path
) -> CriuComputation:
    connections.started()
    pid = keeper_client.outer_pid(root)
    # a program that has ended already is not asked for its processes any more
    return CriuComputation(tool, keeper_client, connections, pid or keeper_client.child.pid, staging)


def _refuse_ports_of_others(restart: Restart) -> None:
    held = tcp_ports.holders(set(held_files.read(restart.folder).ports))
    if held:
        raise EngineError(
            f"the program has TCP ports that others use here now: {', '.join(held)}",
            "run the same line again once they are free, or on another machine",
        )


def _undo(keeper_client: KeeperClient, connections: Connections) -> None:
    keeper_client.kill()
    keeper_client.child.stop()
    keeper_client.close()
    connections.close()


def _paths(stdio: Stdio) -> list[Path]:
    return [path for path in stdio.paths if path is not None]


def _is_in_shm(path: Path) -> bool:
    return path.resolve().is_relative_to(keeper.SHM)
