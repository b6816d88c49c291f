"""The interface of an engine. Its callers never see which engine is behind it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dmtcp_py.state.record import Compared
    from dmtcp_py.store.records import Manifest
    from dmtcp_py.store.staged import StagedImages


def _say_nothing(text: str) -> None:
    """Do nothing with TEXT."""


class Stdio(Struct, frozen=True):
    """The program's standard streams: a file belongs to the checkpoint, None is inherited from dmtcp-run."""

    stdin: Path | None = None
    stdin_offset: int = 0
    stdout: Path | None = None
    stderr: Path | None = None

    @property
    def paths(self) -> tuple[Path | None, Path | None, Path | None]:
        """The files by descriptor."""
        return self.stdin, self.stdout, self.stderr


class NodeList(Struct, frozen=True):
    """The nodes of a computation by their NAMES; the first is this one.

    COMMAND_ON returns the command line that runs a given command on a node. SPOOL is a folder that all nodes see, with
    the same path in every attempt. Each node derives the names of the job's temporary files from OWNER.
    """

    names: tuple[str, ...]
    command_on: Callable[[str, Sequence[str]], Sequence[str]]
    spool: Path
    owner: Path


class Launch(Struct, frozen=True):
    """A program to start, and the folder in which the engine stages its images.

    PLUGINS are shared objects that the engine loads into the program. TEMPORARY is the engine's private folder, which
    it removes at the end.
    """

    command: tuple[str, ...]
    program: Path
    stdio: Stdio
    environ: Mapping[str, str]
    staging: Path
    temporary: Path
    plugins: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    """Folders that the program needs at its start, private to this user."""
    nodes: NodeList | None = None
    undo: Path | None = None
    """The folder of the journal, which records the program's changes to files."""
    network: str | None = None
    """Whether the program is in the ``host``'s network or in its ``own``; None where the engine decides."""
    say: Callable[[str], None] = _say_nothing
    """Called with each line for a user who wants more than warnings."""


class Restart(Struct, frozen=True):
    """The images of one generation, and the folder in which the engine stages new ones; TEMPORARY as in `Launch`."""

    folder: Path
    manifest: Manifest
    stdio: Stdio
    environ: Mapping[str, str]
    staging: Path
    temporary: Path
    is_cancelled: Callable[[], bool]
    """Whether dmtcp-run was asked to stop while it restarts the program."""
    undo: Path | None
    """As in `Launch`."""
    accepts_changed: bool
    """Whether to restart although a file cannot be restored; the file then stays as it is."""
    warn: Callable[[str], None]
    """Called with each warning for the user."""
    accepts_changed_state: bool = False
    """Whether to restart although a process is not what it was at the checkpoint."""
    code: Mapping[str, Path] = {}
    """Copies of files with code that have changed, by path: an engine whose images lack the code restarts with them."""
    compared: Callable[[Compared], None] = lambda _: None
    """Called once the processes have been compared with what was recorded of them."""
    plugins: tuple[Path, ...] = ()
    nodes: NodeList | None = None
    say: Callable[[str], None] = _say_nothing
    """As in `Launch`."""


class EndKind(Enum):
    """How a computation ended."""

    EXITED = "exited"
    SIGNALLED = "signalled"
    KILLED_BY_COMMAND = "killed by an engine command"
    ENGINE_FAILED = "engine failed"
    UNSUITABLE = "failed for want of something that the engine refused"


class ProgramEnd(Struct, frozen=True):
    """How a computation ended: the program's own STATUS, the SIGNUM that killed it, or a DETAIL from the engine."""

    kind: EndKind
    status: int = 0
    signum: int = 0
    detail: str = ""
    for_another: bool = False
    """Whether another engine was seen to handle what this one refused."""
    raw: str = ""
    """The engine's own message, for the history."""
    has_hung: bool = False
    """Whether the engine failed because a checkpoint came to no end."""


class Computation(Protocol):
    """A running program with all its processes."""

    pid: int
    """The pid, outside any namespace, of its first process, which leads the process group."""
    temporary: Path
    """The engine's private folder, for as long as the computation runs."""

    def known_pids(self) -> list[int]:
        """Return our children that belong to it, which it reaps itself."""

    def poll(self) -> ProgramEnd | None:
        """Return how it ended; None while it runs."""

    def checkpoint(self, *, then_stop: bool, timeout_s: float) -> StagedImages:
        """Checkpoint the program and return its complete images; with THEN_STOP no process of it runs afterwards.

        May be called from another thread than `poll`. Raises CheckpointFailedError, which says whether the program
        still runs.
        """

    def look(self) -> None:
        """Raise BlockedError if a checkpoint is not possible now. Called from another thread."""

    def signal(self, signum: int) -> None:
        """Send SIGNUM to all processes of the group."""

    def kill(self) -> None:
        """Kill the program; may be called while a checkpoint is under way, which then fails."""

    def close(self) -> bool:
        """End all that is left of it and remove temporary files; return whether the program had processes left."""


class Engine(Protocol):
    """A checkpointer: it launches programs, checkpoints them, and restarts them from their images."""

    name: str

    def version(self) -> str:
        """Return the version of the engine on this machine."""

    def refusal(self, program: Path) -> str | None:
        """Return why the engine cannot checkpoint the executable PROGRAM; None if its file shows no reason."""

    def refusal_of_nodes(self) -> str | None:
        """Return why the engine cannot checkpoint a computation on several nodes; None if it can."""

    def doubt(self, program: Path) -> str | None:
        """Return why the engine should run PROGRAM only if the user names the engine; None if there is no reason."""

    def launch(self, launch: Launch) -> Computation:
        """Start a program; raise EngineError if that fails."""

    def restart(self, restart: Restart) -> Computation | None:
        """Restart a program and return once all its processes run; return None if that was cancelled.

        Raises RestartFailedError if these images cannot be restarted, RestartHungError if they may come up the next
        time, EngineError if no images could be.
        """
