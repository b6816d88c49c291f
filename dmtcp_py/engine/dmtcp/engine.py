"""Launch and restart under DMTCP."""

from __future__ import annotations

import json
import random
import resource
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dmtcp_py.engine.dmtcp import selftest
from dmtcp_py.engine.dmtcp.coming_up import await_all, compare_state
from dmtcp_py.engine.dmtcp.computation import NODES_KEY, STARTED_KEY, DmtcpComputation
from dmtcp_py.engine.dmtcp.images import FAIL_KEY
from dmtcp_py.engine.dmtcp.installation import FAIL_STATUSES, TOOLS, Installation, find, image_format
from dmtcp_py.engine.dmtcp.listeners import await_ports
from dmtcp_py.engine.dmtcp.shared_memory import claim, clear, of_node, unname
from dmtcp_py.engine.dmtcp.stdio import stream_flags_kept, terminal_as_dev_tty, with_streams
from dmtcp_py.engine.dmtcp.workspace import HOLD_STARTS, Workspace
from dmtcp_py.engine.executable import OPEN_MPI, is_go, is_mpi_launcher, is_setuid, is_static, mpi_implementation
from dmtcp_py.errors import EngineError, RestartFailedError
from dmtcp_py.native import built
from dmtcp_py.rollback import recording
from dmtcp_py.rollback.restore import Images, restore
from dmtcp_py.store.records import path_of
from dmtcp_py.system.child import Child
from dmtcp_py.system.tools import import_early

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dmtcp_py.engine.protocol import Launch, Restart
    from dmtcp_py.store.records import Manifest

CHECKPOINT_SIGNAL = 57
"""The signal with which DMTCP suspends threads: a real-time signal that no program was found to use."""
SIGNALS_PLUGIN = "signals"
_OPEN_FILES = 1024
"""DMTCP has descriptors of its own from 820 on, and does not let programs lower the limit below this."""
_OUR_SIGNALS = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTSTP,
    signal.SIGHUP,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


