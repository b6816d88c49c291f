"""What each engine on this machine costs: checkpoint, pause, restart and image for programs of several sizes.

Run it with ``make bench-engines`` on a machine that does nothing else. DMTCP_PREFIX chooses a DMTCP that is not on
PATH. Each row is the median of three: a program with random memory is checkpointed, killed with SIGKILL, resumed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES_MB = (20, 200, 1000)
RUNS = 3
BOUND_S = 600.0
RUN = shutil.which("dmtcp-run") or sys.exit("dmtcp-run is not on PATH: run this with 'make bench-engines'")
CTL = shutil.which("dmtcp-ctl") or "dmtcp-ctl"

PROGRAM = """
import os, sys, time
memory = os.urandom(int(sys.argv[1]) * 1_000_000)
open("ready", "w").close()
longest, before = 0.0, time.perf_counter()
while not os.path.exists("stop"):
    now = time.perf_counter()
    longest, before = max(longest, now - before), now
    if os.path.exists("ask"):
        with open("pause", "w") as file:
            file.write(str(longest))
        os.unlink("ask")
    time.sleep(0.001)
"""


def main() -> None:
    """Print a row for each engine and size."""
    print(f"{'engine':14}{'MB':>6}{'checkpoint s':>14}{'pause s':>10}{'restart s':>11}{'image MB':>10}")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for engine in ("dmtcp", "criu"):
            works = subprocess.run([RUN, "-q", "--engine", engine, "true"], stdin=subprocess.DEVNULL, check=False)
            if works.returncode != 0:
                print(f"{engine:14} is not here")
                continue
            for size_mb in SIZES_MB:
                rows = [measure(engine, size_mb) for _ in range(RUNS)]
                medians = [statistics.median(column) for column in zip(*rows, strict=True)]
                print(f"{engine:14}{size_mb:6}{medians[0]:14.2f}{medians[1]:10.2f}{medians[2]:11.2f}{medians[3]:10.1f}")


def measure(engine: str, size_mb: int) -> tuple[float, float, float, float]:
    """Return seconds of a checkpoint, of the program's pause and of a restart, and the megabytes of the images."""
    for name in ("ready", "stop", "ask", "pause", "err"):
        Path(name).unlink(missing_ok=True)
    shutil.rmtree(".dmtcp-run", ignore_errors=True)
    line = [RUN, "--engine", engine, "--job", "size", "-i", "0", "--json", sys.executable, "-c", PROGRAM, str(size_mb)]
    process = start(line)
    wait_for(Path("ready").exists)
    time.sleep(0.5)
    subprocess.run([CTL, "checkpoint", "size"], check=True, capture_output=True, timeout=BOUND_S)
    Path("ask").touch()
    wait_for(lambda: not Path("ask").exists())
    pause_s = float(Path("pause").read_text())
    process.send_signal(signal.SIGKILL)
    process.wait(BOUND_S)
    manifest = json.loads(Path(".dmtcp-run/size/generations/000001/manifest.json").read_text())
    began = time.monotonic()
    process = start(line)
    wait_for(lambda: '"resumed"' in Path("err").read_text())
    restart_s = time.monotonic() - began
    Path("stop").touch()
    process.wait(BOUND_S)
    size = sum(image["size"] for image in manifest["images"])
    return manifest["cost"]["checkpoint_s"], pause_s, restart_s, size / 1e6


def start(line: list[str]) -> subprocess.Popen[bytes]:
    """Start a line with its own messages in a file."""
    with Path("err").open("wb") as file:
        return subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file)


def wait_for(condition: Callable[[], object]) -> None:
    """Wait for CONDITION, within bounds."""
    until = time.monotonic() + BOUND_S
    while not condition():
        if time.monotonic() > until:
            sys.exit("waited too long")
        time.sleep(0.01)


if __name__ == "__main__":
    main()
