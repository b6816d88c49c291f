"""A running program in namespaces of its own: its checkpoints, and how it ended."""

from __future__ import annotations

import os
import signal
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from msgspec.structs import replace

from dmtcp_py.engine.criu import obstacles
from dmtcp_py.engine.criu.command import dump_argv, failure_in
from dmtcp_py.engine.criu.inside import keeper
from dmtcp_py.engine.criu.inside.refusal import left_in
from dmtcp_py.engine.criu.reasons import explained
from dmtcp_py.engine.protocol import EndKind, ProgramEnd
from dmtcp_py.errors import BlockedError, CheckpointFailedError
from dmtcp_py.rollback import held_files, in_memory, recording
from dmtcp_py.rollback.changed_files import notes_at_checkpoint
from dmtcp_py.rollback.parts import has_begun
from dmtcp_py.store.staged import StagedImages, stage
from dmtcp_py.system.files import make_private_dir, remove_tree, size_below
from dmtcp_py.system.reaping import end_descendants, signal_group
from dmtcp_py.system.stuck import what_they_wait_in
from dmtcp_py.system.timeout import Timeout

if TYPE_CHECKING:
    from pathlib import Path

    from dmtcp_py.engine.criu.command import Tool
    from dmtcp_py.engine.criu.keeper_client import KeeperClient
    from dmtcp_py.engine.criu.stdio import Connections
    from dmtcp_py.rollback.held_files import HeldFiles

RESTART_IMAGES = ("inventory.img",)
_POLL_S = 0.25
_DRAIN_S = 0.25
_PASS_ON_S = 10.0
_STOP_S = 30.0


