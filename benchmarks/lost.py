"""Measure what kills cost a program: with dmtcp-run, with bare DMTCP, and without checkpoints, at the same moments.

Run it with ``make bench-lost`` on an idle machine; with the usual program of ten minutes it takes up to 80 minutes.
PROGRAM_S, SIZE_MB, INTERVAL_S, MEAN_S and SEED set how long the program computes, its memory, the interval between
checkpoints, the mean time until the next kill, and where the random moments begin. Each kill is SIGKILL of all
processes, as when a machine loses power, and the next life begins at once. Bare DMTCP is what people write by hand:
``dmtcp_launch -i``, and from then on the restart script that DMTCP leaves. "auto" is dmtcp-run as it is without a word
about intervals: it knows nothing of the kills at first, and learns.

Lost is what was computed more than once, in seconds of the program's own steps.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil
from bare import BIN, SILENT, coordinator

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM_S = float(os.environ.get("PROGRAM_S", "600"))
SIZE_MB = int(os.environ.get("SIZE_MB", "1000"))
INTERVAL_S = int(os.environ.get("INTERVAL_S", "60"))
MEAN_S = float(os.environ.get("MEAN_S", str(PROGRAM_S / 4)))
SEED = int(os.environ.get("SEED", "1"))
STEP_S = 0.1
STEPS = round(PROGRAM_S / STEP_S)
MOST_TIMES = 4
"""A way that has not finished after so many times the program's own time is given up."""
RUN = shutil.which("dmtcp-run") or sys.exit("dmtcp-run is not on PATH: run this with 'make bench-lost'")
PROGRAM = f"""
import os, sys
import numpy
numbers = numpy.random.default_rng(1).standard_normal({SIZE_MB} * 125_000)
for step in range({STEPS}):
    # no clock: bare DMTCP sets those of processor time back to zero
    for _ in range(int(sys.argv[1])):
        numbers[step % len(numbers)] += 1
    with open("step.new", "w") as file:
        file.write(str(step + 1))
    os.replace("step.new", "step")
"""
EVERY = ["-i", str(INTERVAL_S)]


def loops() -> str:
    """Return how often the inner loop runs on this machine in a step, as a word for the command line."""
    times = 1_000_000
    code = f"import numpy, time; numbers = numpy.ones(9); began = time.process_time()\nfor _ in range({times}):"
    code += " numbers[3 % len(numbers)] += 1\nprint(time.process_time() - began)"
    took_s = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return str(round(times * STEP_S / float(took_s)))


COMMAND = [sys.executable, "-c", PROGRAM, loops()]


class Way(NamedTuple):
    """How the program is run: what gives the line of its next life."""

    name: str
    line: Callable[[], list[str]]


class Lost(NamedTuple):
    """What a way took, in seconds."""

    total_s: float
    recomputed_s: float
    kills: int


def main() -> None:
    """Print a row for each way."""
    ways = (
        Way(f"dmtcp-run -i {INTERVAL_S}", lambda: [RUN, "-q", *EVERY, *COMMAND]),
        Way("dmtcp-run, auto", lambda: [RUN, "-q", *COMMAND]),
        Way(f"dmtcp_launch -i {INTERVAL_S}", bare_line),
        Way("no checkpoints", lambda: COMMAND),
    )
    print(f"{PROGRAM_S:.0f} s of computing, {SIZE_MB} MB, killed every {MEAN_S:.0f} s on average (seed {SEED})")
    print(f"{'':24}{'total s':>9}{'lost s':>9}{'kills':>7}")
    for way in ways:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            found = life(way)
            os.chdir("/")
        mark = "" if found.total_s < MOST_TIMES * PROGRAM_S else "  given up"
        print(f"{way.name:24}{found.total_s:9.0f}{found.recomputed_s:9.0f}{found.kills:7}{mark}", flush=True)


def life(way: Way) -> Lost:
    """Run the program to its end, killed at moments that are the same for each way."""
    chance, began, lost, kills, reached = random.Random(SEED), time.monotonic(), 0, 0, 0
    while time.monotonic() - began < MOST_TIMES * PROGRAM_S:
        until = time.monotonic() + chance.expovariate(1 / MEAN_S)
        process = subprocess.Popen(way.line(), start_new_session=True, **SILENT)
        first = None
        while process.poll() is None and time.monotonic() < until:
            time.sleep(STEP_S / 4)
            # the steps of a life begin at what its checkpoint had, or at 1
            if first is None and (found := step()) is not None and found != reached:
                first = found
        if first is not None:
            lost += max(0, reached - first + 1)
        if step() == STEPS:
            break
        kill(process)
        kills += 1
        reached = max(reached, step() or 0)
    return Lost(time.monotonic() - began, lost * STEP_S, kills)


def step() -> int | None:
    """Return the last step that the program finished."""
    with suppress(OSError, ValueError):
        return int(Path("step").read_text(encoding="ascii"))
    return None


def bare_line() -> list[str]:
    """Return the line that has bare DMTCP restart what it left, or run the program if it has left nothing yet."""
    scripts = sorted(Path("bare").glob("dmtcp_restart_script_*.sh"), key=lambda path: path.stat().st_mtime)
    if scripts:
        return ["bash", str(scripts[-1]), "--coord-port", "0", "--ckptdir", "bare", *EVERY]
    join = ["--quiet", "--join-coordinator", *coordinator(), "--ckptdir", "bare", "--tmpdir", "bare"]
    return [f"{BIN}dmtcp_launch", *join, *EVERY, *COMMAND]


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill all processes of a life: those below PROCESS, and what left its tree but works in this folder."""
    here, tree = str(Path.cwd()), {process.pid}
    with suppress(psutil.NoSuchProcess):
        tree |= {one.pid for one in psutil.Process(process.pid).children(True)}
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            if one.pid in tree or (one.pid != os.getpid() and one.cwd() == here):
                one.kill()
    process.wait(30)


if __name__ == "__main__":
    main()
