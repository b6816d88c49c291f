"""A running program under DMTCP: its checkpoints, and how it ended."""

from __future__ import annotations

import json
import signal
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from dmtcp_py.engine import End, How, undo
from dmtcp_py.engine.dmtcp import images
from dmtcp_py.engine.dmtcp.coordinator import COLOUR
from dmtcp_py.engine.dmtcp.hindrance import Hindrance
from dmtcp_py.engine.dmtcp.installation import logs_failures
from dmtcp_py.engine.dmtcp.look import Look, hindrance, look
from dmtcp_py.engine.dmtcp.readiness import Readiness
from dmtcp_py.engine.dmtcp.segments import for_node, recorded
from dmtcp_py.engine.dmtcp.updates import Updates
from dmtcp_py.errors import CheckpointFailedError, EngineError, HinderedError
from dmtcp_py.files import remove_tree
from dmtcp_py.process import LEFTOVER_GRACE_S, Ending, Patience, end_descendants, end_group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dmtcp_py.engine.dmtcp.coordinator import Told
    from dmtcp_py.engine.dmtcp.place import Place
    from dmtcp_py.process import Child
    from dmtcp_py.store.store import StagedImages

NODES_KEY = "nodes"
STARTED_KEY = "started_on_nodes"
_HOLD_SENDING = "hold-sending"
"""native/sent.c waits for it to go."""
_LOOK_S = 0.25
_LOOKS = 3
"""So often what is doubtful has to be seen until it counts."""
_PASSES_WITHIN_S, _PASSES_WITHIN_STOP_S = 120.0, 3.0
_STOP_S = 30.0
_MOST_CHARS = 300


