"""A user's working directory on a cluster: a bench whose lines stand in batch scripts."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kit.bench import Workbench, count_words
from kit.cluster import CALL_S, be
from kit.places import PROGRAM_FILES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kit.cluster import Cluster
    from kit.engines import EngineHere

LOG = "log"
"""The file to which a script's output is appended, that of dmtcp-run with it."""


class Desk:
    """A new directory of the user of CLUSTER, whose jobs use ENGINE; its `bench` looks at what comes of them."""

    def __init__(self, cluster: Cluster, engine: EngineHere) -> None:
        self.cluster = cluster
        self.bench = Workbench(Path(tempfile.mkdtemp(prefix="work-", dir=cluster.home)), engine, LOG, cluster.log)
        self._give(self.folder)
        if reason := "" if cluster.guest else _why_not_with(engine, cluster.user):
            pytest.skip(reason)

    @property
    def folder(self) -> Path:
        """The directory."""
        return self.bench.folder

    @property
    def environ(self) -> dict[str, str]:
        """What a line needs to find the engine."""
        return dict(self.bench.engine.environ) if self.bench.engine else {}

    @property
    def run(self) -> str:
        """``dmtcp-run`` with what asks for the engine."""
        return " ".join(["dmtcp-run", *(self.bench.engine.options if self.bench.engine else ())])

    def need_control_groups(self) -> None:
        """Skip the test if Slurm sends signals to every process of a job, so that the program dies of them."""
        if "ProctrackType=proctrack/cgroup" not in self.cluster.conf.read_text():
            pytest.skip("without control groups, which need root, Slurm signals the program too")

    def counting(self, steps: int, *, status: int = 0, megabytes: int = 5) -> str:
        """Return the line of the program that counts, which keeps a ledger that nobody rolls back."""
        # not every user can read this repository
        self.write("count.py", (PROGRAM_FILES / "count.py").read_text())
        return shlex.join(
            ["python3", "count.py", *count_words(steps, status=status, ballast=megabytes, ledger="ledger.txt")]
        )

    def write(self, name: str, text: str) -> Path:
        """Write a file of the user's, that may be executed."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
        path.chmod(0o755)
        self._give(path)
        return path

    def script(self, *lines: str, options: Iterable[str] = (), name: str = "job.sh") -> Path:
        """Write a batch script with these LINES and OPTIONS of sbatch, whose output is appended to `LOG`."""
        head = ["#!/bin/bash", *(f"#SBATCH {option}" for option in (f"--open-mode=append -o {LOG}", *options))]
        return self.write(name, "\n".join([*head, *lines, ""]))

    def submit(self, script: Path | str, *options: str) -> str:
        """Submit SCRIPT from here and return the job's id."""
        return self.cluster.sbatch(script, *options, cwd=self.folder, env=self.environ)

    def type(self, line: str) -> subprocess.CompletedProcess[str]:
        """Have the user's shell run LINE here."""
        return self.cluster.run("bash", "-c", line, cwd=self.folder, env=self.environ)

    def assert_finished(self, job: str, *, status: int = 0, restarts: int | None = None) -> None:
        """Assert that JOB ends with STATUS, after so many RESTARTS."""
        assert self.cluster.exit_status(job) == (status, 0), self._said() + self.cluster.log()
        if restarts is not None:
            assert self.cluster.show(job)["Restarts"] == str(restarts), self._said()

    def _said(self) -> str:
        """Return what jobs have printed here: tasks of an array often into a file each."""
        logs = sorted(self.folder.glob("log-*"))
        return self.bench.said() + "".join(f"--- {path.name}\n{path.read_text()}" for path in logs)

    def _give(self, path: Path) -> None:
        if self.cluster.user or self.cluster.guest:
            shutil.chown(path, self.cluster.account.pw_uid, self.cluster.account.pw_gid)


def _why_not_with(engine: EngineHere, user: str | None) -> str:
    """Return why USER cannot use ENGINE; an empty text if they can."""
    if user is None:
        return ""
    if engine.name != "dmtcp":
        return f"{engine} needs privileges that {user} has not"
    tool = Path(engine.environ["DMTCP_PREFIX"]) / "bin" / "dmtcp_launch"
    done = subprocess.run([*be(user), tool, "--version"], capture_output=True, timeout=CALL_S, check=False, cwd="/")
    return "" if done.returncode == 0 else f"{user} cannot run {tool}"
