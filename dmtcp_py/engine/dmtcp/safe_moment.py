"""A moment at which DMTCP can checkpoint all of a program: nothing in the way, and nothing on its way."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from dmtcp_py.engine.dmtcp.inspection import Inspection, first_obstacle, inspect
from dmtcp_py.engine.dmtcp.obstacles import Obstacle
from dmtcp_py.engine.dmtcp.readiness import Readiness
from dmtcp_py.engine.dmtcp.shared_memory import for_node, recorded
from dmtcp_py.errors import BlockedError, CheckpointFailedError
from dmtcp_py.system.timeout import Timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dmtcp_py.engine.dmtcp.workspace import Workspace

_HOLD_SENDING = "hold-sending"
"""native/sent.c waits until it is gone."""
_LOOK_S = 0.25
_LOOKS = 3
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
        """Wait for such a moment, and keep it: nothing is started on other nodes, and no descriptor is sent.

        Yields the number of processes and what a restart has to know of shared memory. Raises BlockedError if DMTCP
        cannot checkpoint something of the program.
        """
        timeout = Timeout(_PASSES_WITHIN_STOP_S if then_stop else _PASSES_WITHIN_S)
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
                    obstacle, segments = self._inspect()
                    if obstacle is None:
                        yield peers, segments
                        return
            looks_left -= 1
            if not obstacle.is_temporary and (looks_left <= 0 or not obstacle.needs_confirmation):
                raise BlockedError(obstacle.what, obstacle.hint)
            if timeout.is_over():
                self._awaits_ranks = False
                raise CheckpointFailedError(obstacle.what, obstacle.hint, program_lives=True)
            self._workspace.coordinator.wait_for(lambda _told: False, _LOOK_S)

    @contextmanager
    def _nothing_sent(self) -> Iterator[None]:
        """Have no process on this node send descriptors, which DMTCP loses on their way and does not see arrive."""
        hold = self._workspace.folder / _HOLD_SENDING
        hold.touch()
        try:
            yield
        finally:
            hold.unlink(missing_ok=True)

    def _inspect(self) -> tuple[Obstacle | None, dict[str, str]]:
        """Return what of the program cannot be taken, and what a restart has to know of its shared memory, by node."""
        inspections, segments = [inspect(self._pid)], recorded(self._pid)
        for index, answer in self._nodes.ask_all("inspect") if self._nodes else ():
            found = Obstacle(**answer["obstacle"]) if answer["obstacle"] else None
            ends = [((here, port), (there, other)) for (here, port), (there, other) in answer["connections"]]
            ranks, all_ranks = answer["ranks"], answer["all_ranks"]
            inspections.append(Inspection(found, connections=tuple(ends), ranks=ranks, all_ranks=all_ranks))
            segments |= for_node(answer["segments"], index)
        found = first_obstacle(inspections, coordinator_port=self._workspace.coordinator.port)
        return found or self._starting(inspections), segments

    def _starting(self, inspections: Sequence[Inspection]) -> Obstacle | None:
        """Look whether mpirun still starts processes on the nodes, which after a restart would not find each other."""
        if not self._awaits_ranks or not self._ready.has_mpi_launcher():
            return None
        all_ranks = max(one.all_ranks for one in inspections)
        if 0 < all_ranks <= sum(one.ranks for one in inspections):
            self._awaits_ranks = False
            return None
        return Obstacle("mpirun has not started all of its processes", "it is tried again later", is_temporary=True)
