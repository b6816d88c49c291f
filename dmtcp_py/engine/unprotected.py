"""No engine: the program runs as it would without dmtcp-run, and is never checkpointed."""

from __future__ import annotations

import signal
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NoReturn

from dmtcp_py.engine.protocol import EndKind, ProgramEnd
from dmtcp_py.errors import BlockedError, EngineError
from dmtcp_py.system.child import Child, ChildStdio, Guard
from dmtcp_py.system.files import remove_tree
from dmtcp_py.system.reaping import LEFTOVER_GRACE_S, end_descendants, end_group

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dmtcp_py.engine.protocol import Launch, Restart, Stdio


class Unprotected:
    """Stands in for an engine if none can checkpoint the program and the user wants to run it anyway."""

    name = "none"

    def version(self) -> str:
        """Return a placeholder: there is no engine."""
        return "(unprotected)"

    def refusal(self, program: Path) -> str | None:  # noqa: ARG002 - it runs every program
        """Return None."""
        return None

    def refusal_of_nodes(self) -> str | None:
        """Return None: nothing is checkpointed on any node."""
        return None

    def doubt(self, program: Path) -> str | None:  # noqa: ARG002 - as above
        """Return None."""
        return None

    def launch(self, launch: Launch) -> UnprotectedComputation:
        """Start a program."""
        return UnprotectedComputation(launch)

    def restart(self, restart: Restart) -> NoReturn:
        """Raise EngineError: nothing was ever checkpointed."""
        raise EngineError(f"generation {restart.manifest.generation} was made by no engine", "use --fresh")


class UnprotectedComputation:
    """A program without an engine."""

    def __init__(self, launch: Launch) -> None:
        self.temporary = launch.temporary
        self._guard = Guard(launch.temporary, launch.environ)
        with _open_streams(launch.stdio) as streams:
            self._child = Child([str(launch.program), *launch.command[1:]], env=launch.environ, stdio=streams)
        self._guard.watch(self._child.pid)
        self.pid = self._child.pid

    def known_pids(self) -> list[int]:
        """Return our children that belong to it."""
        return [self.pid, self._guard.pid]

    def poll(self) -> ProgramEnd | None:
        """Return how it ended; None while it runs."""
        ending = self._child.poll()
        if ending is None:
            return None
        if ending.signum is not None:
            return ProgramEnd(EndKind.SIGNALLED, signum=ending.signum)
        return ProgramEnd(EndKind.EXITED, status=ending.status or 0)

    def checkpoint(self, *, then_stop: bool, timeout_s: float) -> NoReturn:  # noqa: ARG002 - the protocol's
        """Raise BlockedError."""
        raise BlockedError("the program runs without an engine", "if it is stopped, it starts over")

    def look(self) -> None:
        """Do nothing: there is no checkpoint to look out for."""

    def signal(self, signum: int) -> None:
        """Send SIGNUM to the program's processes."""
        self._child.signal_group(signum)

    def kill(self) -> None:
        """Kill all processes of the program."""
        self._child.signal_group(signal.SIGKILL)

    def close(self) -> bool:
        """End what is left; return whether processes of the program had to be ended."""
        had_to = end_group(self.pid, grace_s=LEFTOVER_GRACE_S)
        self._guard.dismiss()
        end_descendants()
        remove_tree(self.temporary)
        return had_to


@contextmanager
def _open_streams(stdio: Stdio) -> Iterator[ChildStdio]:
    """Open the files of the program's standard streams; yield them until the program has started."""
    with ExitStack() as stack:
        stdin = stack.enter_context(stdio.stdin.open("rb")) if stdio.stdin else None
        if stdin:
            stdin.seek(stdio.stdin_offset)
        stdout = stack.enter_context(stdio.stdout.open("wb")) if stdio.stdout else None
        stderr = stdout
        if stdio.stderr != stdio.stdout:
            stderr = stack.enter_context(stdio.stderr.open("wb")) if stdio.stderr else None
        yield ChildStdio(*(file.fileno() if file else None for file in (stdin, stdout, stderr)))
