"""SIGKILL or SIGSTOP to a random process of a job, or to all, at a random moment; then the same line, to its end.

A seed stands for one job and for `FAULTS` of them in it, one after another; each is a trial. Half of the programs have
children with a pipe between them. What is left over is looked for after each job.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from dmtcp_py.store.layout import JobLayout
from faults.figures import End, Trial
from faults.leftovers import left_of
from kit.bench import Workbench, counted
from kit.processes import descendants, is_alive, kill_all
from kit.waits import LONG_S, happens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kit.bench import Process

FAULTS = 4
ALL, SUPERVISOR, ONE = "all of the job", "dmtcp-run", "a process below dmtcp-run"
_ROLES = {
    "dmtcp-run-guard": "the guard",
    "dmtcp_coor": "the coordinator",
    "dmtcp_command": "a tool of DMTCP",
    "dmtcp_restart": "a tool of DMTCP",
    "dmtcp_launch": "a tool of DMTCP",
    "seal_process": "the compressor",
    "mirror.worker": "the copier of a mirror",
    "criu.inside.keeper": "the keeper",
    "criu.inside": "a tool of CRIU",
    "criu": "a tool of CRIU",
}
_PROGRAM = "a process of the program"
KILL, PAUSE, PAUSE_AND_KILL = "SIGKILL of", "SIGSTOP and SIGCONT of", "SIGSTOP and SIGKILL of"
SEALING = "in sealing"
_STEPS = 40
_MOST_LINES = 2 * FAULTS
_MOMENT_S = 4.0
_KILLED = {128 + signal.SIGKILL, -signal.SIGKILL}
_WITH_A_CHILD = """
import subprocess, sys, time

def repeated(line):
    global child
    while True:
        try:
            child.stdin.write(line + "\\n")
            child.stdin.flush()
            if child.stdout.readline() == line + "\\n":
                return line
        except OSError:
            pass
        child.kill()
        child.wait()
        child = started()

def started():
    pipe = subprocess.PIPE
    return subprocess.Popen(["cat"], stdin=pipe, stdout=pipe, text=True)

child, steps, x = started(), int(sys.argv[1]), int(sys.argv[1])
for step in range(1, steps + 1):
    x = (16807 * x + x % 256) % 2147483647
    print(repeated(f"{step} {x}"), flush=True)
    with open("ledger.txt", "a") as ledger:
        ledger.write(f"{step}\\n")
    time.sleep(0.1)
