"""A running program under DMTCP: its checkpoints, and how it ended."""

from __future__ import annotations

import json
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from msgspec.structs import replace

from dmtcp_py.engine.dmtcp import images
from dmtcp_py.engine.dmtcp.assertions import explained
from dmtcp_py.engine.dmtcp.installation import logs_failures
from dmtcp_py.engine.dmtcp.readiness import SuspendedError
from dmtcp_py.engine.dmtcp.refusals import recent
from dmtcp_py.engine.dmtcp.safe_moment import SafeMoment
from dmtcp_py.engine.dmtcp.stopped import StoppedProcesses
from dmtcp_py.engine.dmtcp.verdict import Evidence, judge
from dmtcp_py.errors import CheckpointFailedError, EngineError
from dmtcp_py.rollback import recording
from dmtcp_py.rollback.changed_files import notes_at_checkpoint
from dmtcp_py.rollback.copies import HOLD_S, FileCopies
from dmtcp_py.rollback.parts import has_begun
from dmtcp_py.system.child import ExitStatus
from dmtcp_py.system.files import remove_tree
from dmtcp_py.system.reaping import LEFTOVER_GRACE_S, end_descendants, end_group
from dmtcp_py.system.stuck import what_they_wait_in
from dmtcp_py.system.timeout import Timeout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dmtcp_py.engine.dmtcp.coordinator import LogState
    from dmtcp_py.engine.dmtcp.workspace import Workspace
    from dmtcp_py.engine.protocol import ProgramEnd
    from dmtcp_py.store.staged import StagedImages
    from dmtcp_py.system.child import Child

NODES_KEY = "nodes"
STARTED_KEY = "started_on_nodes"
_POLL_S = 0.25
_STOP_S = 30.0
_MOST_SUSPENDED = 2
"""So often in a row a program is found suspended before it is ended; each look takes 20 s."""


