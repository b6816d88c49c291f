"""Checkpoints and restarts that never end: the job goes on nevertheless, and the processes that are stuck are named.

The bounds on a time without progress are shortened; what hangs are the real engines.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from faults.figures import End, Trial
from kit.bench import Workbench, counted
from kit.places import PROGRAM_FILES
from kit.processes import coordinator_of, kill_all, needed_for_checkpoints
from kit.waits import LONG_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

STUCK, STOPPED = "a process is stuck in the kernel", "the engine stands still"
RESTART, WHOLE_RESTART = "a restart stands still", "a restart and what answers for it stand still"
SUSPENDED = "a restart is suspended again and again"
LEFT = "the program does not run on after a checkpoint"
KINDS = (STUCK, STOPPED, RESTART, WHOLE_RESTART, SUSPENDED, LEFT)
OF_DMTCP = (LEFT,)
_STEPS = 120
_NAMED = "waits in"
_IMPATIENT = """
import sys
from dmtcp_py.attempt import checkpoint
from dmtcp_py.engine.criu import engine as criu
from dmtcp_py.engine.dmtcp import coming_up, coordinator, engine as dmtcp, readiness
from dmtcp_py.cli.run import main
def shorten(module, name, seconds):
    assert getattr(module, name) > seconds
    setattr(module, name, seconds)
shorten(checkpoint, "STALL_S", 4.0)
shorten(coordinator, "COMMAND_S", 4.0)
shorten(readiness, "_READY_S", 4.0)
shorten(coming_up, "_RESTART_S", 6.0)
shorten(criu, "_RESTART_S", 6.0)
sys.argv[0] = "dmtcp-run"
"""
"""A bound that is not where it is shortened any more is an error: the campaign would wait for the long one."""
_STOPPED_ONCE = """
import os, signal
from dmtcp_py.system.proc import process_tree
def stopping(wait, pids_of):
    def stopped(first, *others):
        if not os.path.exists("was-stopped"):
            open("was-stopped", "w").close()
            for pid in pids_of(first):
                os.kill(pid, signal.SIGSTOP)
        return wait(first, *others)
    return stopped
WHOLE = False
def of_dmtcp(computation):
    return [computation.pid, computation.coordinator.pid][: 1 + WHOLE]
def of_criu(keeper):
    return [keeper.child.pid, *(pid for pid, _ in process_tree(keeper.child.pid) if WHOLE)]
dmtcp.await_all = stopping(dmtcp.await_all, of_dmtcp)
criu._await_restore = stopping(criu._await_restore, of_criu)
"""
_SUSPENDED = """
import os, signal, threading
from contextlib import suppress
from dmtcp_py.system.proc import process_tree
def suspending(wait, pid_of):
    def suspended(first, *others):
        if os.path.exists("was-stopped"):
            return wait(first, *others)
        open("was-stopped", "w").close()
        is_over = threading.Event()
        thread = threading.Thread(target=suspend, args=[pid_of(first), is_over])
        thread.start()
        try:
            return wait(first, *others)
        finally:
            is_over.set()
            thread.join()
    return suspended
def suspend(root, is_over):
    while not is_over.wait(0.02):
        pids = [pid for pid, _ in process_tree(root)]
        for signum in (signal.SIGSTOP, signal.SIGCONT):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signum)
            is_over.wait(0.02 if signum == signal.SIGSTOP else 0)
dmtcp.await_all = suspending(dmtcp.await_all, lambda computation: computation.pid)
criu._await_restore = suspending(criu._await_restore, lambda keeper: keeper.child.pid)
"""
_LEFT = """
import os
left, status = [], coordinator.Coordinator.status
def status_of_left(self):
    found = status(self)
    if self not in left:
        if not self.log_state.checkpoints_begun or os.path.exists("was-left"):
            return found
        open("was-left", "w").close()
        left.append(self)
    return coordinator.Status(peers=found.peers, is_running=False)