class DmtcpEngine:
    """DMTCP as it is installed in one place."""

    name = "dmtcp"

    def __init__(self, dmtcp: Installation) -> None:
        self._dmtcp = dmtcp

    @classmethod
    def find(cls) -> DmtcpEngine:
        """Return the engine on this machine; raise EngineError if there is none."""
        engine = cls(find())
        # what prints no version is not DMTCP: fail now, and not when a program runs
        engine.version()
        return engine

    def version(self) -> str:
        """Return DMTCP's version."""
        return self._dmtcp.version

    def refusal(self, program: Path) -> str | None:
        """Return why DMTCP cannot checkpoint PROGRAM, or any."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= limit < _OPEN_FILES:
            return f"the limit on open files is {limit}, and DMTCP needs {_OPEN_FILES} ('ulimit -n {_OPEN_FILES}')"
        if program.name in TOOLS:
            return "it is a part of DMTCP, which dmtcp-run runs itself: leave it out of the command"
        if is_static(program):
            return "it is statically linked, and DMTCP works through the dynamic loader"
        if is_go(program):
            return "it is a Go program, which DMTCP cannot restart"
        if is_setuid(program):
            return "it is a setuid program, which DMTCP runs without its privileges"
        return None

    def refusal_of_nodes(self) -> str | None:
        """Return why DMTCP cannot checkpoint a computation on several nodes: from 3.0 on it needs our plugin."""
        reason = selftest.refusal(self._dmtcp)
        return f"{reason}; without it DMTCP {self.version()} supports one node only" if reason else None

    def doubt(self, program: Path) -> str | None:
        """Return why DMTCP should run PROGRAM only if the user asks for it: an MPI that was not tested under it."""
        if not is_mpi_launcher(program):
            return None
        mpi = mpi_implementation(program)
        if mpi is None:
            return "its MPI was not tested under DMTCP, unlike Open MPI 4 and MPICH 4"
        if mpi == OPEN_MPI and not (built("openmpi") and built("forks")):
            return (
                "the output of Open MPI's processes would be lost after a restart, "
                "because there was no C compiler when dmtcp-py was installed"
            )
        return None

    def launch(self, launch: Launch) -> DmtcpComputation:
        """Start a program under a coordinator of its own."""
        recording.begin(launch.undo)
        workspace = Workspace(self._dmtcp, launch, random.choice(FAIL_STATUSES))  # noqa: S311 - no secret
        try:
            for folder in launch.folders:
                claim(folder)
            options = _launch_options(launch.plugins)
            argv = workspace.argv("dmtcp_launch", options, with_streams(launch.command, launch.program, launch.stdio))
            workspace.make_image_folders()
            if workspace.nodes is not None:
                workspace.nodes.serve(_start_command(workspace, options))
            with terminal_as_dev_tty(launch.stdio) as streams:
                root = Child(argv, env=workspace.environ(), own_session=True, stdio=streams)
            workspace.guard.watch(root.pid)
        except BaseException:
            workspace.close()
            raise
        return DmtcpComputation(root, workspace, is_launched=True)

    def check_images(self, manifest: Manifest) -> None:
        """Raise EngineError if this DMTCP cannot restart the images of MANIFEST, because another one made them."""
        made_by = manifest.engine_version
        if image_format(made_by) != image_format(self.version()):
            raise EngineError(
                f"generation {manifest.generation} was made by DMTCP {made_by}, and this is DMTCP {self.version()}, "
                "whose images differ",
                f"load DMTCP {made_by} (or set DMTCP_PREFIX), or start over with --fresh",
            )

    def restart(self, restart: Restart) -> DmtcpComputation | None:
        """Restart the program under a new coordinator; return None if that was cancelled before all processes ran."""
        self.check_images(restart.manifest)
        _refuse_other_node_count(restart)
        if not await_ports(restart.folder, restart.is_cancelled, restart.warn):
            return None
        images = Images(restart.folder, restart.manifest)
        restore(images, restart.undo, accept=restart.accepts_changed, warn=restart.warn)
        clear(restart.manifest.engine_data)
        with _images_at_original_path(restart):
            computation = self._restart(restart)
        unname(restart.manifest.engine_data)
        if computation is not None and (nodes := computation.workspace.nodes) is not None:
            for index in range(1, nodes.count):
                nodes.ask(index, "unname", engine_data=of_node(restart.manifest.engine_data, index))
        return computation

    def _restart(self, restart: Restart) -> DmtcpComputation | None:
        # processes keep the failure status that they were launched with
        workspace = Workspace(self._dmtcp, restart, int(restart.manifest.engine_data[FAIL_KEY]))
        with workspace.hold(HOLD_STARTS):
            return self._restart_in(workspace, restart)

    def _restart_in(self, workspace: Workspace, restart: Restart) -> DmtcpComputation | None:
        try:
            workspace.make_image_folders()
            workspace.set_first_number(restart.manifest.generation)
            argv = workspace.argv("dmtcp_restart", [], _images_of(restart, 0))
            _restart_others(workspace, restart)
            # own_session: dmtcp_restart creates the images' session itself, and complains if it has one already
            # fixed_addresses: with a randomized break the heap cannot grow after a restart (3.2, 4.2, 5.0)
            # ignores: without a session it gets signals meant for us; the images restore the program's handlers
            root = Child(argv, env=workspace.environ(), own_session=False, fixed_addresses=True, ignores=_OUR_SIGNALS)
            workspace.guard.watch(root.pid)
        except BaseException:
            workspace.close()
            raise
        # needed soon to ask the coordinator, whose log does not show that all run. Not before the last fork: of what a
        # thread imports meanwhile, such as logging, only half would take part in that
        import_early()
        computation = DmtcpComputation(root, workspace)
        try:
            with stream_flags_kept():
                is_up = await_all(computation, restart)
            if is_up:
                compare_state(computation, restart, len(_images_of(restart, 0)))
        except BaseException:
            computation.kill()
            computation.close()
            raise
        if not is_up:
            computation.kill()
            computation.close()
            return None
        return computation


def _launch_options(plugins: Sequence[Path]) -> list[str]:
    loaded = ["--with-plugin", ":".join(map(str, plugins))] if plugins else []
    # without the plugin DMTCP would send the other signal and still hide SIGUSR2
    signal_options = ["--ckpt-signal", str(CHECKPOINT_SIGNAL)] if built(SIGNALS_PLUGIN) in plugins else []
    return ["--no-gzip", *signal_options, *loaded]


def _start_command(
    workspace: Workspace, options: Sequence[str]
) -> Callable[[int, Sequence[str]], tuple[list[str], dict[str, str]]]:
    """Return a function that returns the command line and the environment to start a command on a node."""
    return lambda index, command: (workspace.argv("dmtcp_launch", options, command, index), workspace.environ(index))


def _refuse_other_node_count(restart: Restart) -> None:
    """Refuse to restart on another number of nodes than the images were made on."""
    made_on = int(restart.manifest.engine_data.get(NODES_KEY, "1"))
    here = len(restart.nodes.names) if restart.nodes else 1
    if made_on != here:
        raise EngineError(
            f"generation {restart.manifest.generation} was made on {made_on} nodes, and this run has {here}",
            f"ask for {made_on} nodes, or start over with --fresh",
        )


def _images_of(restart: Restart, index: int) -> list[str]:
    """Return the images of node INDEX."""
    names = restart.manifest.restart_images
    if restart.nodes is not None:
        names = [name for name in names if name.startswith(f"{index}/")]
    return [str(restart.folder / name) for name in names]


def _restart_others(workspace: Workspace, restart: Restart) -> None:
    """Restart the images of the other nodes on their nodes."""
    data, nodes = restart.manifest.engine_data, workspace.nodes
    if nodes is None:
        return
    nodes.serve(_start_command(workspace, _launch_options(restart.plugins)), json.loads(data[STARTED_KEY]))
    for index in range(1, nodes.count):
        nodes.ask(index, "clear", engine_data=of_node(data, index))
        if images := _images_of(restart, index):
            argv = workspace.argv("dmtcp_restart", [], images, index)
            nodes.ask(index, "start", argv=argv, environ=workspace.environ(index), cwd="/", is_restart=True)


@contextmanager
def _images_at_original_path(restart: Restart) -> Iterator[None]:
    """Make the images available where they were written, where DMTCP looks for copies of files (3.2 to 5.0)."""
    place = path_of(restart.manifest.staging)
    if not any("/" in image.name for image in restart.manifest.images):
        yield
        return
    missing = [folder for folder in (place, *place.parents) if not folder.exists()]
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.symlink_to(restart.folder)
    except OSError as error:
        raise RestartFailedError(
            f"DMTCP looks for copies of files in {place}, which cannot be created: {error.strerror}",
            "move the job's directory back to where it was",
        ) from error
    try:
        yield
    finally:
        place.unlink()
        for folder in missing[1:]:
            folder.rmdir()