class DmtcpComputation:
    """A program that runs under a coordinator of its own."""

    def __init__(self, root: Child, place: Place, *, is_launched: bool = False) -> None:
        self._root = root
        self._is_launched = is_launched
        self.place = place
        self.coordinator = place.coordinator
        self._nodes = place.nodes
        self._awaits_ranks = is_launched and place.nodes is not None
        self.temporary = place.folder
        self._staging = place.staging
        self.pid = root.pid
        self._ready = Readiness(place.coordinator, root.pid, self.has_ended)
        self._ran_after = 0
        self._begun_before_stop = 0
        self._stopped_by_us = False
        self._failure: str | None = None
        self._end: End | None = None
        self._ended_leftovers = False

    def known_pids(self) -> list[int]:
        """Return our children that belong to it."""
        return [self.pid, self.coordinator.pid, self.place.guard.pid, *(self._nodes.pids if self._nodes else [])]

    def has_ended(self) -> bool:
        """Whether the program's first process has ended."""
        return self._root.poll() is not None

    def poll(self) -> End | None:
        """Return how it ended; None while it runs."""
        if self._end is None:
            ending = self._root.poll()
            if ending is not None:
                self._end = self._judge(ending)
            elif not self.coordinator.is_alive() and self._failure is None:
                # its processes notice by themselves, unless they are stopped or busy writing
                if self.coordinator.stop().kill_command is None:
                    self._failure = "its coordinator died"
                self._root.wait(_LOOK_S)
                self.kill()
            elif self._nodes is not None and self._failure is None and (lost := self._nodes.lost()) is not None:
                self._failure = lost
                self.kill()
            else:
                self._look_after_foreign_checkpoint()
        return self._end

    def checkpoint(self, *, then_stop: bool, timeout_s: float) -> StagedImages:
        """Return complete images; see `dmtcp_py.engine.Computation`. TIMEOUT_S bounds a time without progress."""
        try:
            with self._safe_moment(then_stop=then_stop) as (peers, segments):
                staged = self._checkpoint(peers, segments, then_stop=then_stop, timeout_s=timeout_s)
                data = self._nodes_data()
        except CheckpointFailedError:
            raise
        except EngineError as error:
            if self._nodes is None:
                raise
            raise CheckpointFailedError(error.what, error.hint, program_lives=self._nodes.lost() is None) from error
        return replace(staged, engine_data={**staged.engine_data, **data})

    def _nodes_data(self) -> dict[str, str]:
        """Return what a restart has to know of the nodes; nothing where there is one."""
        if self._nodes is None:
            return {}
        return {NODES_KEY: str(self._nodes.count), STARTED_KEY: json.dumps(self._nodes.started)}

    def _checkpoint(self, peers: int, segments: dict[str, str], *, then_stop: bool, timeout_s: float) -> StagedImages:
        self.place.empty_staging()
        before = self.coordinator.told
        updates = Updates(self.pid, self.temporary, self._staging)
        updates.look()
        self._stopped_by_us, self._begun_before_stop = then_stop, before.checkpoints_begun
        part = self._make_part_ready(holds=not then_stop)
        try:
            if not then_stop:
                # the next one is ours and lets the program run
                self._ran_after = before.checkpoints_begun + 1
            self.coordinator.command("--kcheckpoint" if then_stop else "--checkpoint")
            if not then_stop and self._await(lambda told: told.written > before.written, timeout_s):
                self._save(updates, is_held=bool(self._begun(part)))
        finally:
            self._release()
        self._await_complete(before, then_stop=then_stop, timeout_s=timeout_s)
        if then_stop:
            # nothing has changed yet, but it will once this is resumed, and that life may be cut short
            updates.save(None)
        staged = images.collect(self.place, peers, updates.missed, program_lives=not then_stop)
        data = {**staged.engine_data, **segments, **self._begun(part)}
        return replace(staged, engine_data=data, mapped_files=updates.missed_mapped)

    @contextmanager
    def _safe_moment(self, *, then_stop: bool) -> Iterator[tuple[int, dict[str, str]]]:
        """Wait for a moment at which DMTCP can take all of the program, and have nothing started on other nodes in it.

        Gives of how many processes, and what `_look` tells of shared memory. Raises HinderedError where something of
        the program cannot be taken.
        """
        patience = Patience(_PASSES_WITHIN_STOP_S if then_stop else _PASSES_WITHIN_S)
        looks_left = _LOOKS
        while True:
            self._ready.await_running()
            if self._is_launched:
                self._ready.await_mpi()
            if self._nodes is not None:
                self._ready.await_settled(self._nodes, then_stop=then_stop)
            # not for longer than that: what hinders may be waiting for something on another node
            with self._nodes.paused() if self._nodes is not None else nullcontext():
                self._ready.await_quiet(then_stop=then_stop)
                peers = self._ready.await_running()
                # what is sent from now on waits for the end of the checkpoint
                with self._nothing_sent():
                    hindered_by, segments = self._look()
                    if hindered_by is None:
                        yield peers, segments
                        return
            looks_left -= 1
            if not hindered_by.passes and (looks_left <= 0 or not hindered_by.is_doubtful):
                raise HinderedError(hindered_by.what, hindered_by.hint)
            if patience.is_over():
                self._awaits_ranks = False
                raise CheckpointFailedError(hindered_by.what, hindered_by.hint, program_lives=True)
            self.coordinator.wait_for(lambda _told: False, _LOOK_S)

    @contextmanager
    def _nothing_sent(self) -> Iterator[None]:
        """Have no process on this node send descriptors, which DMTCP loses on their way and does not see arrive."""
        hold = self.temporary / _HOLD_SENDING
        hold.touch()
        try:
            yield
        finally:
            hold.unlink(missing_ok=True)

    def _save(self, updates: Updates, *, is_held: bool) -> None:
        """Save UPDATES while the program is suspended, which may be over unless it IS HELD."""
        if is_held:
            updates.look()
        updates.save(None if is_held else self.coordinator.told.written_ns)

    def _await_complete(self, before: Told, *, then_stop: bool, timeout_s: float) -> None:
        """Wait until all images are written, by what was told BEFORE; raise where they cannot be trusted."""
        is_complete = self._await(lambda told: told.checkpoints_complete > before.checkpoints_complete, timeout_s)
        if then_stop and self._await_stopped() and not is_complete:
            # 3.2 does not always say so when it kills the program at once (4 of 8 runs with three processes)
            is_complete = self.coordinator.told.checkpoints_begun > before.checkpoints_begun
        if not is_complete or not self.coordinator.is_alive():
            raise CheckpointFailedError("the program or its coordinator died in it", program_lives=False)
        if self.coordinator.told.is_unclean:
            raise CheckpointFailedError(
                "a process started or ended in the middle of it, and such images cannot be trusted",
                program_lives=not then_stop,
            )
        if self.coordinator.told.checkpoints_begun > before.checkpoints_begun + 1:
            raise CheckpointFailedError("somebody else took a checkpoint at the same time", program_lives=not then_stop)

    def _look(self) -> tuple[Hindrance | None, dict[str, str]]:
        """Return what of the program cannot be taken, and what a restart has to know of its shared memory, by node."""
        looks, segments = [look(self.pid)], recorded(self.pid)
        for index, answer in self._nodes.ask_all("look") if self._nodes else ():
            found = Hindrance(*answer["hindrance"]) if answer["hindrance"] else None
            ends = [((here, port), (there, other)) for (here, port), (there, other) in answer["connections"]]
            looks.append(Look(found, tuple(ends), *answer["ranks"]))
            segments |= for_node(answer["segments"], index)
        found = hindrance(looks, coordinator_port=self.coordinator.port)
        return found or self._starting(looks), segments

    def _starting(self, looks: Sequence[Look]) -> Hindrance | None:
        """Look whether mpirun still starts processes on the nodes, which after a restart would not find each other."""
        if not self._awaits_ranks or not self._ready.has_mpi_launcher():
            return None
        all_ranks = max(one.all_ranks for one in looks)
        if 0 < all_ranks <= sum(one.ranks for one in looks):
            self._awaits_ranks = False
            return None
        return Hindrance("mpirun has not started all of its processes", "it is tried again later", passes=True)

    def signal(self, signum: int) -> None:
        """Send SIGNUM to the program's processes."""
        self._root.signal_group(signum)
        if self._nodes is not None:
            self._nodes.tell_all("signal", signum=signum)

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
        self.place.guard.dismiss()
        end_descendants()
        remove_tree(self.temporary)
        return self._ended_leftovers

    def _judge(self, ending: Ending) -> End:
        """Return what ENDING of the first process means, once all that can be known of it is known."""
        coordinator_lived = self.coordinator.is_alive()
        self._ended_leftovers = end_group(self.pid, grace_s=LEFTOVER_GRACE_S)
        told = self.coordinator.stop()
        if told.kill_command is not None:
            return End(How.KILLED_BY_COMMAND, detail=told.kill_command)
        if self._failure is None and self._nodes is not None and ending != Ending(status=0):
            # what is told as the program's own failure may be nothing but the loss of a node
            self._failure = self._nodes.lost() or self._nodes.silent()
        if self._failure is not None:
            return End(How.ENGINE_FAILED, detail=self._failure)
        failure = self._message_of_failure() or (None if coordinator_lived else "its coordinator died")
        if failure is None and ending.status == self.place.fail_status:
            in_checkpoint = told.checkpoints_begun > told.checkpoints_complete
            if in_checkpoint or not logs_failures(self.place.dmtcp.version):
                failure = f"DMTCP gave up with status {ending.status}"
        if ending.signum is not None and ending.signum != signal.SIGABRT:
            return End(How.SIGNALLED, signum=ending.signum)
        if failure is not None:
            # also where it was another process that DMTCP failed in: its parent may not have noticed
            return End(How.ENGINE_FAILED, detail=failure)
        if ending.signum is not None:
            return End(How.SIGNALLED, signum=ending.signum)
        if self._was_killed_by_checkpoint(told, ending):
            return End(How.KILLED_BY_COMMAND, detail="dmtcp_command -kc")
        return End(How.EXITED, status=ending.status or 0)

    def _was_killed_by_checkpoint(self, told: Told, ending: Ending) -> bool:
        """Whether ``-kc`` ended it, ours or somebody's: 4.2 and 5.0 log nothing of it, and its status is 0.

        A process that it kills never runs again after its image, so an end with 0 is the program's own only if it
        was seen to run since. Where in doubt it was killed: then the same line resumes, and comes to the same end.
        """
        begun = told.checkpoints_begun
        return ending.status == 0 and (
            begun > self._begun_before_stop if self._stopped_by_us else begun > self._ran_after
        )

    def _make_part_ready(self, *, holds: bool) -> str | None:
        """Have the checkpoint begin a new part of the notes on files, and with HOLDS not run on before `_release`."""
        root = self.place.undo
        if root is None:
            return None
        if holds:
            (root / undo.HOLD).touch()
        return undo.make_ready(root)

    def _release(self) -> None:
        if self.place.undo is not None:
            (self.place.undo / undo.HOLD).unlink(missing_ok=True)

    def _begun(self, part: str | None) -> dict[str, str]:
        root = self.place.undo
        return {undo.KEY: part} if root is not None and part is not None and undo.has_begun(root, part) else {}

    def _look_after_foreign_checkpoint(self) -> None:
        """Remember up to which checkpoint the program was seen to run on, where one was somebody else's."""
        begun = self.coordinator.told.checkpoints_begun
        if begun > self._ran_after:
            with suppress(EngineError):
                if self.coordinator.status().is_running:
                    self._ran_after = begun

    def _message_of_failure(self) -> str | None:
        """Return DMTCP's own words for its failure; None where it has not failed."""
        for path in sorted(self.temporary.rglob("*")):
            if path.is_file() and (path.name == "messages" or path.suffix == ".log"):
                for raw in path.read_text(encoding="utf-8", errors="replace").splitlines():
                    line = COLOUR.sub("", raw).strip()
                    if line.startswith(("ASSERT at", "*** ERROR")) or ", Error]" in line:
                        return line[:_MOST_CHARS]
        return None

    def _await(self, condition: Callable[[Told], bool], timeout_s: float) -> bool:
        """Wait for CONDITION as long as anything moves, and return whether it came true before the program ended.

        Kills the program where nothing moves for TIMEOUT_S.
        """
        before, patience = -1, Patience(timeout_s)
        while not self.coordinator.wait_for(condition, _LOOK_S):
            if self.has_ended() or not self.coordinator.is_alive():
                # what it told last may still be on its way
                return self.coordinator.wait_for(condition, _LOOK_S)
            size = images.written(self.place)
            if size != before:
                before = size
                patience.renew()
            if patience.is_over():
                hung = f"a checkpoint hung: nothing was written for {timeout_s:.0f} s"
                self._failure = self._message_of_failure() or hung
                self.kill()
                raise CheckpointFailedError(self._failure, program_lives=False)
        return True

    def _await_stopped(self) -> bool:
        """Wait until no process of the program is left after its last checkpoint; kill what does not go."""
        patience = Patience(_STOP_S)
        while not patience.is_over():
            with suppress(EngineError):
                if self.has_ended() and self.coordinator.status().peers == 0:
                    return True
            self.coordinator.wait_for(lambda _told: False, _LOOK_S)
        self._failure = "the program did not stop after its last checkpoint"
        self.kill()
        return False
