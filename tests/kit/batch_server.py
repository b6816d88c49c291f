"""A batch scheduler of a test's own: what the tests of all of them ask of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

CALL_S = 30.0
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_VARIABLES = ("SLURM", "SBATCH_", "PBS_", "LSB_", "SGE_", "OAR_", "FLUX_", "DMTCP_")


class BatchServer(Protocol):
    """A scheduler with one node on this machine, in a folder of its own."""

    name: str
    """As dmtcp-run's lines have it."""
    script: str
    """The smallest batch script, in examples/schedulers/."""
    array: tuple[str, ...]
    """The options of an array with tasks 1 and 2."""

    @property
    def environ(self) -> dict[str, str]:
        """What its commands and jobs need."""

    def start(self) -> None:
        """Start it; returns when it runs jobs."""

    def close(self) -> None:
        """End it, with all jobs."""

    def limit(self, seconds: int) -> tuple[str, ...]:
        """Return the options of a job that may run for SECONDS."""

    def submit(self, script: Path, *arguments: str, options: tuple[str, ...], cwd: Path, env: Mapping[str, str]) -> str:
        """Submit SCRIPT with ARGUMENTS; return the job's id."""

    def is_known(self, job: str) -> bool:
        """Whether JOB waits, runs or ends."""

    def cancel(self, job: str) -> None:
        """Cancel JOB, as its owner."""

    def exit_status(self, job: str) -> int:
        """Return the exit status of JOB, which has ended; that of its last run."""


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the tests without a scheduler's or an engine's variables, with MORE."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_VARIABLES)}
    path = dict.fromkeys([str(Path(sys.executable).parent), *environ["PATH"].split(":"), *_SYSTEM_FOLDERS])
    return {**environ, "PATH": ":".join(path), **more}


def call(*words: str | Path, cwd: Path, env: Mapping[str, str], stdin: str = "") -> str:
    """Run a command to its end and return its output; fail the test where it fails."""
    argv = list(map(str, words))
    done = subprocess.run(
        argv, cwd=cwd, env=env, input=stdin, text=True, capture_output=True, timeout=CALL_S, check=False
    )
    assert done.returncode == 0, f"{argv}: status {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout
