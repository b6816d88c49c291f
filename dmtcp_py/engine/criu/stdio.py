"""The program's standard streams, in a form that CRIU can restore.

A stream keeps one of four kinds in all generations of a job: a file that belongs to the checkpoint, which is opened
inside the namespaces; nothing (``/dev/null``); a pipe of ours; a terminal of ours, if dmtcp-run's stream was one. criu
restores a stream only as the kind that it was. So the program does not get dmtcp-run's own streams, which may be of any
kind in each run: `dmtcp_py.engine.criu.pump` copies between the two. A pipe on standard input is passed on as it is, so
that what is not read yet stays in it.
"""

from __future__ import annotations

import fcntl
import os
import pty
import stat
import struct
import termios
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dmtcp_py.engine.criu.pump import InputPump, OutputPump

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dmtcp_py.engine.protocol import Stdio

FILE, NOTHING, PIPE, TERMINAL, SAME = "file", "nothing", "pipe", "terminal", "same as "
_OUTPUTS = (1, 2)
_STOP_S = 2.0


class Connections:
    """Our ends of the program's pipes and terminals, and the threads that copy."""

    def __init__(self, stdio: Stdio, kinds: Sequence[str] | None = None) -> None:
        self.kinds = list(kinds) if kinds is not None else _kinds(stdio)
        self.orders: list[dict[str, Any]] = []
        self._stdio = stdio
        self._theirs: list[int] = []
        self._outputs: list[tuple[int, int | None]] = []
        self._inputs: list[tuple[int, bool]] = []
        self._pumps: list[OutputPump] = []
        self._input_pumps: list[InputPump] = []
        self._terminals: list[int] = []
        try:
            for fd, kind in enumerate(self.kinds):
                self.orders.append(self._order(fd, kind))
        except BaseException:
            self.close()
            raise

    @property
    def descriptors(self) -> list[int]:
        """The descriptors to pass to the keeper."""
        return [order["fd"] for order in self.orders if "fd" in order]

    def start(self) -> None:
        """Close the program's ends here, and begin to copy. Call it once the program has them."""
        self._close_theirs()
        self._pumps = [OutputPump(source, target) for source, target in self._outputs]
        self._outputs = []
        self._input_pumps = [
            InputPump(os.dup(0), target, is_terminal=is_terminal) for target, is_terminal in self._inputs
        ]
        self._inputs = []

    def resize(self) -> None:
        """Give the program's terminals the size of our own terminal."""
        for terminal in self._terminals:
            _copy_size(terminal)

    def are_passed_on(self, within_s: float) -> bool:
        """Wait, for each stream at most WITHIN_S, until the output so far has been copied; return whether it was."""
        return all(pump.is_passed_on(within_s) for pump in self._pumps)

    def are_done(self, within_s: float) -> bool:
        """Wait, for each stream at most WITHIN_S; return whether all output of an ended program was copied."""
        return all(pump.is_done(within_s) for pump in self._pumps)

    def close(self) -> None:
        """Stop copying and close all; output that has not been copied by now is lost."""
        self._close_theirs()
        for source, _ in self._outputs:
            os.close(source)
        for target, is_terminal in self._inputs:
            if not is_terminal:
                os.close(target)
        self._outputs, self._inputs = [], []
        for incoming in self._input_pumps:
            incoming.stop()
        for pump in self._pumps:
            pump.abandon()
        self.are_done(_STOP_S)
        for terminal in self._terminals:
            os.close(terminal)
        self._pumps, self._input_pumps, self._terminals = [], [], []

    def _order(self, fd: int, kind: str) -> dict[str, Any]:
        """Return the keeper's order for stream FD, and create the pipe or terminal that it needs."""
        if kind.startswith(SAME):
            first = int(kind.removeprefix(SAME))
            return {**self.orders[first], "same_as": first}
        if kind == FILE:
            flags = os.O_RDONLY if fd == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            return {
                "path": str(self._stdio.paths[fd]),
                "flags": flags,
                "offset": self._stdio.stdin_offset if fd == 0 else 0,
            }
        if kind == NOTHING:
            return {"path": os.devnull, "flags": os.O_RDONLY if fd == 0 else os.O_WRONLY}
        return {"fd": self._terminal(fd) if kind == TERMINAL else self._pipe(fd)}

    def _pipe(self, fd: int) -> int:
        if fd == 0 and stat.S_ISFIFO(os.fstat(0).st_mode):
            theirs = os.dup(0)
        else:
            reader, writer = os.pipe()
            theirs, ours = (reader, writer) if fd == 0 else (writer, reader)
            if fd == 0:
                self._inputs.append((ours, False))
            else:
                self._outputs.append((ours, fd))
        self._theirs.append(theirs)
        return theirs

    def _terminal(self, fd: int) -> int:
        master, slave = pty.openpty()
        _make_transparent(slave)
        _copy_size(master)
        self._theirs.append(slave)
        self._terminals.append(master)
        target = next((out for out in _OUTPUTS if out == fd or self.kinds[out] == f"{SAME}{fd}"), None)
        self._outputs.append((os.dup(master), target))
        if fd == 0:
            self._inputs.append((master, True))
        return slave

    def _close_theirs(self) -> None:
        for fd in self._theirs:
            os.close(fd)
        self._theirs = []


def _kinds(stdio: Stdio) -> list[str]:
    """Return the kind of each stream of a program that is launched now."""
    found: list[str] = []
    for fd, path in enumerate(stdio.paths):
        kind = _kind(fd) if path is None else FILE
        twin = next((other for other in range(fd) if found[other] == kind and _are_same(stdio, other, fd)), None)
        found.append(kind if twin is None or kind == NOTHING else f"{SAME}{twin}")
    return found


def _kind(fd: int) -> str:
    if os.isatty(fd):
        return TERMINAL
    mode = os.fstat(fd).st_mode
    if fd == 0 and not stat.S_ISFIFO(mode) and not stat.S_ISSOCK(mode):
        return NOTHING
    return PIPE


def _are_same(stdio: Stdio, one: int, other: int) -> bool:
    if stdio.paths[other] is not None or stdio.paths[one] is not None:
        return one != 0 and stdio.paths[one] == stdio.paths[other]
    return (one != 0 or os.isatty(0)) and os.path.samestat(os.fstat(one), os.fstat(other))


def _make_transparent(terminal: int) -> None:
    """Have TERMINAL change and echo no byte, as the real one does that. Line mode stays, as it lets input end."""
    iflag, oflag, cflag, lflag, ispeed, ospeed, cc = termios.tcgetattr(terminal)
    iflag &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR | termios.IXON | termios.IXOFF | termios.ISTRIP)
    oflag &= ~termios.OPOST
    lflag &= ~(termios.ECHO | termios.ECHONL | termios.ISIG | termios.IEXTEN)
    termios.tcsetattr(terminal, termios.TCSANOW, [iflag, oflag, cflag, lflag, ispeed, ospeed, cc])


def _copy_size(terminal: int) -> None:
    ours = next((fd for fd in (1, 2, 0) if os.isatty(fd)), None)
    if ours is not None:
        with suppress(OSError):
            size = fcntl.ioctl(ours, termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
