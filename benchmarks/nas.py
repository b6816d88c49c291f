"""Measure NAS parallel benchmarks under both engines, beside bare DMTCP and beside nothing; resume each, and verify it.

Run it with ``make bench-nas DIR=…`` on an idle machine. DIR holds the programs, built as their README says, such as
``NPB3.3-SER/bin`` (`NASA <https://www.nas.nasa.gov/software/npb.html>`_); RUNS is how often each is run (3). Columns
are processor time, of all processes of a line, divided by that of the program alone: medians of runs in turn. "resumed"
says whether the program's own verification was successful, and said so once, after it was killed and resumed. What a
line costs at its start counts too, so short programs show more than long ones.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bare import BOUND_S, launch, wait_for

from engines import RUN, find_engines

RUNS = int(os.environ.get("RUNS", "3"))
WIDTH = 22
VERIFIED = ("verification", "successful")


def main() -> None:
    """Print a row for each program."""
    programs = sorted(path for path in Path(os.environ["DIR"]).resolve().iterdir() if os.access(path, os.X_OK))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        engines = {engine.name: engine.title for engine in reversed(find_engines())}
        ways = ["bare DMTCP", *engines.values(), *(f"{title} resumed" for title in engines.values())]
        print(f"{'':12}{'alone, s':>10}" + "".join(f"{way:>{WIDTH}}" for way in ways))
        for program in programs:
            alone, bare, *ours = map(
                statistics.median, zip(*(turn(program, engines) for _ in range(RUNS)), strict=True)
            )
            cells = [f"{seen / alone:.3f}" for seen in (bare, *ours)]
            cells += [resumed(program, engine, alone / 2) for engine in engines]
            print(f"{program.name:12}{alone:10.2f}" + "".join(f"{cell:>{WIDTH}}" for cell in cells), flush=True)
        os.chdir("/")


def turn(program: Path, engines: dict[str, str]) -> list[float]:
    """Return the processor time of PROGRAM alone, under bare DMTCP, and under each engine."""
    lines = [[str(program)], launch([str(program)])[0]]
    return [processor_s(line) for line in [*lines, *(ours(program, engine) for engine in engines)]]


def ours(program: Path, engine: str) -> list[str]:
    """Return the line that runs PROGRAM with no checkpoint but those that are asked for."""
    return [RUN, "-q", "--fresh", "--engine", engine, "-i", "0", str(program)]


def processor_s(line: list[str]) -> float:
    """Run LINE, and return the processor time of it and of what it started."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=BOUND_S)
    if done.returncode:
        sys.exit(f"{line}: status {done.returncode}: {done.stdout}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def resumed(program: Path, engine: str, after_s: float) -> str:
    """Return what a program says of its result that was killed AFTER some seconds, shortly after a checkpoint."""
    shutil.rmtree(".dmtcp-run", ignore_errors=True)
    line = [RUN, "-q", "--job", "nas", "--stdout", "out", "--engine", engine, "-i", str(after_s / 2), str(program)]
    process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: process.poll() is not None or list(Path(".dmtcp-run/nas/generations").glob("*/manifest.json")))
    time.sleep(after_s / 4)
    if process.poll() is not None:
        return "ended before"
    process.kill()
    process.wait(BOUND_S)
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=BOUND_S)
    said = [row for row in Path("out").read_text().lower().splitlines() if all(word in row for word in VERIFIED)]
    return "right" if done.returncode == 0 and said and len(said) == len(set(said)) else f"WRONG ({done.returncode})"


if __name__ == "__main__":
    main()