class CriuComputation:
    """A program that runs below a keeper."""

    def __init__(
        self, tool: Tool, keeper_client: KeeperClient, connections: Connections, pid: int, staging: Path
    ) -> None:
        self._tool = tool
        self._keeper = keeper_client
        self._connections = connections
        self.temporary = tool.temporary
        self._staging = staging
        self.pid = pid
        self._was_killed = False
        self._stopped_by_us = False
        self._failure: str | None = None
        self._has_hung = False
        self._end: ProgramEnd | None = None

    def known_pids(self) -> list[int]:
        """Return our children that belong to it."""
        return [self._keeper.child.pid]

    def poll(self) -> ProgramEnd | None:
        """Return how it ended, once its output has been copied; None while it runs."""
        if self._end is None and self._keeper.child.poll() is not None:
            self._keeper.close()
            if self._was_killed or self._connections.are_done(_DRAIN_S):
                self._end = self._judge()
        return self._end

    def checkpoint(self, *, then_stop: bool, timeout_s: float) -> StagedImages:
        """Checkpoint the program, see `dmtcp_py.engine.protocol`; TIMEOUT_S bounds a time without progress."""
        remove_tree(self._staging)
        make_private_dir(self._staging)
        self._refuse()
        root = self._tool.undo
        part = None if root is None else recording.make_ready_for_checkpoint(root, holds=False)
        with recording.closed_gate(root, for_last=then_stop):
            status = self._dump(then_stop=then_stop, timeout_s=timeout_s)
        self._check_dumped(status)
        if then_stop:
            self._await_stop()
        else:
            self._check_running()
        begun = part if root is not None and part is not None and has_begun(root, part) else None
        staged = self._collect(begun, then_stop=then_stop)
        missed = notes_at_checkpoint(staged.updated_files, staged.mapped_files, root, begun)
        return replace(staged, undo_part=begun, notes=(*staged.notes, *missed))

    def look(self) -> None:
        """Raise BlockedError if CRIU cannot checkpoint what the program has now."""
        obstacles.refuse(self.pid)

    def signal(self, signum: int) -> None:
        """Send SIGNUM to the program's process group, whose leader, the init, outlives the program."""
        if signum == signal.SIGWINCH:
            self._connections.resize()
        signal_group(self.pid, signum)

    def kill(self) -> None:
        """Kill all processes of the program."""
        self._was_killed = True
        self._keeper.kill()

    def close(self) -> bool:
        """End what is left; return whether processes of the program had to be ended."""
        if self._keeper.child.poll() is None:
            self.kill()
            if self._keeper.child.wait(_STOP_S) is None:
                self._keeper.child.stop()
        self._keeper.close()
        self._connections.close()
        end_descendants()
        remove_tree(self.temporary)
        return self._keeper.state.leftovers

    def _judge(self) -> ProgramEnd:
        ended = self._keeper.state.ended
        if self._failure is not None:
            return ProgramEnd(EndKind.ENGINE_FAILED, detail=self._failure, has_hung=self._has_hung)
        if ended is not None:
            if os.WIFSIGNALED(ended):
                return ProgramEnd(EndKind.SIGNALLED, signum=os.WTERMSIG(ended))
            return ProgramEnd(EndKind.EXITED, status=os.WEXITSTATUS(ended))
        if self._stopped_by_us:
            return ProgramEnd(EndKind.KILLED_BY_COMMAND, detail="criu dump")
        if self._was_killed:
            return ProgramEnd(EndKind.SIGNALLED, signum=signal.SIGKILL)
        return ProgramEnd(EndKind.ENGINE_FAILED, detail=self._keeper.last_line() or "its keeper was killed")

    def _dump(self, *, then_stop: bool, timeout_s: float) -> int:
        """Have the keeper run ``criu dump``; return its status."""
        done = len(self._keeper.state.dumps)
        self._keeper.order(
            "dump",
            folder=str(self._staging),
            then_stop=then_stop,
            argv=dump_argv(self._tool, self._staging, then_stop=then_stop),
            environ=dict(self._tool.environ),
            output=str(self._tool.output("dump")),
        )
        self._await_dump(done, timeout_s)
        return self._keeper.state.dumps[done]

    def _check_dumped(self, status: int) -> None:
        """Raise CheckpointFailedError unless STATUS, that of ``criu dump``, is 0."""
        if status < 0:
            # the code that criu injects into the processes may still be there
            self._fail(f"criu dump was killed by signal {-status}")
        if status != 0 and self._keeper.wait_for(lambda state: state.ended is not None, _POLL_S):
            raise CheckpointFailedError("the program ended during the checkpoint", program_lives=False)
        if status != 0:
            self._refuse()
            raw = failure_in(self._tool, "dump")
            raise CheckpointFailedError(explained(raw) or f"criu dump failed: {raw}", program_lives=True, raw=raw)

    def _check_running(self) -> None:
        """Raise CheckpointFailedError if the images lack something of the program that runs on."""
        # what the program opened after the first look, and before it was frozen
        self._refuse()
        if not self._connections.are_passed_on(_PASS_ON_S):
            raise CheckpointFailedError(
                "nothing reads the program's output",
                "if its terminal is paused, press Ctrl-Q",
                program_lives=True,
            )

    def _refuse(self) -> None:
        """Raise BlockedError for what CRIU cannot take in this way."""
        obstacles.refuse(self.pid)
        refusal = left_in(self._staging) or self._tool.way.refusal(self.pid)
        if refusal is not None and refusal.has_changed:
            self._fail(refusal.what)
        if refusal is not None:
            raise BlockedError(refusal.what, refusal.hint, may_pass=refusal.is_temporary)

    def _await_stop(self) -> None:
        self._stopped_by_us = True
        if self._keeper.child.wait(_STOP_S) is None:
            self._fail("the program did not stop after its last checkpoint")

    def _fail(self, why: str) -> NoReturn:
        """Kill the program, whose state is not known any more, and raise CheckpointFailedError."""
        self._failure = why
        self.kill()
        raise CheckpointFailedError(why, program_lives=False)

    def _await_dump(self, done: int, timeout_s: float) -> None:
        """Wait as long as images are written; kill the program if nothing is written for TIMEOUT_S."""
        written, timeout = -1, Timeout(timeout_s)
        while not self._keeper.wait_for(lambda state: len(state.dumps) > done, _POLL_S):
            if self._keeper.state.is_gone:
                raise CheckpointFailedError("the program ended during the checkpoint", program_lives=False)
            size = size_below(self._staging)
            if size != written:
                written = size
                timeout.renew()
            if timeout.is_over():
                self._has_hung = True
                stuck = what_they_wait_in(self._keeper.child.pid)
                self._fail(f"a checkpoint hung, nothing was written for {timeout_s:.0f} s: {stuck}")

    def _collect(self, begun: str | None, *, then_stop: bool) -> StagedImages:
        """Return the images; BEGUN is the part of the journal that began with them, None if nothing is recorded."""
        missing = [
            name for name in (*RESTART_IMAGES, held_files.NAME, keeper.RECORD) if not (self._staging / name).is_file()
        ]
        if missing:
            raise CheckpointFailedError(f"criu dump wrote no {missing[0]}", program_lives=not then_stop)
        held = held_files.read(self._staging)
        if held.unwatched:
            held = held._replace(streams=_own_streams())
            held_files.write(self._staging, held)
        is_recorded = begun is not None and not held.unwatched
        uncovered = [
            file for file in held.files if file.is_read and file.copy is None and (file.is_mapped or not is_recorded)
        ]
        return stage(
            self._staging,
            RESTART_IMAGES,
            held.processes - 1,
            updated_files=tuple(sorted(file.path for file in uncovered)),
            mapped_files=tuple(file.path for file in uncovered if file.is_mapped),
            stamps={file.path: file.stamp for file in uncovered if file.stamp is not None},
            notes=_notes(held),
            way=self._tool.way.words,
        )


def _notes(held: HeldFiles) -> tuple[str, ...]:
    """Return notes for the user about what a resume cannot restore."""
    connected = [
        f"the program is connected to {far}, which is not part of the checkpoint: a resume breaks the connection"
        for far in held.outside
    ]
    unwatched = [
        f"changes that {name} makes to files by name are not recorded: it is statically linked or made by Go, dropped "
        "its environment, or has another user or root directory. After a crash the job resumes only if no such change "
        f"is found in {', '.join(held.trees) or 'its directories'}, or with --accept-changed-files"
        for name in held.unwatched
    ]
    return (*connected, *unwatched, *in_memory.notes(held.files))


def _own_streams() -> list[str]:
    """Return the files to which we write the program's output, where they are files."""
    found = []
    for fd in (1, 2):
        with suppress(OSError):
            if stat.S_ISREG(os.fstat(fd).st_mode):
                found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return found
