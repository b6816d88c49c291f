"""Launch and restore with CRIU."""

from __future__ import annotations

import json
import random
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.engine import tcp_ports
from dmtcp_py.engine.criu import comparison, libraries, networks, trials
from dmtcp_py.engine.criu.command import NO_REASON, Tool, failure_in, restore_argv
from dmtcp_py.engine.criu.computation import CriuComputation
from dmtcp_py.engine.criu.inside import keeper
from dmtcp_py.engine.criu.inside.mounts import SHM
from dmtcp_py.engine.criu.keeper_client import KeeperClient
from dmtcp_py.engine.criu.reasons import explained
from dmtcp_py.engine.criu.stdio import Connections
from dmtcp_py.engine.protocol import Launch
from dmtcp_py.errors import EngineError, RestartDisturbedError, RestartFailedError, RestartHungError
from dmtcp_py.native import built
from dmtcp_py.rollback import held_files, recording, unwatched_files
from dmtcp_py.rollback.restore import Images, restore
from dmtcp_py.system.files import remove_tree
from dmtcp_py.system.stuck import what_they_wait_in
from dmtcp_py.system.timeout import Timeout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dmtcp_py.engine.criu.installation import Installation
    from dmtcp_py.engine.criu.ways import Way
    from dmtcp_py.engine.protocol import Restart, Stdio

_START_S = 30.0
_RESTART_S = 60.0
_SLOWEST_BYTES_PER_S = 20e6
_POLL_S = 0.25
_ADDRESS_POLLS = 8
_LEAST_PID_MAX = 32768
"""The smallest pid_max that is expected on a machine on which the program resumes."""
_ROOM = 1000
"""The number of pids above the init's, so that pids only rise in most programs."""
_ADDRESS_IN_USE = "Address already in use"
_SIGNALLED = "(stopped|killed) by signal"


class CriuEngine:
    """CRIU as it is installed in one place."""

    name = "criu"

    def __init__(self, criu: Installation, way: Way) -> None:
        self._criu = criu
        self._way = way

    @classmethod
    def find(cls) -> CriuEngine:
        """Return the engine on this machine; raise EngineError if there is none that works."""
        found = trials.find()
        if found.way is None:
            raise EngineError(f"{found.installation.path} does not work here: {found.problem}")
        return cls(found.installation, found.way)

    def version(self) -> str:
        """Return CRIU's version."""
        return self._criu.version

    def refusal(self, program: Path) -> str | None:
        """Return None: whether CRIU can checkpoint a program depends on what it does, not on its file."""
        del program
        return None

    def refusal_of_nodes(self) -> str | None:
        """Return why CRIU cannot checkpoint a computation on several nodes."""
        return "it checkpoints the processes of one node; --nodes 1 uses the first node only"

    def doubt(self, program: Path) -> str | None:
        """Return None, for the same reason."""
        del program
        return None

    def launch(self, launch: Launch) -> CriuComputation:
        """Start a program in namespaces of its own."""
        near = (launch.program, launch.staging, launch.temporary, *_paths(launch.stdio), Path.cwd())
        way = networks.chosen(self._way, launch)
        tool = self._tool(launch, way, covers_shm=not any(map(_is_in_shm, near)))
        connections = Connections(launch.stdio)
        # a shell's exec accepts no name that starts with a dash
        first = str(launch.program) if launch.command[0].startswith("-") else launch.command[0]
        root = _random_pid()
        environ = _environ(launch, covers_shm=tool.covers_shm)
        order = {"root": root, "command": [first, *launch.command[1:]], "environ": environ}
        recording.begin(launch.undo)
        keeper_client = _start_keeper(tool, connections, "launch", order)
        try:
            _await_start(keeper_client, tool)
            return _computation(tool, keeper_client, connections, root, launch.staging)
        except BaseException:
            _abandon(keeper_client, connections)
            remove_tree(launch.temporary)
            raise

    def restart(self, restart: Restart) -> CriuComputation | None:
        """Restart the program in new namespaces; return None if that was cancelled before all processes ran."""
        computation = None
        try:
            computation = self._restart_when_ports_are_free(restart)
        finally:
            if computation is None:
                remove_tree(restart.temporary)
        return computation

    def _restart_when_ports_are_free(self, restart: Restart) -> CriuComputation | None:
        timeout, short = Timeout(tcp_ports.KEPT_S), Timeout(tcp_ports.PREDECESSOR_S)
        while True:
            try:
                return self._restart(restart)
            except RestartFailedError as error:
                if _ADDRESS_IN_USE not in error.what or timeout.is_over():
                    raise
                if short.is_over():
                    tcp_ports.refuse_held(set(held_files.read(restart.folder).ports))
            for _ in range(_ADDRESS_POLLS):
                if restart.is_cancelled():
                    return None
                timeout.is_over()
                time.sleep(_POLL_S)

    def _tool(self, order: Launch | Restart, way: Way, *, covers_shm: bool) -> Tool:
        is_watched = _is_watched(order) if isinstance(order, Launch) else order.manifest.undo_part is not None
        return Tool(
            criu=self._criu,
            way=way,
            environ=order.environ,
            temporary=order.temporary,
            covers_shm=covers_shm,
            undo=order.undo if is_watched else None,
        )

    def _restart(self, restart: Restart) -> CriuComputation | None:
        libraries.keep()
        record = json.loads((restart.folder / keeper.RECORD).read_text(encoding="utf-8"))
        if restart.undo is not None:
            unwatched_files.check(
                restart.folder,
                restart.undo,
                restart.manifest,
                accept=restart.accepts_changed,
                warn=restart.warn,
            )
        images = Images(restart.folder, restart.manifest, copied=restart.code, needs_same_size=True)
        restore(images, restart.undo, accept=restart.accepts_changed, warn=restart.warn)
        way = networks.recorded(record, self._way, restart.say)
        tool = self._tool(restart, way, covers_shm=record["covers_shm"])
        connections = Connections(restart.stdio, record["kinds"])
        order = {
            "root": record.get("root", keeper.LEAST_PID),
            "folder": str(restart.folder),
            "argv": restore_argv(tool, restart.folder),
            "environ": dict(restart.environ),
            "code": {path: str(copy) for path, copy in restart.code.items()},
            "output": str(tool.output("restore")),
        }
        keeper_client = _start_keeper(tool, connections, "restore", order)
        try:
            if not _await_restore(keeper_client, tool, restart):
                _abandon(keeper_client, connections)
                return None
            comparison.judge(tool, restart)
            return _computation(tool, keeper_client, connections, order["root"], restart.staging)
        except BaseException:
            _abandon(keeper_client, connections)
            raise


