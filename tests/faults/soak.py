"""One job with as many checkpoints as there are seeds, over ten lives: what it uses of the machine stays bounded.

A program writes files by name all the time. Its first life ends of SIGKILL, as the others do but for the last. What is
printed is, for the beginning and the end of each life: memory and descriptors of dmtcp-run, how many files are in the
folder of the job, and the sizes of the history and of the notes on changed files.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from faults.figures import End, Trial
from kit.processes import kill_all
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kit.bench import Process, Workbench

_LIVES = 10
_SETTLED = 5
"""Checkpoints after which a life has all that it needs."""
_LIFE_S = 4 * 3600.0
_INTERVAL = "0.2"
_PROGRAM = r"""
#include <stdio.h>
#include <unistd.h>

static void write_steps(const char *name, const char *how, long step, int times)
{
    FILE *file = fopen(name, how);
    while (times-- > 0)
        fprintf(file, "%ld\n", step);
    fclose(file);
}
int main(void)
{
    long step = 0;
    while (access("go", F_OK)) {
        step++;
        write_steps("ledger.txt", "a", step, 1);
        write_steps("new.txt", "w", step, 100);
        rename("new.txt", "now.txt");
        printf("%ld\n", step);
        fflush(stdout);
        usleep(20000);
    }
    printf("done %ld\n", step);
    return 0;
}
"""
"""In C, as what is looked at is dmtcp-run: images of Python are ten times as large, and take as much longer."""
_MOST_GROWTH = 1.10
_SPARE = {"memory": 4 << 20, "descriptors": 4, "files": 20, "notes": 64 << 10}
_MOST_HISTORY_BYTES = 600
"""For each checkpoint: the line that it was taken, and the one that it was removed."""


class _Use(NamedTuple):
    """What a job uses after so many CHECKPOINTS."""

    checkpoints: int
    memory: int
    descriptors: int
    files: int
    history: int
    notes: int


def campaign(bench: Workbench, seeds: Iterable[int]) -> Iterator[Trial]:
    """Have a job take a checkpoint for each of SEEDS, and look at what it uses."""
    count = len([*seeds])
    each = max(count // _LIVES, 2 * _SETTLED)
    line = ["-i", _INTERVAL, "--job", "soak", "--stdout", "out.txt", str(_built(bench))]
    uses: list[_Use] = []
    for life in range(_LIVES):
        process = bench.start(*line)
        for more in (_SETTLED, each - _SETTLED):
            wanted = bench.newest + more
            wait_until(lambda: bench.newest >= wanted or process.poll() is not None, _LIFE_S)  # noqa: B023 - called at once
            if process.poll() is not None:
                yield Trial("a checkpoint", End.WRONG, f"it ended with {process.returncode}:\n{bench.said()}")
                return
            uses.append(_use(bench, process))
            sys.stdout.write(f"soak, life {life}: {uses[-1]}\n")
            sys.stdout.flush()
        if life < _LIVES - 1:
            kill_all(process)
    (bench.folder / "go").touch()
    status = process.wait(LONG_S)
    problem = _problem(bench, status) or _growth(uses)
    for _ in range(uses[-1].checkpoints):
        yield Trial("a checkpoint", End.WRONG if problem else End.SURVIVED, problem)


def _built(bench: Workbench) -> Path:
    source, program = bench.folder.parent / "soak.c", bench.folder.parent / "soak"
    source.write_text(_PROGRAM)
    subprocess.run(["cc", "-o", program, source], check=True, timeout=LONG_S)
    return program


def _use(bench: Workbench, process: Process) -> _Use:
    supervisor = psutil.Process(process.pid)
    # what is removed meanwhile is passed over
    below = [Path(folder, name) for folder, _, names in os.walk(bench.job) for name in names]
    notes = sum(path.lstat().st_size for path in below if "undo" in path.parts and path.exists())
    return _Use(
        checkpoints=bench.newest,
        memory=supervisor.memory_info().rss,
        descriptors=supervisor.num_fds(),
        files=len(below),
        history=(bench.job / "history.jsonl").stat().st_size,
        notes=notes,
    )


def _problem(bench: Workbench, status: int) -> str:
    if status != 0:
        return f"it ended with {status}:\n{bench.said()}"
    steps = (bench.folder / "ledger.txt").read_text().split()
    printed = (bench.folder / "out.txt").read_text().splitlines()
    if steps != [str(number) for number in range(1, len(steps) + 1)] or printed != [*steps, f"done {len(steps)}"]:
        return f"its output is another: {len(printed)} lines, {len(steps)} steps\n{bench.said()}"
    return ""


def _growth(uses: list[_Use]) -> str:
    """Return what grew from the end of the second life to that of the last: the first has nothing set aside yet."""
    first, last = uses[3], uses[-1]
    for name, spare in _SPARE.items():
        before, after = getattr(first, name), getattr(last, name)
        if after > before * _MOST_GROWTH + spare:
            return f"{name} grew from {before} to {after} in {last.checkpoints - first.checkpoints} checkpoints"
    if last.history > _MOST_HISTORY_BYTES * last.checkpoints:
        return f"the history has {last.history} bytes after {last.checkpoints} checkpoints"
    return ""
