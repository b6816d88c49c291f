"""The program's standard streams under DMTCP: which are opened inside the computation, and which it inherits."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dmtcp_py.system.child import ChildStdio

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dmtcp_py.engine.protocol import Stdio


def with_streams(command: Sequence[str], program: Path, stdio: Stdio) -> list[str]:
    """Return COMMAND in a shell that opens its streams inside the computation, so that they are in the images."""
    # neither dmtcp_launch nor a shell's exec accepts a name that starts with a dash
    command = [str(program) if command[0].startswith("-") else command[0], *command[1:]]
    opens, paths = [], []
    for path, redirection in ((stdio.stdin, "<"), (stdio.stdout, ">"), (stdio.stderr, "2>")):
        if path is not None and redirection == "2>" and path == stdio.stdout:
            opens.append("2>&1")
        elif path is not None:
            paths.append(str(path))
            opens.append(f'{redirection}"$file{len(paths)}"')
    if not opens:
        return command
    variables = "".join(f"file{number}=$1; shift; " for number in range(1, len(paths) + 1))
    seek = f"dd count=0 skip={stdio.stdin_offset} iflag=skip_bytes of=/dev/null 2>/dev/null; "
    if stdio.stdin is not None and stdio.stdin_offset:
        script = f'{variables}exec {" ".join(opens)}; {seek}exec "$@"'
    else:
        script = f'{variables}exec "$@" {" ".join(opens)}'
    return ["/bin/sh", "-c", script, "dmtcp-run", *paths, *command]


@contextmanager
def terminal_as_dev_tty(stdio: Stdio) -> Iterator[ChildStdio]:
    """Yield the streams for the program, with ``/dev/tty`` in place of a terminal that it inherits.

    DMTCP treats a stream specially if it is the controlling terminal of the process or its parent: 3.2 then cannot
    restart it, and 4.2 and 5.0 close it if the restart has no terminal. A stream on ``/dev/tty`` is inherited anew.
    """
    terminals = [fd for fd, path in enumerate(stdio.paths) if path is None and os.isatty(fd)]
    opened = None
    if terminals:
        # without a controlling terminal there is no stream that DMTCP treats specially
        with suppress(OSError):
            opened = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    try:
        yield ChildStdio(*(opened if fd in terminals else None for fd in range(3)))
    finally:
        if opened is not None:
            os.close(opened)


@contextmanager
def stream_flags_kept() -> Iterator[None]:
    """Keep the flags of our streams, on which dmtcp_restart sets the flags of the launch's streams.

    Without O_APPEND a file opened with ``>>`` would be overwritten from its beginning (3.2, 4.2 and 5.0).
    """
    kept = {}
    for fd in range(3):
        with suppress(OSError):
            kept[fd] = fcntl.fcntl(fd, fcntl.F_GETFL)
            if kept[fd] & os.O_APPEND:
                os.lseek(fd, 0, os.SEEK_END)
    try:
        yield
    finally:
        for fd, flags in kept.items():
            fcntl.fcntl(fd, fcntl.F_SETFL, flags)
