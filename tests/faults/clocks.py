"""Clocks that jump by hours, differ between hosts and from the file server's, and machines that are suspended.

The clock of a host is that of a library in dmtcp-run and its tools; files have the times of this machine, as those of a
file server do. The program keeps the clock of this machine: what it reads of it is its own affair.
"""

from __future__ import annotations

import random
import signal
import subprocess
from typing import TYPE_CHECKING

from faults.figures import End, Trial
from kit.bench import Workbench, counted
from kit.processes import descendants, kill_all
from kit.waits import LONG_S, happens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from kit.bench import Process

_C_TEXT = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const char *ahead_file;
static long ahead(void)
{
    long found = 0;
    FILE *file = ahead_file ? fopen(ahead_file, "r") : NULL;
    if (file) {
        if (fscanf(file, "%ld", &found) != 1)
            found = 0;
        fclose(file);
    }
    return found;
}
__attribute__((constructor)) static void begin(void)
{
    /* for dmtcp-run alone: the program has the clock of the machine */
    ahead_file = getenv("AHEAD_FILE");
    unsetenv("LD_PRELOAD");
}
int clock_gettime(clockid_t clock, struct timespec *found)
{
    int result = syscall(SYS_clock_gettime, clock, found);
    if (!result && clock == CLOCK_REALTIME)
        found->tv_sec += ahead();
    return result;
}
int gettimeofday(struct timeval *found, void *zone)
{
    int result = syscall(SYS_gettimeofday, found, zone);
    found->tv_sec += ahead();
    return result;
}
time_t time(time_t *where)
{
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (where)
        *where = found.tv_sec;
    return found.tv_sec;
}
"""
_STEPS = 60
_MOST_S = 8 * 3600
_INTERVAL_S = 1
_SUSPENDED_S = (5.0, 40.0)
_LINE = ("-i", f"{_INTERVAL_S}", "--job", "clock", "--stdout", "out.txt")
_LOOKS = (("status", "clock"), ("list", "clock"), ("report", "clock"), ("status", "--json"), ("verify", "clock"))


class _Run:
    """A job on a BENCH, and how far the clock of its host is ahead."""

    def __init__(self, bench: Workbench, library: Path, chosen: random.Random) -> None:
        self.bench, self.chosen = bench, chosen
        self._ahead = bench.folder.parent / "ahead"
        self._environ = {**bench.environ, "LD_PRELOAD": str(library), "AHEAD_FILE": str(self._ahead)}
        self.set(0)

    def set(self, seconds: int) -> None:
        """Set the clock SECONDS ahead of this machine's."""
        new = self._ahead.with_suffix(".new")
        new.write_text(f"{seconds}\n")
        new.replace(self._ahead)

    def jump(self) -> None:
        """Set the clock hours ahead, or back."""
        self.set(self.chosen.choice([-1, 1]) * self.chosen.randrange(1800, _MOST_S))

    def start(self) -> Process:
        """Start the line, or resume it."""
        line = [*_LINE, *self.bench.counting(_STEPS, ledger="ledger.txt", until="go")]
        return self.bench.start(*line, env=self._environ)

    def looked_at(self) -> str:
        """Return what is wrong with what dmtcp-ctl shows on this host."""
        for words in _LOOKS:
            done = self.bench.ctl(*words, env=self._environ)
            if done.returncode != 0 or "Traceback" in done.stderr:
                return f"dmtcp-ctl {' '.join(words)} ended with {done.returncode}: {done.stderr}"
        return ""


def _jumps(run: _Run, process: Process) -> Process:
    """Have the clock jump, some times, while generations are taken; then a crash."""
    for _ in range(2):
        run.jump()
        run.bench.wait_generations(2, process)
    kill_all(process)
    return run.start()


def _differs(run: _Run, process: Process) -> Process:
    """Have each life on a host with another clock."""
    for _ in range(2):
        kill_all(process)
        run.jump()
        process = run.start()
        run.bench.wait_generations(1, process)
    return process


def _suspended(run: _Run, process: Process) -> Process:
    """Stop everything for a while, as the suspension of a machine does; its clock has gone on."""
    frozen = [process.pid, *(one.pid for one in descendants(process.pid))]
    _send(frozen, signal.SIGSTOP)
    happens(lambda: False, run.chosen.uniform(*_SUSPENDED_S))
    _send(frozen, signal.SIGCONT)
    return process


JUMPS, DIFFERS, SUSPENDED = "a clock that jumps", "hosts with other clocks", "a machine that is suspended"
_HOW: dict[str, Callable[[_Run, Process], Process]] = {JUMPS: _jumps, DIFFERS: _differs, SUSPENDED: _suspended}
KINDS = tuple(_HOW)


def campaign(bench: Workbench, seeds: Iterable[int]) -> Iterator[Trial]:
    """Have something happen to the clock of a job once for each of SEEDS."""
    library = _library(bench.folder)
    for seed in seeds:
        kind = KINDS[seed % len(KINDS)]
        folder = bench.folder / f"{seed}" / "work"
        folder.mkdir(parents=True)
        problem = _problem(_Run(Workbench(folder, bench.engine), library, random.Random(seed)), kind)
        yield Trial(kind, End.WRONG if problem else End.SURVIVED, f"seed {seed} {problem}")


def _problem(run: _Run, kind: str) -> str:
    bench, process = run.bench, run.start()
    try:
        bench.wait_generations(1, process)
        process = _HOW[kind](run, process)
        (bench.folder / "go").touch()
        if found := run.looked_at():
            return f"{found}\n{bench.said()}"
        status = process.wait(LONG_S)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        return f"{error}\n{bench.said()}"
    finally:
        if process.poll() is None:
            kill_all(process)
    if status != 0:
        return f"it ended with {status}:\n{bench.said()}"
    if (bench.folder / "out.txt").read_bytes() != counted(_STEPS):
        return f"its output is another:\n{bench.said()}"
    steps = (bench.folder / "ledger.txt").read_text().split()
    if steps != [str(step) for step in range(1, _STEPS + 1)]:
        return f"the file of its steps is another: {steps}\n{bench.said()}"
    return run.looked_at()


def _send(pids: Iterable[int], signum: int) -> None:
    for pid in pids:
        subprocess.run(["kill", f"-{signum}", str(pid)], check=False, capture_output=True, timeout=LONG_S)


def _library(folder: Path) -> Path:
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(_C_TEXT)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-w", "-o", library, source], check=True, timeout=LONG_S)
    return library
