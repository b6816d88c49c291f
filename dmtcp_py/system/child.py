"""Child processes: the supervised program, helpers that run for long, and the guard that outlives this process."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from dmtcp_py.errors import EngineError
from dmtcp_py.system.prctl import set_parent_death_signal
from dmtcp_py.system.reaping import KILL_WAIT_S, TERM_GRACE_S, signal_group

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_ADDR_NO_RANDOMIZE = 0x0040000
_ASK_PERSONALITY = 0xFFFFFFFF
_LIBC = ctypes.CDLL(None, use_errno=True)

# A shell costs 1 MB and outlives a SIGKILL of the supervisor: its standard input is then at its end.
_GUARD = """\
trap '' HUP INT QUIT TERM USR1 USR2 TSTP
folder=$1; pids=
while read -r word value; do
    case $word in
    watch) pids="$pids $value" ;;
    done) exit 0 ;;
    esac
done
for pid in $pids; do kill -KILL "-$pid" "$pid" 2>/dev/null; done
exec rm -rf -- "$folder"
"""


@dataclass(frozen=True)
class ExitStatus:
    """How a process ended: exactly one of the two is set."""

    status: int | None = None
    signum: int | None = None

    @property
    def shell_status(self) -> int:
        """The number by which a shell reports it."""
        return self.status if self.status is not None else 128 + (self.signum or 0)


@dataclass(frozen=True)
class ChildStdio:
    """Standard streams of a child as subprocess takes them; None is inherited."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None


INHERITED = ChildStdio()


class Child:
    """A process that we started and wait for; with ``own_session`` it leads a session and group of its own.

    With ``dies_with_us`` the kernel kills it when we die; with ``fixed_addresses`` the layout of its memory is not
    randomized; it starts with the signals ``ignores`` ignored.
    """

    def __init__(  # noqa: PLR0913 - each is a property of the one fork and exec
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        own_session: bool = True,
        dies_with_us: bool = False,
        fixed_addresses: bool = False,
        ignores: Sequence[int] = (),
        stdio: ChildStdio = INHERITED,
        pass_fds: Sequence[int] = (),
    ) -> None:
        try:
            self._popen = subprocess.Popen(
                argv,
                env=dict(env),
                stdin=stdio.stdin,
                stdout=stdio.stdout,
                stderr=stdio.stderr,
                start_new_session=own_session,
                pass_fds=tuple(pass_fds),
                preexec_fn=_in_child(ignores, dies_with_us=dies_with_us, fixed_addresses=fixed_addresses),  # noqa: PLW1509 - only system calls in it
            )
        except OSError as error:
            raise EngineError(f"{argv[0]} cannot be executed: {error.strerror}", "is it installed whole?") from error
        self.pid = self._popen.pid

    @property
    def stdin(self) -> IO[bytes] | None:
        """The writing end where stdin=PIPE was asked for."""
        return self._popen.stdin

    @property
    def stdout(self) -> IO[bytes] | None:
        """The reading end where stdout=PIPE was asked for."""
        return self._popen.stdout

    def poll(self) -> ExitStatus | None:
        """Return how the process ended; None while it runs."""
        return _ending(self._popen.poll())

    def wait(self, timeout_s: float) -> ExitStatus | None:
        """Wait at most TIMEOUT_S for the process to end."""
        with suppress(subprocess.TimeoutExpired):
            return _ending(self._popen.wait(timeout_s))
        return None

    def signal(self, signum: int) -> None:
        """Send SIGNUM to the process alone."""
        self._popen.send_signal(signum)

    def signal_group(self, signum: int) -> bool:
        """Send SIGNUM to what is left of the process's group; return whether there was anything."""
        return signal_group(self.pid, signum)

    def stop(self, grace_s: float = TERM_GRACE_S) -> ExitStatus:
        """End the process itself: TERM, wait, KILL."""
        if self.poll() is None:
            self.signal(signal.SIGTERM)
            if grace_s <= 0 or self.wait(grace_s) is None:
                self.signal(signal.SIGKILL)
        ending = self.wait(KILL_WAIT_S)
        if ending is None:
            raise EngineError(f"process {self.pid} does not end after SIGKILL", "its file system may hang: look at it")
        return ending


class Guard:
    """A shell that kills what we started and removes our temporary folder when we are killed ourselves."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._child = Child(
            ["/bin/sh", "-c", _GUARD, "dmtcp-run-guard", str(folder)],
            env=env,
            stdio=ChildStdio(stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
        )

    @property
    def pid(self) -> int:
        """The shell's pid."""
        return self._child.pid

    def watch(self, pid: int) -> None:
        """Have process PID, and the group that it leads, killed when we die."""
        self._tell(f"watch {pid}")

    def dismiss(self) -> None:
        """Let the guard go: everything is cleaned up already."""
        self._tell("done")
        if self._child.stdin:
            with suppress(OSError):
                self._child.stdin.close()
        self._child.stop()

    def _tell(self, line: str) -> None:
        if self._child.stdin:
            with suppress(OSError):
                self._child.stdin.write(line.encode() + b"\n")
                self._child.stdin.flush()


def _in_child(ignores: Sequence[int], *, dies_with_us: bool, fixed_addresses: bool) -> Callable[[], None] | None:
    """Return what a child is to do before it executes its program."""
    if not dies_with_us and not fixed_addresses and not ignores:
        return None
    parent = os.getpid()

    def in_child() -> None:
        for number in ignores:
            signal.signal(number, signal.SIG_IGN)
        if fixed_addresses:
            # where it is not allowed the program is no worse off than without
            _LIBC.personality(_LIBC.personality(_ASK_PERSONALITY) | _ADDR_NO_RANDOMIZE)
        if dies_with_us:
            set_parent_death_signal(signal.SIGKILL)
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)

    return in_child


def _ending(code: int | None) -> ExitStatus | None:
    if code is None:
        return None
    return ExitStatus(signum=-code) if code < 0 else ExitStatus(status=code)
