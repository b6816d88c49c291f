"""A moment at which DMTCP can checkpoint all of a program: without obstacles, and with no descriptor in flight."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from dmtcp_py.engine.dmtcp import refusals
from dmtcp_py.engine.dmtcp.inspection import Inspection, first_obstacle, inspect
from dmtcp_py.engine.dmtcp.obstacles import TRIED_AGAIN, Obstacle
from dmtcp_py.engine.dmtcp.readiness import Readiness
from dmtcp_py.engine.dmtcp.reserved import reservation
from dmtcp_py.engine.dmtcp.shared_memory import for_node, record
from dmtcp_py.engine.dmtcp.workspace import HOLD_SENDING, HOLD_STARTS
from dmtcp_py.errors import CheckpointFailedError
from dmtcp_py.system.timeout import Timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dmtcp_py.engine.dmtcp.workspace import Workspace

_POLL_S = 0.25
_CONFIRMATIONS = 3
"""How often an obstacle that needs confirmation has to be seen."""
_PASSES_WITHIN_S, _PASSES_WITHIN_STOP_S = 120.0, 3.0


class SafeMoment:
    """Waits for a safe moment of the program whose first process is PID."""

    def __init__(self, workspace: Workspace, pid: int, has_ended: Callable[[], bool], *, is_launched: bool) -> None:
        self._workspace = workspace
        self._pid = pid
        self._nodes = workspace.nodes
        self._is_launched = is_launched
        self._awaits_ranks = is_launched and workspace.nodes is not None
        self._ready = Readiness(workspace.coordinator, pid, has_ended)

    @contextmanager
    def wait(self, *, then_stop: bool) -> Iterator[tuple[int, dict[str, str]]]:
        """Wait for a safe moment and keep it safe: no process is started, and no descriptor is sent.

        Yields the number of processes, and what a restart has to know about shared memory. Raises BlockedError if
        something in the program prevents a checkpoint.
        """
        timeout = Timeout(_PASSES_WITHIN_STOP_S if then_stop else _PASSES_WITHIN_S)
        confirmations_left = _CONFIRMATIONS
        while True:
            self._ready.await_running()
            if self._is_launched:
                self._ready.await_mpi()
            if self._nodes is not None:
                self._ready.await_settled(self._nodes, then_stop=then_stop)
            # held for one look only: an obstacle may go away once a process has started, also on another node
            starts = self._nodes.start_lock() if self._nodes is not None else nullcontext()
            with starts, self._workspace.hold(HOLD_STARTS):
                self._ready.await_quiet(then_stop=then_stop)
                peers = self._ready.await_running()
                # a process that sends a descriptor from here on waits for the end of the checkpoint
                with self._workspace.hold(HOLD_SENDING):
                    obstacle, segments = self._inspect()
                    if obstacle is None:
                        try:
                            yield peers, segments
                        finally:
                            self._ready.await_resumed()
                        return
            confirmations_left -= 1
            if not obstacle.is_temporary and (confirmations_left <= 0 or not obstacle.needs_confirmation):
                raise obstacle.error
            if timeout.is_over():
                self._awaits_ranks = False
                raise CheckpointFailedError(obstacle.what, obstacle.hint, program_lives=True)
            self._workspace.coordinator.wait_for(lambda _log: False, _POLL_S)

    def obstacle(self) -> Obstacle | None:
        """Return what would prevent a checkpoint now and is not known to pass; None if nothing would.

        Nothing is waited for, so it may be a trace of a moment.
        """
        found = first_obstacle([inspect(self._pid)], coordinator_port=self._workspace.coordinator.port)
        found = found or refusals.obstacle(self._workspace.folder)
        return None if found is None or found.is_temporary else found

    def _inspect(self) -> tuple[Obstacle | None, dict[str, str]]:
        """Return what prevents a checkpoint, and what a restart has to know about the shared memory of each node."""
        inspections, segments = [inspect(self._pid)], record(self._pid)
        for index, answer in self._nodes.ask_all("inspect") if self._nodes else ():
            found = Obstacle(**answer["obstacle"]) if answer["obstacle"] else None
            ends = [((here, port), (there, other)) for (here, port), (there, other) in answer["connections"]]
            ranks, all_ranks = answer["ranks"], answer["all_ranks"]
            inspections.append(Inspection(found, connections=tuple(ends), ranks=ranks, all_ranks=all_ranks))
            segments |= for_node(answer["segments"], index)
        found = first_obstacle(inspections, coordinator_port=self._workspace.coordinator.port)
        found = found or reservation(self._workspace.dmtcp, self._pid)
        return found or refusals.obstacle(self._workspace.folder) or self._missing_ranks(inspections), segments

    def _missing_ranks(self, inspections: Sequence[Inspection]) -> Obstacle | None:
        """Find out whether mpirun is still starting processes, which would not connect after a restart."""
        if not self._awaits_ranks or not self._ready.has_mpi_launcher():
            return None
        all_ranks = max(one.all_ranks for one in inspections)
        if 0 < all_ranks <= sum(one.ranks for one in inspections):
            self._awaits_ranks = False
            return None
        return Obstacle("mpirun has not started all of its processes", TRIED_AGAIN, is_temporary=True)
