"""Waiting for a restart: that all processes run again, and that they are what they were."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from dmtcp_py.engine.dmtcp import audit
from dmtcp_py.engine.dmtcp.assertions import explained
from dmtcp_py.engine.dmtcp.listeners import refuse_if_held
from dmtcp_py.engine.protocol import EndKind
from dmtcp_py.errors import EngineError, RestartDisturbedError, RestartFailedError, RestartHungError
from dmtcp_py.system.stuck import what_they_wait_in
from dmtcp_py.system.timeout import Timeout

if TYPE_CHECKING:
    from dmtcp_py.engine.dmtcp.computation import DmtcpComputation
    from dmtcp_py.engine.protocol import Restart

STATE_PLUGIN = "state"
_RESTART_S = 60.0
_SLOWEST_BYTES_PER_S = 20e6
_POLL_S = 0.05
_ASKS_ANYWAY_S = 2.0
"""How often the coordinator is asked whether all run, while its log does not show that all have connected."""
_COMPARISON_S, _REPORT_POLL_S = 15.0, 0.005


def await_all(computation: DmtcpComputation, restart: Restart) -> bool:
    """Wait until all processes run again; return False if the wait was cancelled.

    Raises RestartFailedError, and RestartHungError if they did not within a time that depends on the size.
    """
    manifest = restart.manifest
    limit_s = _RESTART_S + manifest.size / _SLOWEST_BYTES_PER_S
    timeout, asks_at = Timeout(limit_s), time.monotonic() + _ASKS_ANYWAY_S
    while True:
        if computation.has_ended():
            end = computation.poll()
            all_connected = computation.coordinator.log_state.connected >= manifest.processes
            is_own = end is not None and end.kind is EndKind.EXITED and end.status != computation.workspace.fail_status
            if is_own and all_connected:
                # the program ran, and ended before it was seen running
                return True
            detail = (
                end.detail or (f"signal {end.signum}" if end.signum else f"status {end.status}") if end else "unknown"
            )
            error = RestartDisturbedError if end is not None and end.signum else RestartFailedError
            raise error(f"dmtcp_restart failed ({detail})")
        if restart.is_cancelled():
            return False
        # of processes that had all connected before the status was read, some may have ended since
        all_connected = computation.coordinator.log_state.connected >= manifest.processes
        # each question takes a processor from those that still read their images
        if all_connected or time.monotonic() >= asks_at:
            asks_at = time.monotonic() + _ASKS_ANYWAY_S
            with suppress(EngineError):
                status = computation.coordinator.status()
                if status.is_running and (all_connected or status.peers == manifest.processes):
                    return True
        if (message := computation.workspace.failure_message()) is not None:
            # the others wait for the process that failed
            raise RestartFailedError(explained(message))
        if timeout.is_over():
            stuck = what_they_wait_in(computation.pid)
            raise RestartHungError(f"its processes did not all run again within {limit_s:.0f} s: {stuck}")
        # no version logs when the last process runs again, so the coordinator is asked
        computation.coordinator.wait_for(lambda log: log.kill_command is not None, _POLL_S)


def compare_state(computation: DmtcpComputation, restart: Restart, expected: int) -> None:
    """Wait until the EXPECTED processes on this node have compared what they are with what they were; judge the result.

    Raises RestartFailedError if one is not what it was, and EngineError if another program has its port.
    """
    if not any(note.startswith(f"plugin {STATE_PLUGIN}:") for note in restart.manifest.quirks):
        return
    timeout = Timeout(_COMPARISON_S)
    while audit.count_reports(computation.temporary) < expected and not timeout.is_over():
        computation.coordinator.wait_for(lambda _log: False, _REPORT_POLL_S)
    try:
        compared = audit.judge(computation.temporary, accepts=restart.accepts_changed_state, warn=restart.warn)
    except RestartFailedError as error:
        refuse_if_held(error.what)
        raise
    restart.compared(compared)
