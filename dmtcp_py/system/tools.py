"""Running short commands to their end, with a time-out, through the library sh.

The supervised program, its coordinator and its guard are run as `dmtcp_py.system.child.Child` instead: sh starts
background commands with SIGHUP and SIGXFSZ ignored, and an image would preserve that.
"""

from __future__ import annotations

import importlib
import os
import threading
from signal import SIGKILL
from typing import TYPE_CHECKING, Any, NamedTuple

from dmtcp_py.errors import EngineError
from dmtcp_py.system.reaping import AWAITED, signal_group
from dmtcp_py.system.timeout import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class ToolResult(NamedTuple):
    """The result of a short command; STATUS is as a shell reports it, OUTPUT may hold bytes that are not text."""

    status: int
    output: str


def run_tool(argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str] | None = None) -> ToolResult:
    """Run a short command to its end; return its status, and stdout and stderr in one text.

    Raises EngineError if it cannot be started, does not end within TIMEOUT_S, or is ended by another thread.
    """
    # importing sh takes 85 to 260 ms, so nothing between the command line and the running program may use it
    import sh  # noqa: PLC0415

    with counted(timeout_s), AWAITED, open(os.devnull, "rb") as nothing:  # noqa: PTH123 - not a file that a Path stands for
        command = _started(sh, argv, env, nothing)
        is_late = threading.Event()
        timer = threading.Timer(timeout_s, _kill, [command.pid, is_late])
        timer.daemon = True
        timer.start()
        try:
            # not wait(timeout=...), which polls
            command.wait()
        except ChildProcessError:
            # `end_descendants` has ended and reaped it: the attempt is over
            raise EngineError(f"{argv[0]} was ended") from None
        finally:
            timer.cancel()
    if is_late.is_set():
        raise EngineError(f"{argv[0]} did not answer within {timeout_s:.0f} s")
    status = command.exit_code
    if status < 0:
        # somebody has killed it: what it had started goes with it
        signal_group(command.pid, SIGKILL)
    return ToolResult(status if status >= 0 else 128 - status, os.fsdecode(command.stdout))


def import_early() -> None:
    """Import sh in the background, so that the next command does not have to wait for that.

    Until that is done, this process must not fork in another thread: modules that sh imports register functions to be
    called before and after a fork, and only the latter would be called.
    """
    threading.Thread(target=importlib.import_module, args=["sh"], daemon=True).start()


def _started(sh: Any, argv: Sequence[str], env: Mapping[str, str] | None, stdin: Any) -> Any:
    try:
        return sh.Command(argv[0])(
            *argv[1:],
            _bg=True,
            _bg_exc=False,
            _new_session=True,
            _tty_out=False,
            _err_to_out=True,
            _in=stdin,
            _ok_code=range(-64, 256),
            _env=None if env is None else dict(env),
        )
    except (sh.CommandNotFound, sh.ForkException, OSError) as error:
        raise EngineError(f"{argv[0]} cannot be run: {_reason(error)}", "check that it is installed") from error


def _kill(pid: int, is_late: threading.Event) -> None:
    is_late.set()
    signal_group(pid, SIGKILL)


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else (str(error).strip() or "not found")
