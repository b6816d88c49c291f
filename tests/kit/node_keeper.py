"""Be to one daemon what a machine is: the parent of all that comes of it, and its end.

``node_keeper.py LOG GROUP COMMAND ARGS...``: each line on stdin starts the command, whose pid is the answer on stdout.
The end of stdin, however it comes about, SIGKILLs everything below, orphans too, and removes the control group that
the command may have made. Uses the standard library only and no site packages, so that it starts in some 15 ms.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_END_S = 20.0


def main(log: str, group: str, *argv: str) -> None:
    """Serve stdin, then end what is left."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.setsid()
    signal.signal(signal.SIGCHLD, _reap)
    for _ in sys.stdin:
        print(_start(log, argv), flush=True)  # noqa: T201 the answer
    for path in Path(group).rglob("freezer.state"):
        # processes that Slurm has suspended can die only thawed
        path.write_text("THAWED")
    until = time.monotonic() + _END_S
    while (left := _below(os.getpid())) and time.monotonic() < until:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    for folder, _, _ in os.walk(group, topdown=False):
        Path(folder).rmdir()


def _start(log: str, argv: tuple[str, ...]) -> int:
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions, setsid=True)


def _reap(*_: object) -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _below(pid: int) -> list[int]:
    """Return all processes below PID but the dead, which are reaped by their parents or, soon, by this one."""
    children: dict[int, list[int]] = {}
    dead = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            children.setdefault(int(parent), []).append(int(path.parent.name))
            if state == "Z":
                dead.add(int(path.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return [one for one in found[1:] if one not in dead]


if __name__ == "__main__":
    main(*sys.argv[1:])
