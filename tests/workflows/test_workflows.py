"""The examples with workflow tools: a program that is stopped three times, run again by the tool, finishes rightly."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kit.jobs import events_of, jobs_in
from kit.places import CTL, REPOSITORY
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from kit.bench import Workbench

STEPS = 100
STOPS = 3


@pytest.fixture
def site(bench: Workbench) -> Workbench:
    """Give a folder as examples/ is, with what its lines run."""
    shutil.copytree(REPOSITORY / "examples/workflows", bench.folder / "workflows")
    shutil.copy(REPOSITORY / "examples/count.c", bench.folder)
    shutil.copy(REPOSITORY / "examples/Makefile", bench.folder)
    subprocess.run(["make", "--quiet", "-C", bench.folder, "build/count"], check=True, timeout=LONG_S)
    return bench


def _need(tool: str) -> str:
    """Return the path of TOOL, beside this Python or on PATH; skip the test without it."""
    path = shutil.which(tool, path=str(Path(sys.executable).parent)) or shutil.which(tool)
    return path or pytest.skip(f"{tool} is not on this machine")


def _run(site: Workbench, *words: str | Path, **environ: str) -> None:
    """Run a tool to its end with status 0, while its one program is stopped three times."""
    own = site.folder / "temporary"
    own.mkdir()
    more = {"PATH": f"{Path(sys.executable).parent}:{site.environ['PATH']}", "TMPDIR": str(own), **environ}
    log = site.folder / "tool.log"
    with log.open("wb") as output:
        tool = subprocess.Popen(
            list(map(str, words)), cwd=site.folder, env={**site.environ, **more}, stdout=output, stderr=output
        )
    site.started.append(tool)
    for count in range(STOPS):
        stop(site.jobs, lives=count + 1)
    assert tool.wait(LONG_S) == 0, log.read_text()


def stop(jobs: Path, lives: int) -> None:
    """Stop the one job in JOBS with a checkpoint, when it runs for the LIVES-th time."""
    wait_until(lambda: _lives(jobs) == lives, LONG_S)
    done = subprocess.run([CTL, "--dir", jobs, "stop"], check=False, timeout=LONG_S, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + (jobs.parent / "tool.log").read_text()


def _lives(jobs: Path) -> int:
    events = [event for job in jobs_in(jobs) for event in events_of(job)]
    return events.count("started") + events.count("resumed")


def _assert_right(site: Workbench, name: str) -> None:
    """Assert that file NAME has what the program writes without interruption, and that it was interrupted."""
    plain = subprocess.run(
        ["build/count", str(STEPS)], cwd=site.folder, capture_output=True, timeout=LONG_S, check=True
    )
    assert (site.folder / name).read_bytes() == plain.stdout
    assert site.events.count("resumed") == STOPS


def test_luigi_runs_the_task_again_until_it_has_finished(site: Workbench) -> None:
    words = ["--module", "workflows.luigi_task", "Count", "--steps", str(STEPS), "--local-scheduler"]
    _run(site, _need("luigi"), *words, LUIGI_CONFIG_PATH="workflows/luigi.cfg", PYTHONPATH=".")
    _assert_right(site, "result.txt")


def test_snakemake_runs_the_rule_again_until_it_has_finished(site: Workbench) -> None:
    words = ["--snakefile", "workflows/Snakefile", "--cores", "2", "--config", f"steps={STEPS}"]
    _run(site, _need("snakemake"), *words)
    _assert_right(site, "result.txt")


def test_gnu_parallel_runs_the_line_again_until_it_has_finished(site: Workbench) -> None:
    _need("parallel")
    _run(site, "workflows/parallel.sh", str(STEPS))
    _assert_right(site, f"out.{STEPS}.txt")


def test_what_nextflow_does_with_the_script_of_its_example_finishes_it(site: Workbench) -> None:
    """Run the script as Nextflow does: in a new work directory each time, again while the status is 85."""
    text = (site.folder / "workflows/count.nf").read_text()
    script = text.split('"""')[1].replace("${launchDir}", shlex.quote(str(site.folder)))
    script = script.replace("${params.steps}", str(STEPS)).replace("\\$", "$")
    (site.folder / ".command.sh").write_text(f"#!/bin/bash -ue\n{script}")
    tries = "for try in 1 2 3 4 5; do mkdir -p work/$try; s=0; (cd work/$try; bash -ue ../../.command.sh) || s=$?; "
    tries += "[ $s = 85 ] || break; done; [ $s = 0 ] && ln -s work/$try/out.txt result.txt"
    _run(site, "bash", "-c", tries)
    _assert_right(site, "result.txt")
