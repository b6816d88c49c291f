"""Processes that are stopped (SIGSTOP, Ctrl-Z) when DMTCP is about to suspend them: it would wait for ever.

No checkpoint begins while a process is stopped (`dmtcp_py.engine.dmtcp.obstacles`). One that is stopped after that
continues, is suspended by DMTCP some milliseconds later, and stops again when the checkpoint is complete, and after a
restart. The plugin `state` stops it; it reads the file that is written here.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from dmtcp_py.engine.dmtcp.state_files import STOPPED
from dmtcp_py.system.proc import process_tree, state_of
from dmtcp_py.system.timeout import Timeout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_STOP_AGAIN_S = 2.0
_POLL_S = 0.01
_IS_STOPPED = "T"


class StoppedProcesses:
    """The stopped processes of the program whose first process is PID, during one checkpoint."""

    def __init__(self, folder: Path, pid: int) -> None:
        self._file = folder / STOPPED
        self._pid = pid
        self._pids: list[int] = []
        # a checkpoint that failed may have left it
        self._file.unlink(missing_ok=True)

    def let_go_on(self) -> None:
        """Let all go on that are stopped now; call it as long as DMTCP may wait for one."""
        for pid, _ in process_tree(self._pid):
            if state_of(pid) == _IS_STOPPED:
                self._pids = [*{*self._pids, pid}]
                self._file.write_text("".join(f"{one}\n" for one in self._pids), encoding="ascii")
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def await_stopped(self, wait: Callable[[float], object]) -> None:
        """Wait until the plugin has stopped them again: WAIT waits for some seconds."""
        timeout = Timeout(_STOP_AGAIN_S)
        while any(state_of(pid) not in {_IS_STOPPED, None} for pid in self._pids) and not timeout.is_over():
            wait(_POLL_S)
        self._file.unlink(missing_ok=True)
