"""The coordinator that each computation has for itself, and the state that its log shows.

It stays in the foreground, and its log is read as it is written: in all versions only the log shows when a checkpoint
is complete, and whether a command killed the program.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from dmtcp_py.errors import EngineError
from dmtcp_py.native import built
from dmtcp_py.system.child import Child, ChildStdio
from dmtcp_py.system.tools import run_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from dmtcp_py.engine.dmtcp.installation import Installation

LOCALHOST = "127.0.0.1"
PEERS = "peers"
"""The library that refuses connections of other users, and listens at one address."""
START_S = 20.0
COMMAND_S = 20.0
# a coordinator that no process joins exits after this long
_STALE_S = 600
_POLL_MS = 100
_OURS = "dmtcp-run: "
COLOUR = r"\x1b\[[0-9;]*m"


class Status(Struct, frozen=True):
    """The answer to ``dmtcp_command --status``."""

    peers: int
    is_running: bool


class LogState(Struct, frozen=True):
    """What the log shows so far."""

    connected: int = 0
    """How many processes have connected; at a restart, each does so once its memory is restored."""
    checkpoints_begun: int = 0
    checkpoints_complete: int = 0
    kill_command: str | None = None
    peers_changed_at: float = 0.0
    """When a process last connected, left, forked or executed another program."""
    is_unclean: bool = False
    """Whether one did so while the last checkpoint suspended the processes or wrote their images."""
    is_writing: bool = False
    written: int = 0
    """How many checkpoints have written all their images; the processes stay suspended for a moment more."""
    written_ns: int = 0
    """When the log last showed that, in nanoseconds since the epoch."""
    refuses_others: bool | None = None
    """Whether it refuses connections of other users; None if the library that does so was not loaded."""
    refused: tuple[str, ...] = ()
    """The connections that it refused."""


class Coordinator:
    """A running dmtcp_coordinator, which listens at address HOST; `stop` ends it.

    ASKS is a socket at whose other end somebody knows whose the connections from other nodes are.
    """

    def __init__(  # noqa: PLR0913 - what one command line is made of
        self,
        dmtcp: Installation,
        env: Mapping[str, str],
        folder: Path,
        staging: Path,
        *,
        host: str = LOCALHOST,
        asks: int | None = None,
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
                # if stderr is a pipe, the log goes to /dev/null unless this variable names a file
                env={**self._env, "JALIB_STDERR_PATH": "/dev/stderr", **_guarding(env, host, asks)},
                pass_fds=() if asks is None else (asks,),
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
        """The options with which DMTCP's tools find it."""
        return ["--coord-host", self._host, "--coord-port", str(self.port)]

    @property
    def log_state(self) -> LogState:
        """What the log shows so far."""
        with self._changed:
            return self._log_state

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._child.poll() is None

    def wait_for(self, condition: Callable[[LogState], bool], timeout_s: float) -> bool:
        """Wait at most TIMEOUT_S until the log meets CONDITION; return whether it does."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self._log_state), timeout_s)

    def status(self) -> Status:
        """Ask how many processes take part and whether all run; raise EngineError if there is no answer."""
        text = self.command("--status")
        values = dict(line.strip().split("=", 1) for line in text.splitlines() if "=" in line)
        try:
            return Status(int(values["NUM_PEERS"]), values["RUNNING"].strip() == "yes")
        except (KeyError, ValueError) as error:
            raise EngineError(f"dmtcp_command --status printed no status: {text.strip()!r}") from error

    def command(self, option: str) -> str:
        """Send it the command OPTION; return the output of dmtcp_command, whose exit status says little."""
        argv = [self._dmtcp.tool("dmtcp_command"), *self.address, option]
        return run_tool(argv, timeout_s=COMMAND_S, env=self._env).output

    def stop(self) -> LogState:
        """Stop it and return what its whole log shows."""
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
            poller.poll(_POLL_MS)
            # BlockingIOError: nothing to read yet; an empty block: the coordinator has closed the pipe
            with suppress(BlockingIOError):
                block = os.read(fd, 64)
                if data and not block:
                    return int(data)
                data += block
        self._child.stop()
        raise EngineError("dmtcp_coordinator did not start", f"to see why, run {self._dmtcp.tool('dmtcp_coordinator')}")

    def _read(self) -> None:
        stream = self._child.stdout
        if stream is None:
            return
        for raw in stream:
            line = re.sub(COLOUR, "", raw.decode("utf-8", "replace"))
            with self._changed:
                self._log_state = _after(line, self._log_state, time.monotonic())
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


def _guarding(env: Mapping[str, str], host: str, asks: int | None) -> dict[str, str]:
    """Return the variables with which the coordinator listens at HOST alone, and refuses other users."""
    library = built(PEERS)
    if library is None:
        return {}
    preloaded = [str(library), *filter(None, [env.get("LD_PRELOAD")])]
    asking = {} if asks is None else {"DMTCP_RUN_PEERS": str(asks)}
    return {"LD_PRELOAD": ":".join(preloaded), "DMTCP_RUN_LISTEN": host, **asking}


def _argv(dmtcp: Installation, folder: Path, port_file: Path, staging: Path) -> list[str]:
    places = ["--tmpdir", str(folder), "--ckptdir", str(staging)]
    port = ["--port", "0", "--port-file", str(port_file)]
    return [dmtcp.tool("dmtcp_coordinator"), *port, *places, "--stale-timeout", str(_STALE_S)]


def _after(line: str, state: LogState, now: float) -> LogState:
    """Return the state after LINE of the log, whose texts are the same in 3.2, 4.2 and 5.0."""
    if line.startswith(_OURS):
        return _after_ours(line.removeprefix(_OURS).strip(), state)
    lowered = line.lower()
    if "starting checkpoint;" in lowered:
        return replace(state, checkpoints_begun=state.checkpoints_begun + 1, is_writing=True, is_unclean=False)
    if "checkpoint complete; all workers running" in lowered:
        return replace(state, is_writing=False, written=state.written + 1, written_ns=time.time_ns())
    if "wrote restart script" in lowered:
        done = state.checkpoints_complete + 1
        return replace(state, checkpoints_complete=done, is_writing=False)
    if "killing all connected peers and quitting" in lowered:
        return replace(state, kill_command="dmtcp_command -q")
    if "killing all connected peers" in lowered:
        return replace(state, kill_command="dmtcp_command -k")
    if any(words in lowered for words in ("client disconnected", "worker connected", "after exec", "after fork")):
        connected = state.connected + ("worker connected" in lowered)
        is_unclean = state.is_unclean or state.is_writing
        return replace(state, peers_changed_at=now, is_unclean=is_unclean, connected=connected)
    return state


def _after_ours(line: str, state: LogState) -> LogState:
    """Return the state after LINE of native/peers.c."""
    if line.startswith("admits"):
        return replace(state, refuses_others=line.endswith("only"))
    return replace(state, refused=(*state.refused, line))
