"""The supervisor's side of a keeper: its namespaces, the socket to it, and the events that it reported."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from dmtcp_py.engine.criu.inside.argv import inside_argv
from dmtcp_py.errors import EngineError
from dmtcp_py.system.child import Child, ChildStdio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dmtcp_py.engine.criu.command import Tool
    from dmtcp_py.engine.criu.ways import Way

_JOIN_S = 5.0
_TOOLS = {"unshare": "util-linux", "tar": "tar", "cp": "coreutils"}
"""What starts the namespaces, then what is run in them, with Debian's packages."""


class KeeperState(Struct, frozen=True):
    """What the keeper has reported so far."""

    has_started: bool = False
    dumps: tuple[int, ...] = ()
    """The exit status of criu for each dump, also of those that failed."""
    ended: int | None = None
    """The wait status of the program."""
    leftovers: bool = False
    failed: bool = False
    why: tuple[str, ...] = field(default=())
    is_gone: bool = False


def in_namespaces(way: Way, images: Path | None, argv: Sequence[str]) -> list[str]:
    """Return the command that runs ARGV as the first process of the namespaces of WAY; IMAGES are those to restore."""
    unshare, *_ = [_tool(name, package) for name, package in _TOOLS.items()]
    return [*way.entering(images), unshare, *way.namespaces, *argv]


def _tool(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise EngineError(f"there is no {name} on PATH, which the CRIU engine needs", f"install {package}")
    return path


class KeeperClient:
    """A keeper in namespaces of its own; it dies with this process."""

    def __init__(self, tool: Tool, images: Path | None, descriptors: Sequence[int]) -> None:
        self._log = tool.temporary / "keeper.log"
        self._state = KeeperState()
        self._changed = threading.Condition()
        self._sock, theirs = socket.socketpair()
        with theirs, self._log.open("wb") as log:
            self.child = Child(
                in_namespaces(tool.way, images, inside_argv("engine.criu.inside.keeper", str(theirs.fileno()))),
                env=tool.environ,
                own_session=True,
                stdio=ChildStdio(stdin=subprocess.DEVNULL, stdout=log.fileno(), stderr=log.fileno()),
                pass_fds=(theirs.fileno(), *descriptors),
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def state(self) -> KeeperState:
        """What the keeper has reported so far."""
        with self._changed:
            return self._state

    def order(self, order: str, **values: Any) -> None:
        """Send the keeper an order; if the keeper is gone, its state shows that."""
        with suppress(OSError):
            self._sock.sendall(json.dumps({"order": order, **values}).encode() + b"\n")

    def wait_for(self, condition: Callable[[KeeperState], bool], timeout_s: float) -> bool:
        """Wait at most TIMEOUT_S until its state meets CONDITION, or it is gone; return whether the state does."""
        with self._changed:
            self._changed.wait_for(lambda: condition(self._state) or self._state.is_gone, timeout_s)
            return condition(self._state)

    def outer_pid(self, inner: int) -> int | None:
        """Return the pid outside the namespace of the keeper's child INNER; None if it has ended."""
        for first in _children(self.child.pid):
            for pid in _children(first):
                with suppress(OSError, StopIteration):
                    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
                    pids = next(line for line in text.splitlines() if line.startswith("NSpid:")).split()
                    if int(pids[-1]) == inner:
                        return pid
        return None

    def kill(self) -> None:
        """Kill the keeper and all in its namespace; once the keeper's parent has ended, none of them is left."""
        keepers = _children(self.child.pid)
        for pid in keepers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # it ends with the keeper, unless it is stopped
        self.child.signal(signal.SIGCONT)
        if not keepers and self.child.poll() is None:
            self.child.signal(signal.SIGKILL)

    def close(self) -> None:
        """Close the socket once the keeper has ended."""
        self._reader.join(_JOIN_S)
        self._sock.close()

    def last_line(self) -> str:
        """Return the last line that unshare or the keeper's interpreter printed about a failure."""
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return lines[-1].strip() if lines else ""

    def _read(self) -> None:
        with suppress(OSError), self._sock.makefile("rb") as lines:
            for line in lines:
                self._apply(json.loads(line))
        with self._changed:
            self._state = replace(self._state, is_gone=True)
            self._changed.notify_all()

    def _apply(self, event: dict[str, Any]) -> None:
        with self._changed:
            state = self._state
            self._state = {
                "started": lambda: replace(state, has_started=True),
                "dumped": lambda: replace(state, dumps=(*state.dumps, event["status"])),
                "ended": lambda: replace(state, ended=event["status"]),
                "leftovers": lambda: replace(state, leftovers=True),
                "failed": lambda: replace(state, failed=True, why=tuple(event.get("why", ()))),
            }[event["event"]]()
            self._changed.notify_all()


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(word) for word in text.split()]
