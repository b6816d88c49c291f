"""Measure what each engine on this machine costs: checkpoint, pause, restart and image, for programs of several sizes.

Run it with ``make bench-engines`` on an idle machine. The table has a column for each engine that works here; every
value is the median of three. A program with random memory is checkpointed, killed with SIGKILL and resumed. The pause
is the longest time in which the program did not run. The restart is the time from typing the line until the program has
resumed, with the verification of the images.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES_MB = (20, 200, 1000)
RUNS = 3
BOUND_S = 600.0
RUN = shutil.which("dmtcp-run") or sys.exit("dmtcp-run is not on PATH: run this with 'make bench-engines'")
CTL = shutil.which("dmtcp-ctl") or "dmtcp-ctl"

LOOP = """
open("ready", "w").close()
longest, before = 0.0, time.perf_counter()
while not os.path.exists("stop"):
    now = time.perf_counter()
    longest, before = max(longest, now - before), now
    if os.path.exists("ask"):
        with open("pause", "w") as file:
            file.write(str(longest))
        asked()
        os.unlink("ask")
    time.sleep(0.001)
"""
"""What programs do that are measured: they write their longest pause when they are asked, and call ``asked``."""
PROGRAM = f"""
import os, sys, time
memory = os.urandom(int(sys.argv[1]) * 1_000_000)
asked = lambda: None
{LOOP}"""


@dataclass(frozen=True)
class EngineHere:
    """An engine on this machine, and the NAME and ENVIRON that select it."""

    title: str
    name: str
    environ: dict[str, str]


@dataclass(frozen=True)
class Cost:
    """What one engine costs at one size."""

    checkpoint_s: float
    pause_s: float
    restart_s: float
    image_mb: float


ROWS = {
    "checkpoint s": lambda cost: f"{cost.checkpoint_s:.2f}",
    "pause s": lambda cost: f"{cost.pause_s:.2f}",
    "restart s": lambda cost: f"{cost.restart_s:.2f}",
    "image MB": lambda cost: f"{cost.image_mb:.1f}",
}


def main() -> None:
    """Print a column for each engine, and four rows for each size."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        engines = find_engines()
        if not engines:
            sys.exit("no engine works here; for the reasons, type: dmtcp-ctl doctor")
        print(f"{'':20}" + "".join(f"{engine.title:>13}" for engine in engines))
        for size_mb in SIZES_MB:
            costs = [median([measure(engine, size_mb) for _ in range(RUNS)]) for engine in engines]
            for what, text in ROWS.items():
                print(f"{size_mb:>5} MB {what:12}" + "".join(f"{text(cost):>13}" for cost in costs), flush=True)


def find_engines() -> list[EngineHere]:
    """Return the engines that work: CRIU, and DMTCP on PATH, in DMTCP_PREFIX, DMTCP_PREFIXES (colons), /opt/dmtcp*."""
    on_path = shutil.which("dmtcp_launch")
    named = [os.environ.get("DMTCP_PREFIX", ""), *os.environ.get("DMTCP_PREFIXES", "").split(":")]
    prefixes = [Path(on_path).parent.parent] if on_path else []
    prefixes += [Path(name) for name in named if name] + sorted(Path("/opt").glob("dmtcp*"))
    found = {prefix.resolve(): {"DMTCP_PREFIX": str(prefix)} for prefix in reversed(prefixes)}
    candidates = [("dmtcp", environ) for environ in reversed(found.values())] + [("criu", {})]
    return [engine for name, environ in candidates if (engine := rehearse(name, environ))]


def rehearse(name: str, environ: dict[str, str]) -> EngineHere | None:
    """Run a program that does nothing with an engine, and return the engine with its version; None if that fails."""
    line = [RUN, "--engine", name, "--job", "rehearsal", "--json", "-i", "0", "true"]
    done = subprocess.run(
        line, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env={**os.environ, **environ}
    )
    started = [event for event in map(json.loads, done.stderr.splitlines()) if event.get("event") == "started"]
    if done.returncode or not started:
        return None
    title = started[0]["text"].partition("started with ")[2].rpartition(" (")[0]
    return EngineHere(title, name, environ)


def median(costs: list[Cost]) -> Cost:
    """Return the median of each column."""
    return Cost(*(statistics.median(column) for column in zip(*map(astuple, costs), strict=True)))


def measure(engine: EngineHere, size_mb: int) -> Cost:
    """Return what a checkpoint and a restart of a program with SIZE_MB of random memory cost."""
    for name in ("ready", "stop", "ask", "pause", "err"):
        Path(name).unlink(missing_ok=True)
    shutil.rmtree(".dmtcp-run", ignore_errors=True)
    options = ["--engine", engine.name, "--job", "size", "-i", "0", "--json"]
    line = [RUN, *options, sys.executable, "-c", PROGRAM, str(size_mb)]
    process = start(line, engine)
    wait_for(Path("ready").exists, process)
    time.sleep(0.5)
    subprocess.run([CTL, "checkpoint", "size"], check=True, capture_output=True, timeout=BOUND_S)
    Path("ask").touch()
    wait_for(lambda: not Path("ask").exists(), process)
    pause_s = float(Path("pause").read_text())
    process.kill()
    process.wait(BOUND_S)
    manifest = json.loads(Path(".dmtcp-run/size/generations/000001/manifest.json").read_text())
    began = time.monotonic()
    process = start(line, engine)
    wait_for(lambda: '"resumed"' in Path("err").read_text(), process)
    restart_s = time.monotonic() - began
    Path("stop").touch()
    process.wait(BOUND_S)
    size = sum(image["size"] for image in manifest["images"])
    return Cost(manifest["cost"]["checkpoint_s"], pause_s, restart_s, size / 1e6)


def start(line: list[str], engine: EngineHere) -> subprocess.Popen[bytes]:
    """Start a line, with dmtcp-run's messages in a file."""
    environ = {**os.environ, **engine.environ}
    with Path("err").open("wb") as file:
        return subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file, env=environ)


def wait_for(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Wait for CONDITION, at most BOUND_S, while PROCESS lives."""
    until = time.monotonic() + BOUND_S
    while not condition():
        if process.poll() is not None or time.monotonic() > until:
            sys.exit(f"the program ended with {process.poll()}, or took too long: {Path('err').read_text()}")
        time.sleep(0.01)


if __name__ == "__main__":
    main()
