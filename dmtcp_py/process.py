"""Processes: the supervised program, short tool calls, the guard that outlives us, and what is left over.

Everything here signals only processes that this supervisor started, or their descendants.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from dmtcp_py.census import started_at, tree
from dmtcp_py.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

TERM_GRACE_S = 5.0
KILL_WAIT_S = 30.0
LEFTOVER_GRACE_S = 2.0
"""So long may processes of the program outlive its first one."""
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ADDR_NO_RANDOMIZE = 0x0040000
_ASK_PERSONALITY = 0xFFFFFFFF
_STEP_S = 0.05

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
class Ending:
    """How a process ended: exactly one of the two is set."""

    status: int | None = None
    signum: int | None = None

    @property
    def shell_status(self) -> int:
        """The number by which a shell reports it."""
        return self.status if self.status is not None else 128 + (self.signum or 0)


@dataclass(frozen=True)
class ToolResult:
    """What a short tool call gave."""

    status: int
    output: str


def run_tool(argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str] | None = None) -> ToolResult:
    """Run a short tool to its end and return its status with stdout and stderr together.

    Raises EngineError where it cannot be started or is not done within TIMEOUT_S.
    """
    # not sh: in the background, which is how it takes a time-out, 53 of 100 calls of a 5 ms tool took 1 s (sh 2.4.0)
    try:
        tool = subprocess.Popen(
            argv,
            env=dict(env) if env is not None else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise EngineError(f"{argv[0]} cannot be run: {error.strerror}", "is it installed?") from error
    try:
        output = tool.communicate(timeout=timeout_s)[0]
    except subprocess.TimeoutExpired:
        signal_group(tool.pid, signal.SIGKILL)
        tool.wait(KILL_WAIT_S)
        if tool.stdout is not None:
            tool.stdout.close()
        raise EngineError(f"{argv[0]} did not answer within {timeout_s:.0f} s") from None
    return ToolResult(
        tool.returncode if tool.returncode >= 0 else 128 - tool.returncode, output.decode("utf-8", "replace")
    )


@dataclass(frozen=True)
class Streams:
    """Standard streams of a child as subprocess takes them; None is inherited."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None


INHERITED = Streams()


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
        streams: Streams = INHERITED,
        pass_fds: Sequence[int] = (),
    ) -> None:
        try:
            self._popen = subprocess.Popen(
                argv,
                env=dict(env),
                stdin=streams.stdin,
                stdout=streams.stdout,
                stderr=streams.stderr,
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

    def poll(self) -> Ending | None:
        """Return how the process ended; None while it runs."""
        return _ending(self._popen.poll())

    def wait(self, timeout_s: float) -> Ending | None:
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

    def stop(self, grace_s: float = TERM_GRACE_S) -> Ending:
        """End the process itself: TERM, wait, KILL."""
        if self.poll() is None:
            self.signal(signal.SIGTERM)
            if grace_s <= 0 or self.wait(grace_s) is None:
                self.signal(signal.SIGKILL)
        ending = self.wait(KILL_WAIT_S)
        if ending is None:
            raise EngineError(f"process {self.pid} does not end after SIGKILL", "its file system may hang: look at it")
        return ending


class Patience:
    """A time-out that does not run on while this process is stopped, by Ctrl-Z or by a scheduler that suspends jobs.

    `is_over` has to be called at least once a second.
    """

    def __init__(self, limit_s: float) -> None:
        self._left_s = self._limit_s = limit_s
        self._looked_at = time.monotonic()

    def is_over(self) -> bool:
        """Whether the time is over, not counting more than a second since the last look."""
        now = time.monotonic()
        self._left_s -= min(now - self._looked_at, 1.0)
        self._looked_at = now
        return self._left_s < 0

    def renew(self) -> None:
        """Begin again."""
        self._left_s = self._limit_s


class Guard:
    """A shell that kills what we started and removes our temporary folder when we are killed ourselves."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._child = Child(
            ["/bin/sh", "-c", _GUARD, "dmtcp-run-guard", str(folder)],
            env=env,
            streams=Streams(stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
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


def signal_group(group: int, signum: int) -> bool:
    """Send SIGNUM to process group GROUP; return whether it has any member."""
    try:
        os.killpg(group, signum)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def become_subreaper() -> None:
    """Adopt the orphans among our descendants, so that they can be found, ended and reaped."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def reap_orphans(known: Sequence[int]) -> None:
    """Reap ended processes that we inherited. KNOWN are children that somebody else waits for."""
    with suppress(ChildProcessError):
        while True:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None or found.si_pid in known:
                return
            os.waitpid(found.si_pid, os.WNOHANG)


def has_children() -> bool:
    """Whether any process is left that we started or inherited, after reaping those that ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def end_group(group: int, *, grace_s: float) -> bool:
    """Give process group GROUP so long to end by itself, then TERM, then KILL; return whether it had to be ended."""
    if _group_gone(group, grace_s):
        return False
    signal_group(group, signal.SIGTERM)
    signal_group(group, signal.SIGCONT)
    if not _group_gone(group, TERM_GRACE_S):
        signal_group(group, signal.SIGKILL)
        _group_gone(group, KILL_WAIT_S)
    return True


def end_descendants() -> None:
    """Kill every process that is still below us. Only for the end, when nobody waits for any of them any more."""
    until = time.monotonic() + KILL_WAIT_S
    while has_children() and time.monotonic() < until:
        for pid, _ in tree(os.getpid())[1:]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_STEP_S)


def end_leftovers(processes: Sequence[tuple[int, float]]) -> bool:
    """Kill PROCESSES, given as `tree` returns them, with their sessions; return whether any was left.

    Raises EngineError where one does not go away: then nothing may be started in its place.
    """
    left = [member for pid, start in processes for member in _session_or_self(pid, start)]
    for pid in left:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + KILL_WAIT_S
    while remaining := [pid for pid in left if started_at(pid) is not None]:
        if time.monotonic() >= until:
            raise EngineError(
                f"processes {remaining} of the attempt before do not end after SIGKILL", "end them, then run again"
            )
        time.sleep(_STEP_S)
    return bool(left)


def _session_or_self(pid: int, start: float) -> list[int]:
    """Return process PID if it still is the one that started then, and what is left of the session that it led."""
    now = started_at(pid)
    if now is not None and now != start:
        return []
    members = [] if now is None else [pid]
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names are all that is wanted
        if entry.isdigit() and int(entry) != pid:
            with suppress(ProcessLookupError, PermissionError):
                began = started_at(int(entry))
                if os.getsid(int(entry)) == pid and began is not None and began >= start:
                    members.append(int(entry))
    return members


def _group_gone(group: int, within_s: float) -> bool:
    """Wait until GROUP has no member: there is no descriptor that tells, so it is looked at again and again."""
    until = time.monotonic() + within_s
    while True:
        reap_group(group)
        if not signal_group(group, 0):
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(_STEP_S)


def reap_group(group: int) -> None:
    """Reap the ended members of process group GROUP that are our children."""
    with suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass


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
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)

    return in_child


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise EngineError(f"prctl({option}) failed: {os.strerror(ctypes.get_errno())}", "is this Linux?")


def _ending(code: int | None) -> Ending | None:
    if code is None:
        return None
    return Ending(signum=-code) if code < 0 else Ending(status=code)


_LIBC = ctypes.CDLL(None, use_errno=True)
