"""Readiness for a checkpoint: the program runs under DMTCP, and starts and ends no process."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.engine.executable import is_mpi_launcher
from dmtcp_py.errors import CheckpointFailedError, EngineError
from dmtcp_py.system.proc import age_s, process_tree
from dmtcp_py.system.timeout import Timeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.engine.dmtcp.coordinator import Coordinator
    from dmtcp_py.engine.dmtcp.nodes.agents import NodeAgents

_READY_S = 20.0
_POLL_S = 0.25
_RESUMED_POLL_S = 0.02
_MPI_BEGINS_S = 4.0
_QUIET_S = 0.3
_QUIET_WITHIN_S = 20.0
_QUIET_WITHIN_STOP_S = 3.0


class SuspendedError(CheckpointFailedError):
    """The program's processes are connected, but have not run on since an earlier checkpoint."""


class Readiness(Struct, frozen=True):
    """The waits before a checkpoint of the program whose first process is PID; each ends if the program does."""

    coordinator: Coordinator
    pid: int
    has_ended: Callable[[], bool]

    def await_running(self) -> int:
        """Wait until the program has joined the coordinator and runs; return how many processes it has."""
        timeout = Timeout(_READY_S)
        status = None
        while not timeout.is_over() and not self.has_ended():
            try:
                status = self.coordinator.status()
            except EngineError as error:
                raise CheckpointFailedError(error.what, program_lives=self.coordinator.is_alive()) from error
            if status.is_running and status.peers > 0:
                return status.peers
            self._wait(_POLL_S)
        if self.has_ended():
            raise CheckpointFailedError("the program ended", program_lives=False)
        if status is not None and status.peers > 0 and self.coordinator.log_state.checkpoints_begun > 0:
            raise SuspendedError(
                f"the program has not run on since the last checkpoint (processes: {status.peers})", program_lives=True
            )
        peers, is_running = (status.peers, "yes" if status.is_running else "no") if status else (0, "unknown")
        raise CheckpointFailedError(
            f"the program does not run under DMTCP (processes: {peers}, running: {is_running})",
            "it may be statically linked, or drop its environment",
            program_lives=True,
        )

    def await_resumed(self) -> None:
        """Wait until all processes run after a checkpoint: until then the coordinator accepts no new one."""
        timeout = Timeout(_READY_S)
        while not timeout.is_over() and not self.has_ended() and self.coordinator.is_alive():
            with suppress(EngineError):
                if self.coordinator.status().is_running:
                    return
            self._wait(_RESUMED_POLL_S)

    def await_mpi(self) -> None:
        """Wait until the processes of an MPI job that just started have connected: a checkpoint before can end the job.

        Seen with Open MPI 4.1, four processes and a loaded machine: MPI_Init failed, and the job ended with status 1.
        """
        timeout = Timeout(_MPI_BEGINS_S)
        while not timeout.is_over() and not self.has_ended():
            ages = [age_s(pid) for pid, _ in process_tree(self.pid) if _is_mpi_launcher(pid)]
            if all(age is None or age >= _MPI_BEGINS_S for age in ages):
                return
            self._wait(_POLL_S)

    def has_mpi_launcher(self) -> bool:
        """Return whether the program is, or has started, an MPI launcher."""
        return any(_is_mpi_launcher(pid) for pid, _ in process_tree(self.pid))

    def await_settled(self, nodes: NodeAgents, *, then_stop: bool) -> None:
        """Wait until no command is just starting on one of the other NODES; give up after a while."""
        timeout = Timeout(_QUIET_WITHIN_STOP_S if then_stop else _QUIET_WITHIN_S)
        while not nodes.is_settled(self.pid) and not timeout.is_over() and not self.has_ended():
            self._wait(_POLL_S)

    def await_quiet(self, *, then_stop: bool) -> None:
        """Wait for a moment without a fork, exec or exit, which a checkpoint can turn into a crash or bad images.

        If there is no such moment, a last checkpoint is tried anyway.
        """
        timeout = Timeout(_QUIET_WITHIN_STOP_S if then_stop else _QUIET_WITHIN_S)
        while not timeout.is_over() and not self.has_ended():
            quiet_s = time.monotonic() - self.coordinator.log_state.peers_changed_at
            if quiet_s >= _QUIET_S:
                return
            self._wait(_QUIET_S - quiet_s)
        if not then_stop and not self.has_ended():
            raise CheckpointFailedError(
                f"the program starts or ends processes all the time (no pause of {_QUIET_S} s in {_QUIET_WITHIN_S:.0f} "
                "s), and images that DMTCP takes meanwhile cannot be trusted",
                "--engine criu can checkpoint it",
                program_lives=True,
            )

    def _wait(self, seconds: float) -> None:
        self.coordinator.wait_for(lambda _log: False, seconds)


def _is_mpi_launcher(pid: int) -> bool:
    try:
        return is_mpi_launcher(Path(f"/proc/{pid}/exe"))
    except OSError:
        return False
