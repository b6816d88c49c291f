"""A running program in namespaces of its own: its images, and how it ended."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dmtcp_py.engine import End, How, undo
from dmtcp_py.engine.criu import frozen, keeper
from dmtcp_py.engine.criu.command import dump_argv, failure_in
from dmtcp_py.errors import CheckpointFailedError, HinderedError
from dmtcp_py.files import make_private_dir, remove_tree
from dmtcp_py.process import Patience, end_descendants, signal_group
from dmtcp_py.store.store import StagedImages, stage

if TYPE_CHECKING:
    from pathlib import Path

    from dmtcp_py.engine.criu.channel import Channel
    from dmtcp_py.engine.criu.command import Tool
    from dmtcp_py.engine.criu.streams import Connections

RESTART_IMAGES = ("inventory.img",)
_LOOK_S = 0.25
_DRAIN_S = 0.25
_PASS_ON_S = 10.0
_STOP_S = 30.0


class CriuComputation:
    """A program below a keeper."""

    def __init__(self, tool: Tool, channel: Channel, connections: Connections, pid: int, staging: Path) -> None:
        self._tool = tool
        self._channel = channel
        self._connections = connections
        self.temporary = tool.temporary
        self._staging = staging
        self.pid = pid
        self._was_killed = False
        self._stopped_by_us = False
        self._failure: str | None = None
        self._end: End | None = None

    def known_pids(self) -> list[int]:
        """Return our children that belong to it."""
        return [self._channel.child.pid]

    def poll(self) -> End | None:
        """Return how it ended, once what it wrote is where it belongs; None while it runs."""
        if self._end is None and self._channel.child.poll() is not None:
            self._channel.close()
            if self._was_killed or self._connections.are_done(_DRAIN_S):
                self._end = self._judge()
        return self._end

    def checkpoint(self, *, then_stop: bool, timeout_s: float) -> StagedImages:
        """Return complete images; see `dmtcp_py.engine.Computation`. TIMEOUT_S bounds a time without progress."""
        remove_tree(self._staging)
        make_private_dir(self._staging)
        root = self._tool.undo
        part = None if root is None else undo.make_ready(root)
        done = len(self._channel.told.dumps)
        with undo.closed_gate(root, for_last=then_stop):
            self._channel.order(
                "dump",
                folder=str(self._staging),
                then_stop=then_stop,
                argv=dump_argv(self._tool, self._staging, then_stop=then_stop),
                environ=dict(self._tool.environ),
                output=str(self._tool.output("dump")),
            )
            self._await_dump(done, timeout_s)
        status = self._channel.told.dumps[done]
        if status < 0:
            # what it had put into the processes may still be there
            self._failure = f"criu dump was killed by signal {-status}"
            self.kill()
            raise CheckpointFailedError(self._failure, program_lives=False)
        if status != 0 and self._channel.wait_for(lambda told: told.ended is not None, _LOOK_S):
            raise CheckpointFailedError("the program ended in it", program_lives=False)
        if status != 0:
            raise _failed(failure_in(self._tool, "dump"))
        if then_stop:
            self._stopped_by_us = True
            if self._channel.child.wait(_STOP_S) is None:
                self._failure = "the program did not stop after its last checkpoint"
                self.kill()
                raise CheckpointFailedError(self._failure, program_lives=False)
        elif not self._connections.are_passed_on(_PASS_ON_S):
            raise CheckpointFailedError(
                "the reader of the program's output takes nothing",
                "is its terminal paused (Ctrl-Q)?",
                program_lives=True,
            )
        staged = self._collect(then_stop=then_stop)
        if root is None or part is None or not undo.has_begun(root, part):
            return staged
        return replace(staged, engine_data={**staged.engine_data, undo.KEY: part})

    def signal(self, signum: int) -> None:
        """Send SIGNUM to the program's group, which the init leads and outlives."""
        if signum == signal.SIGWINCH:
            self._connections.resize()
        signal_group(self.pid, signum)

    def kill(self) -> None:
        """Kill all processes of the program."""
        self._was_killed = True
        self._channel.kill()

    def close(self) -> bool:
        """End what is left; return whether processes of the program had to be ended."""
        if self._channel.child.poll() is None:
            self.kill()
            if self._channel.child.wait(_STOP_S) is None:
                self._channel.child.stop()
        self._channel.close()
        self._connections.close()
        end_descendants()
        remove_tree(self.temporary)
        return self._channel.told.leftovers

    def _judge(self) -> End:
        told = self._channel.told
        if self._failure is not None:
            return End(How.ENGINE_FAILED, detail=self._failure)
        if told.ended is not None:
            if os.WIFSIGNALED(told.ended):
                return End(How.SIGNALLED, signum=os.WTERMSIG(told.ended))
            return End(How.EXITED, status=os.WEXITSTATUS(told.ended))
        if self._stopped_by_us:
            return End(How.KILLED_BY_COMMAND, detail="criu dump")
        if self._was_killed:
            return End(How.SIGNALLED, signum=signal.SIGKILL)
        return End(How.ENGINE_FAILED, detail=self._channel.own_words() or "its keeper was killed")

    def _await_dump(self, done: int, timeout_s: float) -> None:
        """Wait as long as anything is written; kill the program where nothing is for TIMEOUT_S."""
        written, patience = -1, Patience(timeout_s)
        while not self._channel.wait_for(lambda told: len(told.dumps) > done, _LOOK_S):
            if self._channel.told.is_gone:
                raise CheckpointFailedError("the program ended in it", program_lives=False)
            size = _size_of(self._staging)
            if size != written:
                written = size
                patience.renew()
            if patience.is_over():
                self._failure = f"a checkpoint hung: nothing was written for {timeout_s:.0f} s"
                self.kill()
                raise CheckpointFailedError(self._failure, program_lives=False)

    def _collect(self, *, then_stop: bool) -> StagedImages:
        missing = [
            name for name in (*RESTART_IMAGES, frozen.FILES, keeper.RECORD) if not (self._staging / name).is_file()
        ]
        if missing:
            raise CheckpointFailedError(f"criu dump wrote no {missing[0]}", program_lives=not then_stop)
        look: dict[str, Any] = json.loads((self._staging / frozen.FILES).read_text(encoding="utf-8"))
        uncovered = [file for file in look["files"] if file["is_read"] and file["copy"] is None]
        notes = [
            f"the program is connected to {far}, which goes back to no earlier state: a resume breaks that"
            for far in look["outside"]
        ]
        notes += [
            f"what {name} does to files by their names is not undone after a crash: it is statically linked or made by "
            "Go, dropped its environment, or has another user or root folder"
            for name in look["unwatched"]
        ]
        updated = sorted(file["path"] for file in uncovered)
        staged = stage(self._staging, RESTART_IMAGES, look["processes"] - 1, updated_files=updated, notes=notes)
        return replace(staged, mapped_files=tuple(file["path"] for file in uncovered if file["is_mapped"]))


def _failed(reason: str) -> CheckpointFailedError:
    """Return the error for a dump that failed for this REASON and left the program running."""
    if "[io_uring]" in reason:
        hint = "for libuv (torchrun) install dmtcp-py where a C compiler is; --allow-unprotected runs it all the same"
        return HinderedError("the program uses io_uring, which CRIU cannot take", hint)
    return CheckpointFailedError(f"criu dump failed: {reason}", program_lives=True)


def _size_of(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size
    return total