print("done", steps, x, flush=True)
"""
"""Its output is that of the program that counts. A child that is killed is replaced, as in a pool of workers."""


class _Fault(NamedTuple):
    """What is done to whom, and when."""

    what: str
    victim: str
    moment: str
    delay_s: float
    pause_s: float
    role: str = ""
    """What the process was that it was done to, if it was one."""

    @property
    def kind(self) -> str:
        return f"{self.what} {self.role or self.victim}"


class _Job:
    """A job on a bench, and what was done to it."""

    def __init__(self, bench: Workbench, seed: int) -> None:
        self.bench, self.chosen = bench, random.Random(seed)
        self.faults: list[_Fault] = []
        self.done: list[str] = []
        self.layout = JobLayout(bench.jobs / "killed")
        counting = bench.counting(_STEPS, ledger="ledger.txt")
        with_a_child = [*bench.python("child.py", _WITH_A_CHILD), str(_STEPS)]
        program = with_a_child if self.chosen.random() < 0.5 else counting
        seals = ["--seal"] if self.chosen.random() < 0.5 else []
        self.moments = [name for name in _MOMENTS if seals or name != SEALING]
        self.line = [*seals, "-i", "1", "--job", "killed", "--stdout", "out.txt", *program]

    def problem(self) -> str:
        """Have the faults, and run the same line until the job has finished; return what is wrong."""
        for _ in range(_MOST_LINES):
            before = len(self.faults)
            process = self.bench.start(*self.line)
            self._harm(process)
            newest = self.bench.newest
            happens(lambda: self._has_ended(process), LONG_S)  # noqa: B023 - called at once
            try:
                status = process.wait(0)
            except subprocess.TimeoutExpired:
                states = [_state(one) for one in (psutil.Process(process.pid), *descendants(process.pid))]
                kill_all(process)
                return "\n".join(["it did not end:", *states, self.bench.said()])
            if self.bench.newest < newest:
                return f"generation {newest} was committed; there are {self.bench.generations}:\n{self.bench.said()}"
            if status == 0:
                return self._wrong_at_the_end()
            if status not in _KILLED and ONE not in [fault.victim for fault in self.faults[before:]]:
                return f"it ended with {status}:\n{self.bench.said()}"
        return f"it does not come to its end:\n{self.bench.said()}"

    def _has_ended(self, process: Process) -> bool:
        """Whether PROCESS has ended; continues what is stopped: an image of a stopped program is resumed stopped.

        Tools are left alone: criu has a process of its own that stops itself, and hangs if that is continued too early.
        """
        stopped = [one for one in descendants(process.pid) if _is_stopped(one) and _role(one) == _PROGRAM]
        _send(stopped, signal.SIGCONT)
        return process.poll() is not None

    def _harm(self, process: Process) -> None:
        """Have faults until PROCESS ends of one, or there were enough."""
        while len(self.faults) < FAULTS and process.poll() is None:
            fault = self._choose()
            until = time.monotonic() + _MOMENT_S
            while not _MOMENTS[fault.moment](self.layout) and process.poll() is None and time.monotonic() < until:
                time.sleep(0.0005)
            happens(lambda: process.poll() is not None, fault.delay_s)
            self._do(fault, process)

    def _choose(self) -> _Fault:
        moment = self.chosen.choice(self.moments)
        return _Fault(
            what=self.chosen.choice([KILL, KILL, KILL, PAUSE, PAUSE_AND_KILL]),
            victim=self.chosen.choice([ALL, SUPERVISOR, ONE, ONE, ONE]),
            moment=moment,
            delay_s=self.chosen.uniform(0, _DELAYS_S[moment]),
            pause_s=self.chosen.uniform(0.2, 3),
        )

    def _do(self, fault: _Fault, process: Process) -> None:
        below = sorted(descendants(process.pid), key=lambda one: one.pid)
        if process.poll() is not None or not below:
            return
        with suppress(psutil.NoSuchProcess):
            first = psutil.Process(process.pid)
            one, role = self._one_of(below)
            victims = {ALL: [first, *below], SUPERVISOR: [first], ONE: [one]}[fault.victim]
            fault = fault._replace(role=role if fault.victim == ONE else "")
            self.faults.append(fault)
            self.done.append(f"{fault.kind}, {fault.moment}: {[_words(one) for one in victims]}")
            if fault.what != KILL:
                _send(victims, signal.SIGSTOP)
                happens(lambda: process.poll() is not None, fault.pause_s)
            _send(victims, signal.SIGCONT if fault.what == PAUSE else signal.SIGKILL)
            if fault.what != PAUSE and fault.victim != ONE:
                process.wait(LONG_S)
            if fault.what != PAUSE and fault.victim == ALL:
                happens(lambda: not any(map(is_alive, below)))

    def _one_of(self, below: list[psutil.Process]) -> tuple[psutil.Process, str]:
        """Choose what a process is, and then one of those: a program may have many, and there is one guard."""
        by_role: dict[str, list[psutil.Process]] = {}
        for one in below:
            by_role.setdefault(_role(one), []).append(one)
        role = self.chosen.choice(sorted(by_role))
        return self.chosen.choice(by_role[role]), role

    def _wrong_at_the_end(self) -> str:
        bench = self.bench
        if (bench.folder / "out.txt").read_bytes() != counted(_STEPS):
            return f"its output is another:\n{bench.said()}"
        steps = (bench.folder / "ledger.txt").read_text().split()
        if steps != [str(step) for step in range(1, _STEPS + 1)]:
            return f"the file of its steps is another: {steps}\n{bench.said()}"
        happens(lambda: not left_of(bench), LONG_S / 4)
        return f"these are left: {left}\n{bench.said()}" if (left := left_of(bench)) else ""


def _send(victims: list[psutil.Process], signum: int) -> None:
    for one in victims:
        with suppress(psutil.NoSuchProcess):
            one.send_signal(signum)


def _is_stopped(one: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return one.status() == psutil.STATUS_STOPPED
    return False


def _state(one: psutil.Process) -> str:
    with suppress(psutil.Error, OSError):
        threads = [path.read_text() for path in Path(f"/proc/{one.pid}/task").glob("*/wchan")]
        return f"{one.pid} of {one.ppid()}, {one.status()} in {threads}: {one.cmdline()}"
    return "gone"


def _role(one: psutil.Process) -> str:
    """Return what ONE is for: each module of the package that runs in a process of its own is named in its line."""
    with suppress(psutil.Error):
        name, words = one.name(), " ".join(one.cmdline())
        return next((role for mark, role in _ROLES.items() if mark in words or name.startswith(mark)), _PROGRAM)
    return _PROGRAM


def _words(one: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join([one.name(), *one.cmdline()[-2:]])[-60:]
    return "gone"


_MOMENTS: dict[str, Callable[[JobLayout], object]] = {
    "at any time": lambda _: True,
    "at the start": lambda _: True,
    "in a checkpoint": lambda layout: any(layout.staging.glob("*")),
    "in a commit": lambda layout: layout.partials(),
    SEALING: lambda layout: layout.left_of_sealing(),
}
_DELAYS_S = {
    "at any time": 4.0,
    "at the start": 1.0,
    "in a checkpoint": 0.3,
    "in a commit": 0.02,
    SEALING: 0.05,
}


def campaign(bench: Workbench, seeds: Iterable[int]) -> Iterator[Trial]:
    """Run a job for each of SEEDS, and have `FAULTS` in it."""
    for seed in seeds:
        folder = bench.folder / f"{seed}" / "work"
        folder.mkdir(parents=True)
        job = _Job(Workbench(folder, bench.engine), seed)
        problem = job.problem()
        for number, fault in enumerate(job.faults, 1):
            is_last = number == len(job.faults)
            detail = f"seed {seed}: {job.done}: {problem}" if problem and is_last else ""
            yield Trial(fault.kind, End.WRONG if detail else End.SURVIVED, detail)
        if not problem:
            shutil.rmtree(folder.parent)
