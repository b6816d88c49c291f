"""A user's working directory on a cluster: programs, batch scripts, and what is there when a job has ended."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from harness import wait_until
from slurm.cluster import CALL_S, be

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness import EngineHere
    from slurm.cluster import Cluster

NO_LONG_TESTS = pytest.mark.skipif(
    not os.environ.get("DMTCP_RUN_LONG_TESTS"), reason="takes minutes; DMTCP_RUN_LONG_TESTS=1 has it run"
)
COUNTING = """
import sys, time
steps, status = int(sys.argv[1]), int(sys.argv[2])
ballast = bytes(range(256)) * (int(sys.argv[3]) << 12)
x = 1
for step in range(1, steps + 1):
    x = (16807 * x + ballast[x % len(ballast)]) % 2147483647
    print(step, x, flush=True)
    with open("ledger.txt", "a") as ledger:
        ledger.write(f"{step}\\n")
    time.sleep(0.1)
print("done", steps, x, flush=True)
sys.exit(status)
"""
"""Takes STEPS times 0.1 s and ends with STATUS; what it enters into ``ledger.txt`` nobody takes back."""
_AT_ONCE = "import runpy, sys, time; time.sleep = lambda _: None; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"
"""Runs a program without its pauses."""


class Desk:
    """A new directory of the user of CLUSTER, whose jobs use ENGINE."""

    def __init__(self, cluster: Cluster, engine: EngineHere) -> None:
        self.cluster = cluster
        self.engine = engine
        self.folder = Path(tempfile.mkdtemp(prefix="work-", dir=cluster.home))
        self._give(self.folder)
        if reason := _why_not_with(engine, cluster.user):
            pytest.skip(reason)

    def need_control_groups(self) -> None:
        """Skip the test where Slurm gives signals to every process of a job, so that the program dies of them."""
        if "ProctrackType=proctrack/cgroup" not in self.cluster.conf.read_text():
            pytest.skip("without control groups, which need root, Slurm signals the program too")

    @property
    def run(self) -> str:
        """``dmtcp-run`` with what asks for the engine."""
        return " ".join(["dmtcp-run", *self.engine.options])

    @property
    def jobs(self) -> list[Path]:
        """The folders of the jobs of dmtcp-run, by name."""
        found = self.folder / ".dmtcp-run"
        return sorted(path for path in found.iterdir() if path.is_dir()) if found.is_dir() else []

    @property
    def history(self) -> list[dict[str, Any]]:
        """The lines of the only job's history; nothing before it has begun."""
        paths = [path for job in self.jobs if (path := job / "history.jsonl").exists()]
        assert len(paths) < 2, paths
        return [json.loads(line) for path in paths for line in path.read_text().splitlines()]

    @property
    def events(self) -> list[str]:
        """What happened to the only job, by name."""
        return [line["event"] for line in self.history]

    @property
    def generations(self) -> list[int]:
        """The numbers of all complete generations."""
        paths = [path for job in self.jobs for path in (job / "generations").glob("[0-9]*")]
        return sorted(int(path.name) for path in paths if path.name.isdigit())

    def counting(self, steps: int, status: int = 0, megabytes: int = 5) -> str:
        """Return the line of a program that takes STEPS times 0.1 s and ends with STATUS."""
        self.write("counting.py", COUNTING)
        return f"python3 counting.py {steps} {status} {megabytes}"

    def write(self, name: str, text: str) -> Path:
        """Write a file of the user's, that may be executed."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
        path.chmod(0o755)
        self._give(path)
        return path

    def script(self, *lines: str, options: Iterable[str] = (), name: str = "job.sh") -> Path:
        """Write a batch script with these LINES and OPTIONS of sbatch, whose output is appended to ``log``."""
        head = ["#!/bin/bash", *(f"#SBATCH {option}" for option in ("--open-mode=append -o log", *options))]
        return self.write(name, "\n".join([*head, *lines, ""]))

    def submit(self, script: Path | str, *options: str) -> str:
        """Submit SCRIPT from here and return the job's id."""
        return self.cluster.sbatch(script, *options, cwd=self.folder, env=dict(self.engine.environ))

    def type(self, line: str) -> subprocess.CompletedProcess[str]:
        """Have the user's shell run LINE here."""
        return self.cluster.run("bash", "-c", line, cwd=self.folder, env=dict(self.engine.environ))

    def said(self, name: str = "log") -> str:
        """Return what a job has printed until now."""
        path = self.folder / name
        return path.read_text() if path.exists() else ""

    def said_with(self, text: str, name: str = "log") -> str:
        """Return the one line with TEXT that a job has printed."""
        found = [line for line in self.said(name).splitlines() if text in line]
        assert len(found) == 1, f"{len(found)} lines with {text!r} in:\n{self.said(name)}"
        return found[0]

    def wait_said(self, text: str, name: str = "log") -> None:
        """Wait until a job has printed TEXT."""
        self._wait(lambda: text in self.said(name), text)

    def wait_steps(self, step: int, name: str = "out.txt") -> None:
        """Wait until the program has come to STEP."""
        path = self.folder / name
        self._wait(lambda: path.exists() and f"\n{step} " in f"\n{path.read_text()}", f"step {step}")

    def wait_generation(self, number: int) -> None:
        """Wait until generation NUMBER of the only job is committed."""
        self._wait(lambda: number in self.generations, f"generation {number}")

    def assert_counted(self, steps: int, name: str = "out.txt") -> None:
        """Assert that file NAME is what an uninterrupted run of the counting program writes."""
        argv = [sys.executable, "-c", _AT_ONCE, str(self.folder / "counting.py"), str(steps), "0", "5"]
        with tempfile.TemporaryDirectory() as elsewhere:
            plain = subprocess.run(argv, cwd=elsewhere, capture_output=True, timeout=CALL_S, check=True).stdout
        mine = (self.folder / name).read_bytes()
        assert mine == plain, f"{name} ends with {mine[-80:]!r}, and not with {plain[-80:]!r}:\n{self.said()}"

    def assert_done_once(self, steps: int) -> None:
        """Assert that the counting program has done each of its STEPS once."""
        assert (self.folder / "ledger.txt").read_text().split() == [str(step) for step in range(1, steps + 1)]

    def assert_finished(self, job: str, *, status: int = 0, restarts: int | None = None) -> None:
        """Assert that JOB ends with STATUS, after so many RESTARTS."""
        assert self.cluster.exit_status(job) == (status, 0), self.said() + self.cluster.log()
        if restarts is not None:
            assert self.cluster.show(job)["Restarts"] == str(restarts), self.said()

    def _give(self, path: Path) -> None:
        if self.cluster.user:
            shutil.chown(path, self.cluster.account.pw_uid, self.cluster.account.pw_gid)

    def _wait(self, condition: Any, what: str) -> None:
        try:
            wait_until(condition)
        except AssertionError as error:
            raise AssertionError(f"{error} for {what}:\n{self.said()}{self.cluster.log()}") from None


def _why_not_with(engine: EngineHere, user: str | None) -> str:
    """Return why USER cannot use ENGINE; an empty text if they can."""
    if user is None:
        return ""
    if engine.name != "dmtcp":
        return f"{engine} needs privileges that {user} has not"
    tool = Path(engine.environ["DMTCP_PREFIX"]) / "bin" / "dmtcp_launch"
    done = subprocess.run([*be(user), tool, "--version"], capture_output=True, timeout=CALL_S, check=False, cwd="/")
    return "" if done.returncode == 0 else f"{user} cannot run {tool}"
