"""The example with submitit: a job that Slurm requeues three times goes on each time, and its result comes back."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from kit.jobs import events_of, jobs_in
from kit.long_form import NO_LONG_TESTS
from kit.places import CTL, REPOSITORY
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from kit.cluster import Cluster
    from kit.engines import EngineHere

STEPS = 200
REQUEUES = 3


@NO_LONG_TESTS
@pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="submitit is not on this machine")
def test_a_job_of_submitit_goes_on_after_each_requeue(cluster: Cluster, one_engine: EngineHere) -> None:
    folder = cluster.home / "submitit"
    shutil.copytree(REPOSITORY / "examples/workflows", folder / "workflows")
    shutil.copy(REPOSITORY / "examples/count.c", folder)
    shutil.copy(REPOSITORY / "examples/Makefile", folder)
    subprocess.run(["make", "--quiet", "-C", folder, "build/count"], check=True, timeout=LONG_S)
    environ = {**cluster.environ, **one_engine.environ}
    words = [sys.executable, "workflows/submitit_job.py", str(STEPS)]
    with subprocess.Popen(words, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True) as submitter:
        assert submitter.stdout
        job = submitter.stdout.readline().strip()
        _requeue_three_times(cluster, one_engine, folder, job)
        assert submitter.wait(LONG_S) == 0
    plain = subprocess.run(["build/count", str(STEPS)], cwd=folder, capture_output=True, timeout=LONG_S, check=True)
    assert (folder / "out.txt").read_bytes() == plain.stdout
    assert cluster.show(job)["Restarts"] == str(REQUEUES)


def _requeue_three_times(cluster: Cluster, engine: EngineHere, folder: Path, job: str) -> None:
    for count in range(REQUEUES):
        wait_until(lambda: _lives(folder) > count, LONG_S)  # noqa: B023 - called at once
        cluster.call(CTL, "checkpoint", cwd=folder, env=engine.environ)
        cluster.requeue(job)
    assert cluster.exit_status(job) == (0, 0)


def _lives(folder: Path) -> int:
    events = [event for job in jobs_in(folder / ".dmtcp-run") for event in events_of(job)]
    return events.count("started") + events.count("resumed")
