"""What an engine can do, whichever it is. Who asks never sees which one answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dmtcp_py.store.records import Manifest
    from dmtcp_py.store.staged import StagedImages


@dataclass(frozen=True)
class Stdio:
    """The files of the program's standard streams that belong to its checkpoint; None is inherited from us."""

    stdin: Path | None = None
    stdin_offset: int = 0
    stdout: Path | None = None
    stderr: Path | None = None

    @property
    def paths(self) -> tuple[Path | None, Path | None, Path | None]:
        """The files by descriptor."""
        return self.stdin, self.stdout, self.stderr


@dataclass(frozen=True)
class NodeList:
    """The nodes over which a computation is nodes, by NAME; the first is this one.

    COMMAND_ON returns the command line that runs another on a node. SPOOL is a folder that all nodes see, with the
    same path in every attempt. By OWNER each node knows what it has of the job's temporary files.
    """

    names: tuple[str, ...]
    command_on: Callable[[str, Sequence[str]], Sequence[str]]
    spool: Path
    owner: Path


@dataclass(frozen=True)
class Launch:
    """What to start, and where its images are to be written.

    PLUGINS are shared objects that the engine is to load into the program. TEMPORARY is the engine's, to be removed at
    the end.
    """

    command: tuple[str, ...]
    program: Path
    stdio: Stdio
    environ: Mapping[str, str]
    staging: Path
    temporary: Path
    plugins: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    """What the program is to find, for this user alone."""
    nodes: NodeList | None = None
    undo: Path | None = None
    """Where it is noted what the program does to files."""


@dataclass(frozen=True)
class Restart:
    """The images of one generation, and where new ones are to be written. TEMPORARY as for `Launch`."""

    folder: Path
    manifest: Manifest
    stdio: Stdio
    environ: Mapping[str, str]
    staging: Path
    temporary: Path
    is_cancelled: Callable[[], bool]
    """Whether we were told to stop while the images come up."""
    undo: Path | None
    """As for `Launch`."""
    accepts_changed: bool
    """Whether files that cannot be made what they were are to stay as they are."""
    warn: Callable[[str], None]
    """Gets what the user is to know of it."""
    plugins: tuple[Path, ...] = ()
    nodes: NodeList | None = None


class EndKind(Enum):
    """How a computation ended."""

    EXITED = "exited"
    SIGNALLED = "signalled"
    KILLED_BY_COMMAND = "killed by an engine command"
    ENGINE_FAILED = "engine failed"


@dataclass(frozen=True)
class ProgramEnd:
    """How a computation ended: the program's own STATUS, the SIGNUM that killed it, or DETAIL."""

    kind: EndKind
    status: int = 0
    signum: int = 0
    detail: str = ""


class Computation(Protocol):
    """A running program with all its processes."""

    pid: int
    """The first of its processes, as it is seen here; it leads their group."""
    temporary: Path
    """The engine's private folder, for as long as the computation runs."""

    def known_pids(self) -> list[int]:
        """Return our children that belong to it, for which it waits itself."""

    def poll(self) -> ProgramEnd | None:
        """Return how it ended; None while it runs."""

    def checkpoint(self, *, then_stop: bool, timeout_s: float) -> StagedImages:
        """Return complete images; with THEN_STOP nothing of the program runs after them.

        May be called in another thread than `poll`. Raises CheckpointFailedError, which says whether the program
        lives.
        """

    def signal(self, signum: int) -> None:
        """Send SIGNUM to all processes of the group."""

    def kill(self) -> None:
        """Kill the program; may be called while a checkpoint is under way, which then fails."""

    def close(self) -> bool:
        """End what is left of it and of the engine, remove temporary files; say whether processes had to be."""


class Engine(Protocol):
    """A way to take images of programs and to go on from them."""

    name: str

    def version(self) -> str:
        """Return the version of the engine on this machine."""

    def refusal(self, program: Path) -> str | None:
        """Return why the engine cannot take the executable PROGRAM; None where nothing speaks against it."""

    def refusal_of_nodes(self) -> str | None:
        """Return why the engine cannot take a computation over several nodes; None where it can."""

    def doubt(self, program: Path) -> str | None:
        """Return why the engine should not take PROGRAM unless it is asked to; None where nothing speaks against."""

    def launch(self, launch: Launch) -> Computation:
        """Start a program; raise EngineError where that fails."""

    def restart(self, restart: Restart) -> Computation | None:
        """Go on from images, and return once all processes run again; None where it was cancelled before.

        Raises RestartFailedError where these images do not come up, EngineError where no images would.
        """
