"""Measure what dmtcp-run costs beside bare DMTCP, in one run: medians, with the bound that each should keep.

Run it with ``make bench`` on an idle machine; it needs about six minutes. DMTCP_PREFIX selects a DMTCP that is not on
PATH. Every printed number is measured now. A number beyond its bound does not make the benchmark fail.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

RUNS = 7
PAUSES = 5
WATCH_S = 60.0
BOUND_S = 600.0
SILENT = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
PREFIX = os.environ.get("DMTCP_PREFIX")
BIN = str(Path(PREFIX) / "bin") + "/" if PREFIX else ""
RUN = shutil.which("dmtcp-run") or sys.exit("dmtcp-run is not on PATH: run this with 'make bench'")
CTL = shutil.which("dmtcp-ctl") or "dmtcp-ctl"

COMPUTE = """
import time
began = time.perf_counter()
value = 1
for _ in range(30_000_000):
    value = (value * 1103515245 + 12345) & 0x7FFFFFFF
print(time.perf_counter() - began)
"""
PAUSE = """
import os, sys, time
memory = os.urandom(int(sys.argv[2]) * 1_000_000)
open("ready", "w").close()
longest, before = 0.0, time.perf_counter()
while not os.path.exists(sys.argv[1]):
    now = time.perf_counter()
    longest, before = max(longest, now - before), now
    time.sleep(0.001)
print(longest)
"""


def main() -> None:
    """Print the table."""
    print(f"{'':44}{'dmtcp-run':>12}{'bare DMTCP':>12}{'':4}{'measured':>10}  bound")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        start()
        compute()
        supervisor()
        pause(gzip=False, bound="ratio at most 1.1")
        pause(gzip=True, bound="ratio at most 0.2")


def start() -> None:
    """Compare the start of a program that does nothing."""
    ours, bare = alternate(RUNS, lambda: timed([RUN, "-q", "--fresh", "true"]), lambda: timed(launch(["true"])))
    row("start of true, s", ours, bare, f"{(ours - bare) * 1000:+.0f} ms", "at most 150 ms more")


def compute() -> None:
    """Compare a program that only computes, timed by the program."""
    argv = [sys.executable, "-c", COMPUTE]
    ours, bare = alternate(
        RUNS, lambda: float(output([RUN, "-q", "--fresh", "-i", "0", *argv])), lambda: float(output(launch(argv)))
    )
    row("CPU-bound, no checkpoints, s", ours, bare, f"{ours / bare:.4f}", "ratio at most 1.005")


def supervisor() -> None:
    """Measure the supervisor while a program sleeps."""
    process = subprocess.Popen([RUN, "-q", "--fresh", "-i", "0", "sleep", str(WATCH_S + 30)], **SILENT)
    time.sleep(3)
    seen = psutil.Process(process.pid)
    before = seen.cpu_times()
    time.sleep(WATCH_S)
    after, memory = seen.cpu_times(), seen.memory_info().rss
    process.terminate()
    process.wait(BOUND_S)
    share = (after.user - before.user + after.system - before.system) / WATCH_S
    print(f"{'supervisor over a minute, % of a core':44}{share * 100:12.3f}{'':28}  at most 0.2")
    print(f"{'supervisor, resident MB':44}{memory / 1e6:12.1f}{'':28}  at most 45")


def pause(*, gzip: bool, bound: str) -> None:
    """Compare the longest pause of a program of 500 MB at one checkpoint."""
    ours, bare = alternate(PAUSES, pause_of_ours, lambda: pause_of_bare(gzip=gzip))
    name = "pause at 500 MB, bare with gzip, s" if gzip else "pause at 500 MB, no gzip, s"
    row(name, ours, bare, f"{ours / bare:.3f}", bound)


def pause_of_ours() -> float:
    """Return the pause under dmtcp-run."""
    argv = [RUN, "-q", "--job", "pause", "--fresh", "-i", "0", sys.executable, "-c", PAUSE, "stop", "500"]
    return paused(argv, lambda: subprocess.run([CTL, "checkpoint", "pause"], check=True, capture_output=True))


def pause_of_bare(*, gzip: bool) -> float:
    """Return the pause under dmtcp_launch and dmtcp_command."""
    argv = launch([sys.executable, "-c", PAUSE, "stop", "500"], gzip=gzip)
    port = argv[argv.index("--coord-port") + 1]

    def checkpoint() -> None:
        command = [f"{BIN}dmtcp_command", "--coord-host", "127.0.0.1", "--coord-port", port]
        subprocess.run([*command, "--checkpoint"], check=True, capture_output=True)
        wait_for(lambda: list(Path("bare").glob("dmtcp_restart_script_*.sh")))
        wait_for(lambda: not list(Path("bare").glob("*.temp")))

    return paused(argv, checkpoint)


def paused(argv: Sequence[str], checkpoint: Callable[[], object]) -> float:
    """Run a program that prints its longest pause, with one checkpoint in the middle."""
    for name in ("ready", "stop"):
        Path(name).unlink(missing_ok=True)
    process = subprocess.Popen(argv, **{**SILENT, "stdout": subprocess.PIPE}, text=True)
    wait_for(lambda: Path("ready").exists())
    # data that an earlier run still has to write must not slow this one
    os.sync()
    time.sleep(1)
    checkpoint()
    time.sleep(1)
    Path("stop").touch()
    return float(process.communicate(timeout=BOUND_S)[0])


def launch(argv: Sequence[str], *, gzip: bool = False) -> list[str]:
    """Start a coordinator, and return the line that runs ARGV under it."""
    shutil.rmtree("bare", ignore_errors=True)
    Path("bare").mkdir()
    options = ["--port", "0", "--port-file", "bare/port", "--ckptdir", "bare", "--tmpdir", "bare", "--exit-on-last"]
    subprocess.run(
        [f"{BIN}dmtcp_coordinator", "--quiet", "--daemon", *options],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: Path("bare/port").exists() and Path("bare/port").read_text().strip())
    port = Path("bare/port").read_text().strip()
    join = ["--quiet", "--join-coordinator", "--coord-host", "127.0.0.1", "--coord-port", port]
    places = ["--ckptdir", "bare", "--tmpdir", "bare"]
    return [f"{BIN}dmtcp_launch", *join, *places, "--gzip" if gzip else "--no-gzip", *argv]


def alternate(runs: int, ours: Callable[[], float], bare: Callable[[], float]) -> tuple[float, float]:
    """Return the medians of both, measured in turns, so that other load on the machine affects both."""
    pairs = [(ours(), bare()) for _ in range(runs)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def timed(argv: Sequence[str]) -> float:
    """Return the seconds that a command needs."""
    began = time.perf_counter()
    output(argv)
    return time.perf_counter() - began


def output(argv: Sequence[str]) -> str:
    """Return what a command prints."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND_S, check=True)
    return done.stdout


def wait_for(condition: Callable[[], object]) -> None:
    """Wait for CONDITION, at most BOUND_S."""
    for _ in steps():
        if condition():
            return


def steps() -> Iterator[None]:
    """Yield every 10 ms, at most for BOUND_S."""
    until = time.monotonic() + BOUND_S
    while time.monotonic() < until:
        yield
        time.sleep(0.01)
    sys.exit(f"no progress within {BOUND_S:.0f} s: look at the processes of dmtcp-run and DMTCP")


def row(name: str, ours: float, bare: float, measured: str, bound: str) -> None:
    """Print one line of the table."""
    print(f"{name:44}{ours:12.3f}{bare:12.3f}{'':4}{measured:>10}  {bound}", flush=True)


if __name__ == "__main__":
    main()