def _environ(launch: Launch, *, covers_shm: bool) -> dict[str, str]:
    """Return the program's environment, with the libraries to load into it."""
    environ = dict(launch.environ)
    if launch.plugins:
        words = [*map(str, libraries.loaded(launch.plugins)), environ.get("LD_PRELOAD")]
        environ["LD_PRELOAD"] = ":".join(filter(None, words))
    if _is_watched(launch):
        environ[recording.VARIABLE] = str(launch.undo)
        if not covers_shm:
            environ[recording.MEMORY_VARIABLE] = "1"
    return environ


def _is_watched(launch: Launch) -> bool:
    """Return whether the program's changes to files are recorded."""
    return launch.undo is not None and built("files") in launch.plugins


def _random_pid() -> int:
    """Return a random pid for the init, so that two computations are unlikely to have the same pids.

    Programs name temporary files by their pid, and use it to seed random numbers.
    """
    most = min(int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii")), _LEAST_PID_MAX)
    return random.randrange(keeper.LEAST_PID, most - _ROOM)  # noqa: S311 - no secret


def _start_keeper(tool: Tool, connections: Connections, action: str, order: Mapping[str, object]) -> KeeperClient:
    images = Path(str(order["folder"])) if "folder" in order else None
    try:
        keeper_client = KeeperClient(tool, images, connections.descriptors)
    except BaseException:
        connections.close()
        raise
    keeper_client.order(
        action,
        **order,
        streams=connections.orders,
        kinds=connections.kinds,
        covers_shm=tool.covers_shm,
        way=tool.way.name,
        own_ipc=tool.way.has_own_ipc,
        addresses=tool.way.addresses,
        temporary=str(tool.temporary),
    )
    return keeper_client


def _await_start(keeper_client: KeeperClient, tool: Tool) -> None:
    if not keeper_client.wait_for(lambda state: state.has_started, _START_S):
        trials.forget_success(tool.criu)
        why = "; ".join(keeper_client.state.why) or keeper_client.last_line() or "no reason was given"
        why = explained(why) or why
        raise EngineError(f"the program could not be started in namespaces of its own: {why}")


def _await_restore(keeper_client: KeeperClient, tool: Tool, restart: Restart) -> bool:
    """Wait until all processes run again; return False if the wait was cancelled."""
    limit_s = _RESTART_S + restart.manifest.size / _SLOWEST_BYTES_PER_S
    timeout = Timeout(limit_s)
    while not keeper_client.wait_for(lambda state: state.has_started, _POLL_S):
        state = keeper_client.state
        if state.failed or state.is_gone:
            trials.forget_success(tool.criu)
            has_run = tool.output("restore").exists()
            why = "; ".join(state.why) or (failure_in(tool, "restore") if has_run else keeper_client.last_line())
            # a scheduler that suspends a job stops all of it, and criu takes that for a failure
            was_disturbed = re.search(_SIGNALLED, why) is not None or why in ("", NO_REASON)
            error = RestartDisturbedError if was_disturbed else RestartFailedError
            raise error(explained(why) or f"criu restore failed: {why or NO_REASON}")
        if restart.is_cancelled():
            return False
        if timeout.is_over():
            stuck = what_they_wait_in(keeper_client.child.pid)
            raise RestartHungError(f"criu restore did not finish within {limit_s:.0f} s: {stuck}")
    return True


def _computation(
    tool: Tool, keeper_client: KeeperClient, connections: Connections, root: int, staging: Path
) -> CriuComputation:
    connections.start()
    pid = keeper_client.outer_pid(root)
    # if the program has already ended, nothing uses its pid any more
    return CriuComputation(tool, keeper_client, connections, pid or keeper_client.child.pid, staging)


def _abandon(keeper_client: KeeperClient, connections: Connections) -> None:
    keeper_client.kill()
    keeper_client.child.stop()
    keeper_client.close()
    connections.close()


def _paths(stdio: Stdio) -> list[Path]:
    return [path for path in stdio.paths if path is not None]


def _is_in_shm(path: Path) -> bool:
    return path.resolve().is_relative_to(SHM)
