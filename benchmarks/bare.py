"""Bare DMTCP and bare CRIU: what a script does that uses them without dmtcp-run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BOUND_S = 600.0
SILENT = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
PREFIX = os.environ.get("DMTCP_PREFIX")
BIN = str(Path(PREFIX) / "bin") + "/" if PREFIX else ""


def coordinator() -> list[str]:
    """Start a coordinator with its files in ``bare``; return the options that lead to it."""
    shutil.rmtree("bare", ignore_errors=True)
    Path("bare").mkdir()
    return another_coordinator()


def another_coordinator() -> list[str]:
    """Start a coordinator that leaves the images in ``bare``; return the options that lead to it."""
    Path("bare/port").unlink(missing_ok=True)
    options = ["--port", "0", "--port-file", "bare/port", "--ckptdir", "bare", "--tmpdir", "bare", "--exit-on-last"]
    subprocess.run([f"{BIN}dmtcp_coordinator", "--quiet", "--daemon", *options], check=True, **SILENT)
    wait_for(lambda: Path("bare/port").exists() and Path("bare/port").read_text().strip())
    return ["--coord-host", "127.0.0.1", "--coord-port", Path("bare/port").read_text().strip()]


def launch(argv: Sequence[str], *, gzip: bool = False) -> tuple[list[str], list[str]]:
    """Return the line that runs ARGV under a coordinator started now, and the options that lead to that."""
    address = coordinator()
    join = ["--quiet", "--join-coordinator", *address, "--ckptdir", "bare", "--tmpdir", "bare"]
    return [f"{BIN}dmtcp_launch", *join, "--gzip" if gzip else "--no-gzip", *argv], address


def checkpoint(address: Sequence[str]) -> None:
    """Take a checkpoint, and wait until it is complete."""
    subprocess.run([f"{BIN}dmtcp_command", *address, "--checkpoint"], check=True, capture_output=True, timeout=BOUND_S)
    wait_for(lambda: list(Path("bare").glob("dmtcp_restart_script_*.sh")))
    wait_for(lambda: not list(Path("bare").glob("*.temp")))


def restart() -> list[str]:
    """Return the line that restarts the images in ``bare`` under a coordinator started now."""
    address = another_coordinator()
    images = sorted(map(str, Path("bare").glob("ckpt_*.dmtcp")))
    join = ["--quiet", "--join-coordinator", *address, "--ckptdir", "bare", "--tmpdir", "bare"]
    return [f"{BIN}dmtcp_restart", *join, *images]


def wait_for(condition: Callable[[], object]) -> None:
    """Wait for CONDITION, at most BOUND_S."""
    for _ in steps():
        if condition():
            return


def steps() -> Iterator[None]:
    """Yield every 5 ms, at most for BOUND_S."""
    until = time.monotonic() + BOUND_S
    while time.monotonic() < until:
        yield
        time.sleep(0.005)
    sys.exit(f"no progress within {BOUND_S:.0f} s: look at the processes of dmtcp-run and DMTCP")
