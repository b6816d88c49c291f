"""The processes of a dmtcp-run: its program, its coordinator, all below it; and their end."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from subprocess import Popen

_ENGINE_TOOLS = ("dmtcp_coor", "dmtcp_command")


def descendants(pid: int) -> list[psutil.Process]:
    """Return all processes below PID."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def program_of(process: Popen[bytes]) -> psutil.Process | None:
    """Return the first process of the program that a dmtcp-run runs, or the restart that it will be."""
    with suppress(psutil.NoSuchProcess):
        supervisor = psutil.Process(process.pid)
        if _is_in_namespace(supervisor):
            return next((one for one in supervisor.children(recursive=True) if _is_below_init(one)), None)
        for child in supervisor.children():
            # a restarted program has an empty command line; a fork that has not yet called exec() has ours
            words = child.cmdline()
            is_ours = "dmtcp-run-guard" in words or words == supervisor.cmdline()
            if not is_ours and not child.name().startswith(_ENGINE_TOOLS) and child.status() != psutil.STATUS_ZOMBIE:
                return child
    return None


def needed_for_checkpoints(process: Popen[bytes]) -> psutil.Process | None:
    """Return a process without which no checkpoint of a dmtcp-run comes to its end: CRIU's keeper, or the program."""
    program = program_of(process)
    if program is None or _inner_pid(program) is None:
        return program
    init = program.parent()
    return init.parent() if init else None


def _is_in_namespace(supervisor: psutil.Process) -> bool:
    """Whether a program runs, or ran until now, as the CRIU engine runs it."""
    return any(_inner_pid(one) for one in supervisor.children(recursive=True)) or "criu" in supervisor.cmdline()


def _is_below_init(one: psutil.Process) -> bool:
    """Whether it is the first process of a program under CRIU: a child of the init, which the keeper started."""
    above = one.parents()[:2]
    if len(above) < 2 or not _inner_pid(one) or _inner_pid(above[1]) != 1:
        return False
    # the tools of the engine are below the keeper too, but only the init leads a session
    with suppress(ProcessLookupError):
        return os.getsid(above[0].pid) == above[0].pid
    return False


def _inner_pid(one: psutil.Process) -> int | None:
    """Return the pid in a namespace below ours; None where it is in ours."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{one.pid}/status").read_text().splitlines()
        pids = next(line for line in lines if line.startswith("NSpid:")).split()[1:]
        is_dead = any(line.startswith("State:\tZ") for line in lines)
        return int(pids[-1]) if len(pids) > 1 and not is_dead else None
    return None


def coordinator_of(process: Popen[bytes]) -> psutil.Process | None:
    """Return DMTCP's coordinator of a dmtcp-run; it renames itself to ``dmtcp_coor:PORT``."""
    for child in descendants(process.pid):
        with suppress(psutil.NoSuchProcess):
            if child.name().startswith("dmtcp_coor"):
                return child
    return None


def is_alive(process: psutil.Process | None) -> bool:
    """Whether PROCESS is there and has not ended."""
    with suppress(psutil.NoSuchProcess):
        return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def kill_all(process: Popen[bytes]) -> None:
    """SIGKILL a dmtcp-run and everything below it, as the end of a batch job or the death of a node does."""
    below = descendants(process.pid)
    for victim in (process.pid, *(one.pid for one in below)):
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait(LONG_S)
    wait_until(lambda: not any(map(is_alive, below)))


def run_times_ns(process: Popen[bytes]) -> dict[int, int]:
    """Return how long each thread of a dmtcp-run's program has run on a processor, by its number."""
    program = program_of(process)
    pids = [program.pid, *(one.pid for one in descendants(program.pid))] if program else []
    found = {}
    for path in [path for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]:
        with suppress(OSError):
            found[int(path.parent.name)] = int(path.read_text().split()[0])
    return found