coordinator.Coordinator.status = status_of_left
"""
"""DMTCP leaves a program so where one of its processes is killed at the wrong moment, once in hundreds of times."""
_STOPPED = {
    RESTART: _STOPPED_ONCE,
    WHOLE_RESTART: _STOPPED_ONCE.replace("WHOLE = False", "WHOLE = True"),
    SUSPENDED: _SUSPENDED,
}
_IN_THE_KERNEL = """
import ctypes, os, sys, threading, time
library, begun = ctypes.CDLL(sys.argv.pop(1)), False
sleep = time.sleep
def sleep_or_hang(seconds):
    global begun
    if not begun and os.path.exists("stuck"):
        begun = True
        threading.Thread(target=library.wait_in_the_kernel, daemon=True).start()
    sleep(seconds)
time.sleep = sleep_or_hang
sys.exit = lambda status: os._exit(status)
exec(open(COUNT).read())
"""


def campaign(bench: Workbench, seeds: Iterable[int]) -> Iterator[Trial]:
    """Let something hang once for each of SEEDS, and see whether the job comes to its end."""
    for seed in seeds:
        kind = KINDS[seed % len(KINDS)]
        one = Workbench(_new_folder(bench, seed), bench.engine)
        problem = _problem(one, kind, random.Random(seed))
        named = _NAMED in one.said()
        yield Trial(kind, End.WRONG if problem else End.DETECTED if named else End.SURVIVED, f"seed {seed} {problem}")


def _new_folder(bench: Workbench, seed: int) -> Path:
    folder = bench.folder / f"{seed}" / "work"
    folder.mkdir(parents=True)
    return folder


def _problem(bench: Workbench, kind: str, chosen: random.Random) -> str:
    """Have what KIND says happen, and return what is wrong in the end; nothing if all is well."""
    text = _IMPATIENT + (_LEFT if kind == LEFT else _STOPPED.get(kind, "")) + "main()\n"
    # two looks that fail take a while
    steps = 3 * _STEPS if kind == LEFT else _STEPS
    program = bench.counting(steps) if kind != STUCK else _program_in_the_kernel(bench)
    line = [*bench.python("impatient.py", text), *_options(bench), "-i", "2", "--stdout", "out.txt", *program]
    process = bench.start_line(bench.typed(line))
    bench.wait_generations(1, process)
    bench.wait_steps(chosen.randint(21, 40))
    if kind == STUCK:
        (bench.folder / "stuck").touch()
    elif kind == STOPPED and (needed := coordinator_of(process) or needed_for_checkpoints(process)) is not None:
        needed.send_signal(signal.SIGSTOP)
    elif kind in _STOPPED:
        kill_all(process)
        process = bench.start_line(bench.typed(line))
    try:
        status = process.wait(LONG_S)
    except subprocess.TimeoutExpired:
        kill_all(process)
        return f"it did not end:\n{bench.said()}"
    if status != 0:
        return f"it ended with {status}:\n{bench.said()}"
    if (bench.folder / "out.txt").read_bytes() != counted(steps):
        return f"its output is another:\n{bench.said()}"
    left = [one.pid for one in psutil.process_iter() if _works_in(one, bench)]
    return f"processes {left} are left" if left else ""


def _options(bench: Workbench) -> tuple[str, ...]:
    return tuple(bench.engine.options) if bench.engine else ()


def _works_in(process: psutil.Process, bench: Workbench) -> bool:
    with suppress(psutil.Error, OSError):
        return os.path.realpath(process.cwd()) == os.path.realpath(bench.folder)
    return False


def _program_in_the_kernel(bench: Workbench) -> list[str]:
    """Return the line of the program that counts, of which a thread gets stuck once a file ``stuck`` is there."""
    library = bench.folder.parent / "vfork.so"
    argv = ["cc", "-shared", "-fPIC", "-o", library, PROGRAM_FILES / "vfork.c"]
    subprocess.run(argv, check=True, timeout=LONG_S)
    text = _IN_THE_KERNEL.replace("COUNT", repr(str(PROGRAM_FILES / "count.py")))
    return [*bench.python("in_the_kernel.py", text), str(library), str(_STEPS)]
