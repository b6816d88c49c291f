"""Child processes: the supervised program, long-running helpers, and the guard that outlives this process."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
from contextlib import suppress
from typing import IO, TYPE_CHECKING, NamedTuple

from dmtcp_py.errors import EngineError
from dmtcp_py.system.prctl import set_parent_death_signal
from dmtcp_py.system.proc import started_at
from dmtcp_py.system.reaping import KILL_WAIT_S, TERM_GRACE_S, signal_group

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_ADDR_NO_RANDOMIZE = 0x0040000
_QUERY_PERSONALITY = 0xFFFFFFFF
_LIBC = ctypes.CDLL(None, use_errno=True)

# A shell takes 1 MB and survives a SIGKILL of the supervisor, after which it reads the end of its standard input.
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


class ExitStatus(NamedTuple):
    """How a process ended: exactly one of STATUS and SIGNUM is set."""

    status: int | None = None
    signum: int | None = None

    @property
    def shell_status(self) -> int:
        """The status that a shell reports: STATUS, or 128 + SIGNUM."""
        return self.status if self.status is not None else 128 + (self.signum or 0)


class ChildStdio(NamedTuple):
    """The standard streams of a child, as arguments of subprocess.Popen; None means inherited."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None


INHERITED = ChildStdio()


class Child:
    """A child process. With ``own_session`` it leads its own session and process group.

    With ``dies_with_us`` the kernel kills it when this process dies. With ``fixed_addresses`` its memory layout is not
    randomized. It ignores the signals ``ignores`` from the start.
    """

    def __init__(  # noqa: PLR0913 - each parameter is a property of the same fork and exec
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
                preexec_fn=_in_child(ignores, dies_with_us=dies_with_us, fixed_addresses=fixed_addresses),  # noqa: PLW1509 - it only makes system calls
            )
        except OSError as error:
            raise EngineError(
                f"{argv[0]} cannot be executed: {error.strerror}", "check that it is installed completely"
            ) from error
        self.pid = self._popen.pid

    @property
    def stdin(self) -> IO[bytes] | None:
        """The writing end of the pipe if stdin is PIPE."""
        return self._popen.stdin

    @property
    def stdout(self) -> IO[bytes] | None:
        """The reading end of the pipe if stdout is PIPE."""
        return self._popen.stdout

    def poll(self) -> ExitStatus | None:
        """Return how the process ended; None while it runs."""
        return _ending(self._popen.poll())

    def wait(self, timeout_s: float) -> ExitStatus | None:
        """Wait at most TIMEOUT_S for the process to end; return how it ended, or None if it still runs."""
        if self._popen.returncode is None:
            timeout_s = _left_after_waiting(self.pid, timeout_s)
        with suppress(subprocess.TimeoutExpired):
            return _ending(self._popen.wait(timeout_s))
        return None

    def signal(self, signum: int) -> None:
        """Send SIGNUM to the process, not to its group."""
        self._popen.send_signal(signum)

    def signal_group(self, signum: int) -> bool:
        """Send SIGNUM to the process group; return whether the group still has members."""
        has_ended = self._popen.returncode is not None
        # once the process was waited for and the group is empty, another process may get the number
        return not (has_ended and started_at(self.pid) is not None) and signal_group(self.pid, signum)

    def stop(self, grace_s: float = TERM_GRACE_S) -> ExitStatus:
        """End the process, not its group: SIGTERM, wait for GRACE_S, SIGKILL. Raises EngineError if it does not end."""
        if self.poll() is None:
            self.signal(signal.SIGTERM)
            if grace_s <= 0 or self.wait(grace_s) is None:
                self.signal(signal.SIGKILL)
        ending = self.wait(KILL_WAIT_S)
        if ending is None:
            raise EngineError(f"process {self.pid} does not end after SIGKILL", "check whether its file system hangs")
        return ending


class Guard:
    """A shell that kills the watched processes and removes the temporary FOLDER if this process is killed."""

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
        """Have the guard kill process PID, and the group that it leads, if this process dies."""
        self._send(f"watch {pid}")

    def dismiss(self) -> None:
        """End the guard, after everything was cleaned up."""
        self._send("done")
        if self._child.stdin:
            with suppress(OSError):
                self._child.stdin.close()
        self._child.stop()

    def _send(self, line: str) -> None:
        if self._child.stdin:
            with suppress(OSError):
                self._child.stdin.write(line.encode() + b"\n")
                self._child.stdin.flush()


def _in_child(ignores: Sequence[int], *, dies_with_us: bool, fixed_addresses: bool) -> Callable[[], None] | None:
    """Return the function that a child calls before it executes its program; None if there is nothing to do."""
    if not dies_with_us and not fixed_addresses and not ignores:
        return None
    parent = os.getpid()

    def in_child() -> None:
        for number in ignores:
            signal.signal(number, signal.SIG_IGN)
        if fixed_addresses:
            # if this is not allowed, the program runs with randomized addresses
            _LIBC.personality(_LIBC.personality(_QUERY_PERSONALITY) | _ADDR_NO_RANDOMIZE)
        if dies_with_us:
            set_parent_death_signal(signal.SIGKILL)
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)

    return in_child


def _left_after_waiting(pid: int, timeout_s: float) -> float:
    """Wait for child PID to end; return how much of TIMEOUT_S is left where the kernel (before 5.3) cannot do that."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return timeout_s
    try:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        poller.poll(timeout_s * 1000)
    finally:
        os.close(fd)
    return 0


def _ending(code: int | None) -> ExitStatus | None:
    if code is None:
        return None
    return ExitStatus(signum=-code) if code < 0 else ExitStatus(status=code)
