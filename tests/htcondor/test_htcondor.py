"""The submit files in examples/htcondor, as they stand, in a real pool: jobs that move to another sandbox and go on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kit.long_form import NO_LONG_TESTS
from kit.places import EXAMPLES
from kit.waits import LONG_S, happens

if TYPE_CHECKING:
    from collections.abc import Callable

    from kit.condor import Pool
    from kit.engines import EngineHere

FILES = ("out.txt", "err.txt", "files.log", "files.out", "files.dat")
COMPLETED = 4
HELD = 5


class Desk:
    """A folder of the user's with the examples in it, from which a job with ENGINE is submitted to POOL."""

    def __init__(self, pool: Pool, engine: EngineHere) -> None:
        self.pool, self.engine = pool, engine
        examples = Path(tempfile.mkdtemp(dir=pool.home))
        self.folder = examples / "htcondor"
        shutil.copytree(EXAMPLES / "htcondor", self.folder)
        shutil.copy(EXAMPLES / "files.py", examples)
        if os.geteuid() == 0:
            for path in (examples, self.folder, *self.folder.iterdir()):
                shutil.chown(path, "nobody")
        self.job = ""

    def submit(self, name: str, *appended: str, steps: int = 150) -> None:
        """Submit the file NAME as it stands, but for the number of STEPS and the lines APPENDED."""
        environ = {**self.engine.environ, "DMTCP_RUN_ENGINE": self.engine.name}
        self.steps = steps
        self.job = self.pool.submit(self.folder / name, environ, f"STEPS={steps}", *appended)

    def wait_running(self, *, beside: Path | None = None) -> Path:
        """Wait until the program has printed in a sandbox, not BESIDE, and return the sandbox."""

        def found() -> Path | None:
            sandbox = self.pool.sandbox(self.job)
            with suppress(OSError):
                if sandbox is not None and sandbox != beside and (sandbox / "err.txt").stat().st_size:
                    return sandbox
            return None

        return self._wait(found, "a running program")

    def wait_logged(self, text: str, times: int = 1) -> None:
        """Wait until HTCondor has logged TEXT so many TIMES."""
        self._wait(lambda: self.log.count(text) >= times, text)

    def wait_end(self) -> dict[str, object]:
        """Wait until the job has left the queue, and return its ad."""

        def ended() -> dict[str, object] | None:
            ad = self.pool.ad(self.job)
            return ad if ad.get("JobStatus") in (COMPLETED, HELD) else None

        ad = self._wait(ended, "the end")
        assert ad["JobStatus"] == COMPLETED, ad.get("HoldReason")
        return ad

    @property
    def log(self) -> str:
        """The job's log."""
        path = self.folder / "job.log"
        return path.read_text() if path.exists() else ""

    @property
    def sandboxes(self) -> list[str]:
        """The sandboxes that the job has had."""
        return re.findall('CondorScratchDir = "(.*)"', self.log)

    @property
    def said(self) -> str:
        """What dmtcp-run has printed in all its lives, once the job has ended."""
        return (self.folder / "job.err").read_text()

    def assert_whole(self) -> None:
        """Assert that the program wrote what it writes undisturbed."""
        plain = self.folder / "plain"
        plain.mkdir()
        with (plain / "out.txt").open("wb") as out, (plain / "err.txt").open("wb") as err:
            words = [sys.executable, EXAMPLES / "files.py", str(self.steps)]
            subprocess.run(words, cwd=plain, stdout=out, stderr=err, timeout=LONG_S, check=True)
        for name in FILES:
            assert (self.folder / name).read_bytes() == (plain / name).read_bytes(), name

    def _wait(self, condition: Callable[[], object], what: str) -> object:
        found = happens(condition)
        if not found:
            sandbox = self.pool.sandbox(self.job)
            said = (sandbox / "_condor_stderr").read_text() if sandbox else ""
            raise AssertionError(f"waited in vain for {what}\n{self.log}\n{said}\n{self.pool.log()}")
        return condition()


@pytest.fixture
def desk(pool: Pool, one_of_each: EngineHere) -> Desk:
    return Desk(pool, one_of_each)


def test_an_evicted_job_goes_on_in_another_directory(desk: Desk) -> None:
    desk.submit("evicted.sub")
    first = desk.wait_running()
    desk.pool.call("condor_vacate_job", desk.job)
    desk.wait_logged("Job was evicted")
    ad = desk.wait_end()
    assert ad["ExitCode"] == 0
    assert len(set(desk.sandboxes)) == 2, desk.log
    # where the user may make directories, as in a pool of one's own, the old path stays: an empty one
    assert not first.exists() or list(first.iterdir()) == []
    assert "SIGTERM: taking the last checkpoint" in desk.said
    assert "resumed generation" in desk.said
    desk.assert_whole()


@NO_LONG_TESTS
def test_checkpoints_leave_the_node_while_the_job_runs(desk: Desk) -> None:
    """What is lost when the machine is: what came after the last time that the job made room for a transfer."""
    desk.submit("hourly.sub", "allowed_execute_duration = 60", steps=700)
    first = desk.wait_running()
    desk.wait_logged("Finished transferring output files")
    assert desk.wait_running() == first
    desk.pool.call("condor_vacate_job", "-fast", desk.job)
    desk.wait_logged("Job was evicted")
    assert desk.wait_running(beside=first) != first
    ad = desk.wait_end()
    assert ad["ExitCode"] == 0
    assert "resumed generation" in desk.said
    desk.assert_whole()


def test_a_submit_file_that_would_lose_the_checkpoints_is_refused(pool: Pool, one_engine: EngineHere) -> None:
    desk = Desk(pool, one_engine)
    text = (desk.folder / "evicted.sub").read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("transfer_output", "transfer_checkpoint"))]
    (desk.folder / "wrong.sub").write_text("\n".join(lines) + "\n")
    desk.submit("wrong.sub")
    ad = desk.wait_end()
    assert ad["ExitCode"] == 2
    assert "name .dmtcp-run and the program's files in transfer_output_files of the submit file" in desk.said
