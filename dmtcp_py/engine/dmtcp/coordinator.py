"""A coordinator of our own for each computation, and what it tells of it.

It stays in the foreground and its log is read as it is written: in all versions that is the only thing that says
when a checkpoint is complete and who had the program killed.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dmtcp_py.errors import EngineError
from dmtcp_py.system.child import Child, ChildStdio
from dmtcp_py.system.tools import run_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from dmtcp_py.engine.dmtcp.installation import Installation

LOCALHOST = "127.0.0.1"
START_S = 20.0
COMMAND_S = 20.0
# without a first client the coordinator ends after this long by itself
_STALE_S = 600
_LOOK_MS = 100
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Status:
    """What ``dmtcp_command -s`` says."""

    peers: int
    is_running: bool


@dataclass(frozen=True)
class LogState:
    """What the log has told so far."""

    connected: int = 0
    """How many processes have come: at a restart, each once it has its memory again."""
    checkpoints_begun: int = 0
    checkpoints_complete: int = 0
    kill_command: str | None = None
    moved_at: float = 0.0
    """When a process last came, left or executed another program."""
    is_unclean: bool = False
    """Whether one did so while the last checkpoint was suspending the processes or writing their images."""
    is_writing: bool = False
    written: int = 0
    """How many checkpoints had all their images written; the processes are suspended for a moment more."""
    written_ns: int = 0
    """When that was told last, in nanoseconds since the epoch."""


class Coordinator:
    """A running dmtcp_coordinator; `stop` ends it."""

    def __init__(
        self, dmtcp: Installation, env: Mapping[str, str], folder: Path, staging: Path, host: str = LOCALHOST
    ) -> None:
        self._dmtcp = dmtcp
        self._host = host
        # dmtcp_command has no option for its temporary folder
        self._env = {**env, "DMTCP_TMPDIR": str(folder)}
        self._log_state = LogState()
        self._changed = threading.Condition()
        port_file = folder / "port"
        os.mkfifo(port_file, 0o600)
        port_fd = os.open(port_file, os.O_RDONLY | os.O_NONBLOCK)
        try:
            self._child = Child(
                _argv(dmtcp, folder, port_file, staging),
                # its log goes to /dev/null where stderr is a pipe, unless it is given a name
                env={**self._env, "JALIB_STDERR_PATH": "/dev/stderr"},
                own_session=True,
                dies_with_us=True,
                stdio=ChildStdio(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT),
            )
            self.pid = self._child.pid
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
            self.port = self._await_port(port_fd)
        finally:
            os.close(port_fd)

    @property
    def address(self) -> list[str]:
        """The options by which DMTCP's tools find it."""
        return ["--coord-host", self._host, "--coord-port", str(self.port)]

    @property
    def log_state(self) -> LogState:
        """What the log has told until now."""
        with self._changed:
            return self._log_state

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._child.poll() is None

    def wait_for(self, condition: Callable[[LogState], bool], timeout_s: float) -> bool:
        """Wait at most TIMEOUT_S until what the log told meets CONDITION; return whether it does."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self._log_state), timeout_s)

    def status(self) -> Status:
        """Ask how many processes take part and whether all run; raise EngineError where it does not answer."""
        text = self.command("--status")
        values = dict(line.strip().split("=", 1) for line in text.splitlines() if "=" in line)
        try:
            return Status(int(values["NUM_PEERS"]), values["RUNNING"].strip() == "yes")
        except (KeyError, ValueError) as error:
            raise EngineError(f"dmtcp_command --status gave {text.strip()!r}") from error

    def command(self, option: str) -> str:
        """Give it a command; return what dmtcp_command prints, whatever its exit status, which says little."""
        argv = [self._dmtcp.tool("dmtcp_command"), *self.address, option]
        return run_tool(argv, timeout_s=COMMAND_S, env=self._env).output

    def stop(self) -> LogState:
        """End it and return all that its log told."""
        self._child.stop()
        self._reader.join(START_S)
        if self._child.stdout is not None:
            self._child.stdout.close()
        return self.log_state

    def _await_port(self, fd: int) -> int:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        until = time.monotonic() + START_S
        data = b""
        while time.monotonic() < until and (self.is_alive() or data):
            poller.poll(_LOOK_MS)
            # nothing to read yet is an error, the writer gone is the end
            with suppress(BlockingIOError):
                block = os.read(fd, 64)
                if data and not block:
                    return int(data)
                data += block
        self._child.stop()
        raise EngineError(
            "dmtcp_coordinator does not come up", f"try it by hand: {self._dmtcp.tool('dmtcp_coordinator')}"
        )

    def _read(self) -> None:
        stream = self._child.stdout
        if stream is None:
            return
        for raw in stream:
            line = COLOUR.sub("", raw.decode("utf-8", "replace"))
            with self._changed:
                self._log_state = _hear(self._log_state, line, time.monotonic())
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


def _argv(dmtcp: Installation, folder: Path, port_file: Path, staging: Path) -> list[str]:
    places = ["--tmpdir", str(folder), "--ckptdir", str(staging)]
    port = ["--port", "0", "--port-file", str(port_file)]
    return [dmtcp.tool("dmtcp_coordinator"), *port, *places, "--stale-timeout", str(_STALE_S)]


def _hear(told: LogState, line: str, now: float) -> LogState:
    """Return what is known after LINE of the log; the texts are the same in 3.2, 4.2 and 5.0."""
    lowered = line.lower()
    if "starting checkpoint;" in lowered:
        return replace(told, checkpoints_begun=told.checkpoints_begun + 1, is_writing=True, is_unclean=False)
    if "checkpoint complete; all workers running" in lowered:
        return replace(told, is_writing=False, written=told.written + 1, written_ns=time.time_ns())
    if "wrote restart script" in lowered:
        done = told.checkpoints_complete + 1
        return replace(told, checkpoints_complete=done, is_writing=False)
    if "killing all connected peers and quitting" in lowered:
        return replace(told, kill_command="dmtcp_command -q")
    if "killing all connected peers" in lowered:
        return replace(told, kill_command="dmtcp_command -k")
    if any(words in lowered for words in ("client disconnected", "worker connected", "after exec", "after fork")):
        came = "worker connected" in lowered
        is_unclean = told.is_unclean or told.is_writing
        return replace(told, moved_at=now, is_unclean=is_unclean, connected=told.connected + came)
    return told
