"""The batch scripts in slurm/, as they stand: each is interrupted, goes on, and ends with the right output."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dmtcp_py.batch.requeue import LIMIT
from kit.jobs import events_of, history_of, jobs_in
from kit.places import CTL, REPOSITORY
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from kit.cluster import Cluster
    from kit.engines import EngineHere

SCRIPTS = REPOSITORY / "slurm"
ONE_MINUTE = "--time=1"
"""Slurm's shortest limit: dmtcp-run stops the program after half of it."""


_MDRUN = ["gmx", "mdrun", "-ntmpi", "1", "-ntomp", "1", "-pin", "off", "-reprod", "-cpt", "-1"]


@dataclass
class Site:
    """A folder laid out as examples/ is, on a cluster, with an engine."""

    cluster: Cluster
    folder: Path
    engine: EngineHere

    def submit(self, script: str, *arguments: str | int, options: tuple[str, ...] = ()) -> str:
        """Submit SCRIPT of slurm/ with ARGUMENTS, as a user types it, and return the job's id."""
        words = ["sbatch", "--parsable", *options, str(SCRIPTS / script), *map(str, arguments)]
        return self.cluster.call(*words, cwd=self.folder, env=self.engine.environ).strip()

    def job(self, number: int) -> Path:
        """Return the folder of job NUMBER of dmtcp-run, the oldest first."""
        return jobs_in(self.folder / ".dmtcp-run")[number]

    def history(self, number: int = 0) -> list[dict[str, Any]]:
        """Return the lines of a job's history."""
        return history_of(self.job(number))

    def events(self, number: int = 0) -> list[str]:
        """Return what happened to a job, by name."""
        return events_of(self.job(number))

    def wait_events(self, *events: str, number: int = 0) -> None:
        """Wait until a job's history has EVENTS in this order, whatever is between."""

        def are_there() -> bool:
            with suppress(OSError, IndexError, json.JSONDecodeError):
                found = iter(self.events(number))
                return all(event in found for event in events)
            return False

        wait_until(are_there)

    def assert_resumed(self, number: int = 0) -> None:
        """Assert that a job was checkpointed, interrupted, resumed, and has finished."""
        events = self.events(number)
        assert events.count("started") == events.count("finished") == 1
        assert events.index("checkpointed") < events.index("resumed")

    def checkpoint(self, number: int = 0) -> None:
        """Have a running job commit a generation."""
        self.ctl("checkpoint", number)

    def ctl(self, action: str, number: int = 0) -> None:
        """Have dmtcp-ctl do ACTION to a running job."""
        self.wait_events("started", number=number)
        self.cluster.call(CTL, action, self.job(number).name, cwd=self.folder, env=self.engine.environ)

    def assert_right(self, output: str, *program: str | Path, stdin: Path | None = None) -> None:
        """Assert that file OUTPUT is byte for byte what PROGRAM writes without interruption."""
        with (stdin or Path("/dev/null")).open("rb") as source:
            done = subprocess.run(
                program, cwd=self.folder, stdin=source, capture_output=True, timeout=LONG_S, check=True
            )
        assert (self.folder / output).read_bytes() == done.stdout


@pytest.fixture
def site(cluster: Cluster, examples: Path, one_engine: EngineHere, request: pytest.FixtureRequest) -> Site:
    """Give a folder with the examples and what was compiled of them."""
    folder = cluster.home / request.node.name.replace("[", "-").strip("]")
    shutil.copytree(REPOSITORY / "examples", folder, ignore=shutil.ignore_patterns("build"))
    shutil.copytree(examples, folder / "build")
    return Site(cluster, folder, one_engine)


def test_single_goes_on_after_its_limit(site: Site) -> None:
    job = site.submit("single.sh", 450, options=(ONE_MINUTE,))
    assert site.cluster.exit_status(job) == (0, 0)
    assert site.cluster.show(job)["Restarts"] == "1"
    assert [line["stopped_for"] for line in site.history() if line.get("stopped_for")] == [LIMIT]
    site.assert_right("out.txt", "build/count", "450")


def test_chain_goes_on_in_the_next_job_after_its_limit(site: Site) -> None:
    job = site.submit("chain.sh", 450, options=(ONE_MINUTE,))
    assert site.cluster.exit_status(job) == (85, 0)
    log = (site.folder / "chain.log").read_text()
    following = log.partition("submitted as job ")[2].split()[0]
    assert site.cluster.exit_status(following) == (0, 0)
    assert site.cluster.show(following)["Command"].endswith(" 450")
    site.assert_right("out.txt", "build/count", "450")


