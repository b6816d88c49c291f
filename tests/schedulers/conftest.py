"""Fixtures: each batch scheduler that this machine has, with a folder as examples/ is."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kit import gridengine, openpbs
from kit.jobs import events_of, history_of, jobs_in
from kit.places import CTL, REPOSITORY
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.batch_server import BatchServer
    from kit.engines import EngineHere

KINDS = {"gridengine": gridengine, "openpbs": openpbs}


@pytest.fixture(scope="module", params=list(KINDS))
def server(request: pytest.FixtureRequest) -> Iterator[BatchServer]:
    """Give a running scheduler of each kind."""
    kind = KINDS[request.param]
    if reason := kind.why_not():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="batch-"))
    started = kind.make(folder)
    try:
        started.start()
        yield started
    finally:
        started.close()
        shutil.rmtree(folder)


@dataclass
class Site:
    """A folder laid out as examples/ is, on a machine with a scheduler and an engine."""

    server: BatchServer
    folder: Path
    engine: EngineHere

    def submit(self, script: str | Path, *arguments: str | int, options: tuple[str, ...] = ()) -> str:
        """Submit SCRIPT with ARGUMENTS from here, and return the job's id."""
        words = map(str, arguments)
        return self.server.submit(
            self.folder / script, *words, options=options, cwd=self.folder, env=self.engine.environ
        )

    def submit_example(self, *arguments: str | int, options: tuple[str, ...] = ()) -> str:
        """Submit the smallest script of this scheduler, as it stands."""
        return self.submit(f"schedulers/{self.server.script}", *arguments, options=options)

    def wait_ended(self, job: str) -> None:
        """Wait until JOB and the jobs that continue it have ended."""
        wait_until(lambda: not self.server.is_known(self.last_of(job)), LONG_S)

    def last_of(self, job: str) -> str:
        """Return the batch job that continues JOB by now: JOB itself, or the last one that was submitted for it."""
        following = [line["next_job"] for line in self.history() if line.get("next_job")] if self.jobs else []
        return following[-1] if following else job

    @property
    def jobs(self) -> list[Path]:
        """The folders of the jobs of dmtcp-run."""
        return jobs_in(self.folder / ".dmtcp-run")

    def history(self, number: int = 0) -> list[dict[str, Any]]:
        """Return the lines of a job's history."""
        return history_of(self.jobs[number])

    def wait_started(self, count: int = 1) -> None:
        """Wait until programs run in COUNT jobs."""
        wait_until(lambda: sum("started" in events_of(job) for job in self.jobs) >= count, LONG_S)

    def ctl(self, *words: str) -> str:
        """Return what ``dmtcp-ctl WORDS`` prints on a login node."""
        environ = {**self.server.environ, **self.engine.environ}
        done = subprocess.run(
            [CTL, *words], cwd=self.folder, env=environ, text=True, capture_output=True, timeout=60, check=True
        )
        return done.stdout

    def assert_right(self, output: str, steps: int) -> None:
        """Assert that file OUTPUT is byte for byte what the program writes without interruption."""
        done = subprocess.run(
            ["build/count", str(steps)], cwd=self.folder, capture_output=True, timeout=LONG_S, check=True
        )
        assert (self.folder / output).read_bytes() == done.stdout


@pytest.fixture
def site(server: BatchServer, one_engine: EngineHere) -> Iterator[Site]:
    """Give a folder with the examples, and the one that the scripts run compiled."""
    folder = Path(tempfile.mkdtemp(prefix="site-"))
    shutil.copytree(REPOSITORY / "examples", folder, ignore=shutil.ignore_patterns("build"), dirs_exist_ok=True)
    subprocess.run(["make", "--quiet", "-C", folder, "build/count"], check=True, timeout=LONG_S)
    yield Site(server, folder, one_engine)
    shutil.rmtree(folder)
