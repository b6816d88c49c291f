"""The OpenPBS of this machine, if it answers: there is no package of it, so nobody starts one for a test."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kit.batch_server import CALL_S, call, environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kit.batch_server import BatchServer


@dataclass
class OpenPbs:
    """A server that runs already, with job_history_enable, and lets who runs the tests submit."""

    folder: Path
    name: str = "PBS"
    script: str = "openpbs.sh"
    array: tuple[str, ...] = ("-J", "1-2")

    @property
    def environ(self) -> dict[str, str]:
        """What its commands need."""
        return environment({name: os.environ[name] for name in ("PBS_CONF_FILE",) if name in os.environ})

    def start(self) -> None:
        """Do nothing: it runs."""

    def close(self) -> None:
        """Do nothing: it goes on."""

    def limit(self, seconds: int) -> tuple[str, ...]:
        """Return the options of a job that may run for SECONDS."""
        return ("-l", f"walltime={seconds}")

    def submit(self, script: Path, *arguments: str, options: tuple[str, ...], cwd: Path, env: Mapping[str, str]) -> str:
        """Submit SCRIPT, with ARGUMENTS as the variable that it reads, and return the job's id."""
        ours = ("PATH", "PBS_CONF_FILE")
        values = {name: self.environ[name] for name in ours if name in self.environ}
        values |= {"STEPS": arguments[0], **env}
        passed = ",".join(f"{name}={value}" for name, value in values.items())
        return call("qsub", "-v", passed, *options, script, cwd=cwd, env=self.environ).strip()

    def is_known(self, job: str) -> bool:
        """Whether JOB waits, runs or ends."""
        argv = ["qstat", job]
        return subprocess.run(argv, env=self.environ, capture_output=True, timeout=CALL_S, check=False).returncode == 0

    def cancel(self, job: str) -> None:
        """Cancel JOB."""
        call("qdel", job, cwd=self.folder, env=self.environ)

    def exit_status(self, job: str) -> int:
        """Return the exit status of JOB's last run."""
        shown = call("qstat", "-x", "-f", job, cwd=self.folder, env=self.environ)
        return int(shown.partition("Exit_status = ")[2].split()[0])


def why_not() -> str:
    """Return why it cannot be used; an empty text if it can."""
    if shutil.which("pbs_rstat") is None:
        return "OpenPBS is not on this machine"
    done = subprocess.run(["qstat", "-B"], capture_output=True, timeout=CALL_S, check=False)
    return "" if done.returncode == 0 else "the server of OpenPBS does not answer"


def make(folder: Path) -> BatchServer:
    """Return the OpenPBS of this machine."""
    return OpenPbs(folder)