@pytest.mark.parametrize(
    ("script", "program"),
    [
        ("octave.sh", ["octave-cli", "iterate.m"]),
        ("r.sh", ["Rscript", "walk.R"]),
        ("python.sh", ["python3", "counter.py"]),
    ],
)
def test_a_program_of_this_language_goes_on_after_a_requeue(site: Site, script: str, program: list[str]) -> None:
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not on this machine")
    job = site.submit(script, 40)
    site.checkpoint()
    site.cluster.requeue(job)
    assert site.cluster.exit_status(job) == (0, 0)
    site.assert_resumed()
    site.assert_right("out.txt", *program, "40")


def test_preemptible_goes_on_after_a_job_of_a_higher_partition(site: Site) -> None:
    job = site.submit("preemptible.sh", 50, options=("--partition=low", "--nodes=2", "--exclusive"))
    site.checkpoint()
    first = site.cluster.sbatch("#!/bin/sh\n", "--partition=high")
    site.cluster.wait(first, "COMPLETED")
    assert site.cluster.exit_status(job) == (0, 0)
    site.assert_resumed()
    site.assert_right("out.txt", "build/count", "50")


def test_each_task_of_array_goes_on_alone(site: Site) -> None:
    job = site.submit("array.sh", 80)
    # whichever of the two that run began first
    for number in range(2):
        site.wait_events("started", number=number)
        site.checkpoint(number)
    site.cluster.requeue(f"{job}_1")
    for task in range(1, 6):
        assert site.cluster.exit_status(f"{job}_{task}") == (0, 0)
        site.assert_right(f"out.{task}.txt", "build/count", str(80 + task))
    events = [site.events(number) for number in range(5)]
    assert sum("resumed" in one for one in events) == 1


def test_gromacs_goes_on_in_the_next_task_and_after_a_requeue(site: Site) -> None:
    if shutil.which("gmx") is None:
        pytest.skip("gmx is not on this machine")
    job = site.submit("gromacs-array.sh", 20000, options=("--array=1-4%1",))
    site.checkpoint()
    site.cluster.scancel(f"{job}_1")
    site.wait_events("started", "resumed")
    site.checkpoint()
    site.cluster.requeue(f"{job}_2")
    for task in (2, 3, 4):
        assert site.cluster.exit_status(f"{job}_{task}") == (0, 0)
    assert site.events().count("started") == site.events().count("finished") == 1
    assert site.events().count("resumed") >= 2
    plain = site.folder / "plain"
    plain.mkdir()
    line = [*_MDRUN, "-s", "../build/water.tpr", "-deffnm", "water", "-nsteps", "20000"]
    subprocess.run(line, cwd=plain, capture_output=True, timeout=LONG_S, check=True)
    for name in ("water.gro", "water.edr", "water.xtc"):
        assert (site.folder / name).read_bytes() == (plain / name).read_bytes()


def _give_inputs(site: Site) -> list[Path]:
    folder = site.folder / "inputs"
    folder.mkdir()
    paths = [folder / f"{name} input" for name in ("first", "second")]
    for first, path in enumerate(paths):
        path.write_text("".join(f"{number}\n" for number in range(first, 25000)))
    return paths


def _assert_results_are_right(site: Site, inputs: list[Path]) -> None:
    assert sorted(path.name for path in (site.folder / "results").iterdir()) == [path.name for path in inputs]
    for path in inputs:
        site.assert_right(f"results/{path.name}", "python3", "lines.py", stdin=path)


def test_campaign_goes_on_after_a_requeue_with_the_input_that_it_was_at(site: Site) -> None:
    inputs = _give_inputs(site)
    job = site.submit("campaign.sh")
    site.wait_events("finished")
    site.checkpoint(1)
    site.cluster.requeue(job)
    assert site.cluster.exit_status(job) == (0, 0)
    assert site.events(0).count("started") == 1
    site.assert_resumed(1)
    _assert_results_are_right(site, inputs)


def test_campaign_that_was_stopped_is_submitted_again_and_runs_no_finished_input(site: Site) -> None:
    inputs = _give_inputs(site)
    job = site.submit("campaign.sh")
    site.ctl("stop")
    assert site.cluster.exit_status(job) == (85, 0)
    assert not (site.folder / "results" / inputs[1].name).exists()
    assert site.cluster.exit_status(site.submit("campaign.sh")) == (0, 0)
    before = site.history(0), site.history(1)
    assert site.cluster.exit_status(site.submit("campaign.sh")) == (0, 0)
    assert before == (site.history(0), site.history(1))
    _assert_results_are_right(site, inputs)