class DmtcpComputation:
    """A program that runs under a coordinator of its own."""

    def __init__(self, root: Child, workspace: Workspace, *, is_launched: bool = False) -> None:
        self._root = root
        self.workspace = workspace
        self.coordinator = workspace.coordinator
        self._nodes = workspace.nodes
        self.temporary = workspace.folder
        self._staging = workspace.staging
        self.pid = root.pid
        self._safe_moment = SafeMoment(workspace, root.pid, self.has_ended, is_launched=is_launched)
        self._last_survived = 0
        self._begun_before_stop = 0
        self._stopped_by_us = False
        self._failure: str | None = None
        self._has_hung = False
        self._suspended = 0
        """How often in a row it was found suspended."""
        self._end: ProgramEnd | None = None
        self._ended_leftovers = False

    def known_pids(self) -> list[int]:
        """Return our children that belong to it."""
        return [self.pid, self.coordinator.pid, self.workspace.guard.pid, *(self._nodes.pids if self._nodes else [])]

    def has_ended(self) -> bool:
        """Whether the program's first process has ended."""
        return self._root.poll() is not None

    def poll(self) -> ProgramEnd | None:
        """Return how it ended; None while it runs."""
        if self._end is None:
            ending = self._root.poll()
            if ending is not None:
                self._end = self._judge(ending)
            elif not self.coordinator.is_alive() and self._failure is None:
                # its processes then end on their own, unless they are stopped or writing an image
                if self.coordinator.stop().kill_command is None:
                    self._failure = "its coordinator died"
                self._root.wait(_POLL_S)
                self.kill()
            elif self._nodes is not None and self._failure is None and (lost := self._nodes.lost_node()) is not None:
                self._failure = lost
                self.kill()
            else:
                self._note_foreign_checkpoint()
        return self._end

    def checkpoint(self, *, then_stop: bool, timeout_s: float) -> StagedImages:
        """Checkpoint the program, see `dmtcp_py.engine.protocol`; TIMEOUT_S bounds a time without progress."""
        try:
            with self._safe_moment.wait(then_stop=then_stop) as (peers, segments):
                staged = self._checkpoint(peers, segments, then_stop=then_stop, timeout_s=timeout_s)
                data = self._nodes_data()
        except SuspendedError as error:
            self._end_if_suspended_again(error)
            raise
        except CheckpointFailedError:
            raise
        except EngineError as error:
            if self._nodes is None:
                raise
            raise CheckpointFailedError(
                error.what, error.hint, program_lives=self._nodes.lost_node() is None
            ) from error
        self._suspended = 0
        return replace(staged, engine_data={**staged.engine_data, **data})

    def _end_if_suspended_again(self, error: SuspendedError) -> None:
        """Kill the program at the second such ERROR in a row: a machine may be slow, but then it never runs on."""
        self._suspended += 1
        if self._suspended == _MOST_SUSPENDED:
            self._has_hung = True
            self._fail(f"{error.what}: {what_they_wait_in(self.pid)}")

    def _nodes_data(self) -> dict[str, str]:
        """Return what a restart has to know about the nodes; nothing if there is only this one."""
        if self._nodes is None:
            return {}
        return {NODES_KEY: str(self._nodes.count), STARTED_KEY: json.dumps(self._nodes.started)}

    def _checkpoint(self, peers: int, segments: dict[str, str], *, then_stop: bool, timeout_s: float) -> StagedImages:
        self.workspace.empty_staging()
        before = self.coordinator.log_state
        copies = FileCopies(self.pid, self.temporary, self._staging)
        copies.find()
        self._stopped_by_us, self._begun_before_stop = then_stop, before.checkpoints_begun
        part = self._make_part_ready(holds=not then_stop)
        stopped = StoppedProcesses(self.temporary, self.pid)
        try:
            if not then_stop:
                # the next checkpoint is this one, after which the program runs on
                self._last_survived = before.checkpoints_begun + 1
            self.coordinator.command("--kcheckpoint" if then_stop else "--checkpoint")
            if self._await_written(before, stopped, then_stop=then_stop, timeout_s=timeout_s) and not then_stop:
                self._save(copies, self._journal_if_begun(part))
        finally:
            recording.release(self.workspace.undo)
        self._await_complete(before, then_stop=then_stop, timeout_s=timeout_s)
        stopped.await_stopped(lambda seconds: self.coordinator.wait_for(lambda _log: False, seconds))
        if then_stop:
            # the files change only once the program is resumed, and it may be killed after that
            copies.save(None, self._journal_if_begun(part))
        begun = self._part_if_begun(part)
        mapped = copies.missed_mapped
        uncovered = copies.missed if begun is None else mapped
        staged = images.collect(self.workspace, peers, uncovered, program_lives=not then_stop)
        return replace(
            staged,
            engine_data={**staged.engine_data, **segments},
            mapped_files=mapped,
            stamps={path: stamp for path, stamp in copies.stamps.items() if path in uncovered},
            undo_part=begun,
            notes=(*staged.notes, *copies.notes, *notes_at_checkpoint(uncovered, mapped, self.workspace.undo, begun)),
        )

    def _await_written(self, before: LogState, stopped: StoppedProcesses, *, then_stop: bool, timeout_s: float) -> bool:
        """Wait until the log shows that all images are written, unless the program is killed by then."""

        def is_written(log: LogState) -> bool:
            return log.written > before.written or (
                then_stop and log.checkpoints_complete > before.checkpoints_complete
            )

        return self._await(is_written, timeout_s, stopped.let_go_on)

    def _save(self, copies: FileCopies, journal: Path | None) -> None:
        """Save COPIES while the program is suspended; without a JOURNAL nothing holds it, and it may run again."""
        if journal is None:
            copies.save(self.coordinator.log_state.written_ns, None)
        else:
            until = time.monotonic() + HOLD_S
            copies.find()
            copies.save(None, journal, until)

    def _await_complete(self, before: LogState, *, then_stop: bool, timeout_s: float) -> None:
        """Wait until the log shows one more complete checkpoint than BEFORE; raise if its images cannot be trusted."""
        is_complete = self._await(lambda log: log.checkpoints_complete > before.checkpoints_complete, timeout_s)
        if then_stop and self._await_stopped() and not is_complete:
            # 3.2 does not always log that if it kills the program at once (4 of 8 runs with three processes)
            is_complete = self.coordinator.log_state.checkpoints_begun > before.checkpoints_begun
        if not is_complete or not self.coordinator.is_alive():
            raise CheckpointFailedError(
                "the program or its coordinator died during the checkpoint", program_lives=False
            )
        if self.coordinator.log_state.is_unclean:
            raise CheckpointFailedError(
                "a process started or ended during the checkpoint, and such images cannot be trusted",
                program_lives=not then_stop,
            )
        if self.coordinator.log_state.checkpoints_begun > before.checkpoints_begun + 1:
            raise CheckpointFailedError(
                "another dmtcp_command took a checkpoint at the same time", program_lives=not then_stop
            )
        if (message := self.workspace.failure_message()) is not None:
            # of another process, whose parent goes on as if that were the program's own end
            self._fail(explained(message))

    def _fail(self, failure: str) -> NoReturn:
        """Kill the program because of a FAILURE of DMTCP in a checkpoint."""
        self._failure = failure
        self.kill()
        raise CheckpointFailedError(failure, program_lives=False)

    def look(self) -> None:
        """Raise BlockedError if DMTCP cannot checkpoint what the program has now; for one node."""
        if (obstacle := self._safe_moment.obstacle()) is not None:
            raise obstacle.error

    def signal(self, signum: int) -> None:
        """Send SIGNUM to the program's processes."""
        self._root.signal_group(signum)
        if self._nodes is not None:
            self._nodes.send_all("signal", signum=signum)

    def kill(self) -> None:
        """Kill all processes of the program."""
        if not self._root.signal_group(signal.SIGKILL):
            self._root.signal(signal.SIGKILL)

    def close(self) -> bool:
        """End what is left; return whether processes of the program had to be ended."""
        if self._end is None:
            self.kill()
            self._root.stop()
            end_group(self.pid, grace_s=0)
            self.coordinator.stop()
        if self._nodes is not None:
            self._nodes.close()
        self.workspace.guard.dismiss()
        end_descendants()
        remove_tree(self.temporary)
        return self._ended_leftovers

    def _judge(self, exit_status: ExitStatus) -> ProgramEnd:
        """Collect what is known about the end of the computation, and judge what EXIT_STATUS means."""
        coordinator_lived = self.coordinator.is_alive()
        self._ended_leftovers = end_group(self.pid, grace_s=LEFTOVER_GRACE_S)
        log = self.coordinator.stop()
        if self._failure is None and log.kill_command is None and exit_status != ExitStatus(status=0):
            # the loss of a node can look like a failure of the program
            self._failure = (self._nodes.lost_node() or self._nodes.silent_node()) if self._nodes is not None else None
        return judge(
            Evidence(
                exit_status=exit_status,
                log=log,
                coordinator_lived=coordinator_lived,
                failure=self._failure,
                message=self.workspace.failure_message(),
                refusal=recent(self.temporary),
                fail_status=self.workspace.fail_status,
                logs_failures=logs_failures(self.workspace.dmtcp.version),
                last_survived_checkpoint=self._begun_before_stop if self._stopped_by_us else self._last_survived,
                has_hung=self._has_hung,
            )
        )

    def _make_part_ready(self, *, holds: bool) -> str | None:
        """Prepare the part of the journal that the checkpoint begins; with HOLDS, processes wait for their release."""
        root = self.workspace.undo
        return None if root is None else recording.make_ready_for_checkpoint(root, holds=holds)

    def _part_if_begun(self, part: str | None) -> str | None:
        """Return PART if the checkpoint has begun it."""
        root = self.workspace.undo
        return part if root is not None and part is not None and has_begun(root, part) else None

    def _journal_if_begun(self, part: str | None) -> Path | None:
        """Return the folder of the journal if the checkpoint has begun PART."""
        return None if self._part_if_begun(part) is None else self.workspace.undo

    def _note_foreign_checkpoint(self) -> None:
        """Note that the program runs on after a checkpoint that another dmtcp_command took."""
        begun = self.coordinator.log_state.checkpoints_begun
        if begun > self._last_survived:
            with suppress(EngineError):
                if self.coordinator.status().is_running:
                    self._last_survived = begun

    def _await(
        self, condition: Callable[[LogState], bool], timeout_s: float, meanwhile: Callable[[], None] | None = None
    ) -> bool:
        """Wait for CONDITION as long as images are written; return whether it came true before the program ended.

        Kills the program if nothing is written for TIMEOUT_S. Calls MEANWHILE from time to time.
        """
        before, timeout = -1, Timeout(timeout_s)
        while not self.coordinator.wait_for(condition, _POLL_S):
            if self.has_ended() or not self.coordinator.is_alive():
                # the last lines of the log may not have been read yet
                return self.coordinator.wait_for(condition, _POLL_S)
            if meanwhile is not None:
                meanwhile()
            size = images.bytes_written(self.workspace)
            if size != before:
                before = size
                timeout.renew()
            if timeout.is_over():
                message = self.workspace.failure_message()
                self._has_hung = message is None
                hung = f"a checkpoint hung, nothing was written for {timeout_s:.0f} s: {what_they_wait_in(self.pid)}"
                self._fail(explained(message) if message else hung)
        return True

    def _await_stopped(self) -> bool:
        """Wait until no process is left after the last checkpoint; kill the program if one stays."""
        timeout = Timeout(_STOP_S)
        while not timeout.is_over():
            with suppress(EngineError):
                if self.has_ended() and self.coordinator.status().peers == 0:
                    return True
            self.coordinator.wait_for(lambda _log: False, _POLL_S)
        self._failure = "the program did not stop after its last checkpoint"
        self.kill()
        return False
