"""The init of a computation: the root of the tree of processes that criu dumps, with the program below it.

`dmtcp_py.engine.criu.inside.keeper` runs it as the leader of a session, with an order as JSON on standard input; it
writes the text of a failure to standard output. It executes a shell, which is small in an image, adopts the program's
orphans, survives the signals that stop the program, and ends as the program does.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from dmtcp_py.engine.criu.inside.user_namespace import StepError, step
from dmtcp_py.system import libc

if TYPE_CHECKING:
    from collections.abc import Sequence

# Descriptor 3 is the real stderr, so that the shell prints nothing about the program's end there. The first argument is
# the caller's PWD, which a shell changes.
_SCRIPT = """\
trap : HUP INT QUIT TERM USR1 USR2
(if [ "$1" ]; then PWD=$1; else unset PWD; fi; shift; exec "$@" 2>&3 3>&-)
s=$?
trap - HUP INT QUIT TERM USR1 USR2
ulimit -c 0
[ $s -gt 128 ] && kill -$((s-128)) $$ 2>/dev/null
exit $s"""
_SAFE_FD = 10
_FILE_MODE = 0o666
_PR_SET_CHILD_SUBREAPER = 36
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITY_SETS_BYTES = 24
_CLONE_NEWIPC = 0x08000000


def become(order: dict[str, Any]) -> NoReturn:
    """Become the shell that runs the command of ORDER."""
    _reset_signals(order["ignored"])
    libc.call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if order["own_ipc"]:
        # criu dumps System V objects only in a namespace of their own
        step("making an IPC namespace", lambda: libc.call("unshare", _CLONE_NEWIPC))
    if os.geteuid() != 0:
        _drop_capabilities()
    for fd, source in enumerate(_open_streams(order["streams"])):
        os.dup2(source, fd)
    os.dup2(2, 3)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    environ = order["environ"]
    os.execve("/bin/sh", ["sh", "-c", _SCRIPT, "sh", environ.get("PWD", ""), *order["command"]], environ)  # noqa: S606


def _reset_signals(ignored: list[int]) -> None:
    """Reset the signals that the interpreters before the shell changed, except those that the caller ignores."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) is not signal.SIG_DFL and number not in ignored:
            signal.signal(number, signal.SIG_DFL)


def _drop_capabilities() -> None:
    """Drop the capabilities that an ordinary user was granted for criu, so that the program has none of them."""
    libc.call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    libc.call("capset", struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(_CAPABILITY_SETS_BYTES))


def _open_streams(streams: list[dict[str, Any]]) -> list[int]:
    """Return a descriptor above 3 for each of the program's standard streams.

    Files are opened here, by path: criu cannot dump what was opened in another mount namespace.
    """
    found: list[int] = []
    for stream in streams:
        if "same_as" in stream:
            found.append(found[stream["same_as"]])
            continue
        if "fd" in stream:
            source = stream["fd"]
        else:
            source = os.open(stream["path"], stream["flags"], _FILE_MODE)
            if stream.get("offset"):
                os.lseek(source, stream["offset"], os.SEEK_SET)
        found.append(fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, _SAFE_FD))
    return found


def main(_words: Sequence[str]) -> NoReturn:
    """Become the init of the order on standard input; the text of a failure goes to standard output."""
    failure = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, _SAFE_FD)
    try:
        become(json.load(sys.stdin))
    except StepError as error:
        os.write(failure, str(error).encode())
    except BaseException as error:
        os.write(failure, f"{type(error).__name__}: {error}".encode())
    os._exit(125)
