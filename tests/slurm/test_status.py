"""What ``dmtcp-ctl status`` says on a login node of jobs that run, wait, have finished or died elsewhere."""

from __future__ import annotations

import json
import os
import signal
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from kit.desk import Desk

if TYPE_CHECKING:
    from kit.cluster import Cluster
    from kit.engines import EngineHere


@pytest.fixture
def desk(cluster: Cluster, one_engine: EngineHere) -> Desk:
    """Give a directory of the user who runs the tests."""
    return Desk(cluster, one_engine)


def status(desk: Desk) -> dict[str, Any]:
    """Return what ``dmtcp-ctl status --json`` says of the only job."""
    done = desk.type("dmtcp-ctl status --json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert isinstance(row, dict)
    return row


def is_ahead(moment: str, seconds: float) -> bool:
    """Return whether MOMENT lies within SECONDS from now."""
    return 0 < (datetime.fromisoformat(moment) - datetime.now(timezone.utc)).total_seconds() < seconds


def test_of_a_running_job_it_tells_where_since_when_and_what_comes(desk: Desk) -> None:
    job = desk.submit(desk.script(f"{desk.run} --stdout out.txt {desk.counting(600)}", options=["--time=5"]))
    desk.bench.wait_steps(1)
    row = status(desk)
    assert (row["phase"], row["scheduler_job"], row["batch"]) == ("running", job, f"{job} running")
    assert row["host"]
    assert not is_ahead(row["since"], 1e9)
    assert is_ahead(row["next_checkpoint"], 70)
    assert is_ahead(row["ends"], 300)
    table = desk.type("dmtcp-ctl status").stdout.splitlines()
    assert table[0].split()[:2] == ["JOB", "IS"]
    assert table[1].split()[1] == "running"
    assert f"{job} running" in desk.type("dmtcp-ctl status --wide").stdout


def test_a_requeued_job_waits_and_then_has_finished(desk: Desk) -> None:
    job = desk.submit(desk.script(f"exec {desk.run} --stdout out.txt {desk.counting(60, status=5)}"))
    desk.bench.wait_steps(30)
    desk.cluster.scancel(job, "--signal=USR1", "--batch")
    desk.cluster.wait(job, "PENDING")
    row = status(desk)
    assert (row["phase"], row["batch"]) == ("waiting", f"{job} waiting (BeginTime)")
    assert row["follows"] == "requeue"
    assert row["generation"] == 1
    desk.assert_finished(job, status=5, restarts=1)
    row = status(desk)
    assert (row["phase"], row["status"], row["follows"]) == ("finished", 5, None)
    assert row["since"] is row["next_checkpoint"] is row["ends"] is None


def test_a_job_that_was_killed_is_dead(desk: Desk) -> None:
    job = desk.submit(desk.script(f"exec {desk.run} --stdout out.txt {desk.counting(600)}"))
    desk.bench.wait_steps(1)
    os.kill(status(desk)["pid"], signal.SIGKILL)
    desk.cluster.wait_ended(job)
    assert status(desk)["phase"] == "dead"


def test_a_job_that_was_cancelled_is_not_said_to_wait(desk: Desk) -> None:
    job = desk.submit(desk.script(f"exec {desk.run} --stdout out.txt {desk.counting(600)}"))
    desk.bench.wait_steps(1)
    desk.cluster.scancel(job)
    desk.cluster.wait_ended(job)
    row = status(desk)
    assert row["phase"] not in ("running", "waiting", "finished")
    assert row["batch"] == f"{job} cancelled"
    assert row["follows"] == "nothing: the scheduler is ending the job, for example after scancel"


def test_it_shows_what_it_knows_when_the_scheduler_does_not_answer(desk: Desk) -> None:
    job = desk.submit(desk.script(f"{desk.run} --stdout out.txt {desk.counting(600)}"))
    desk.bench.wait_steps(1)
    desk.cluster.stop_controller()
    done = desk.type("dmtcp-ctl status --json")
    desk.cluster.start_controller()
    assert done.returncode == 0
    (row,) = json.loads(done.stdout)
    assert (row["phase"], row["scheduler_job"], row["batch"]) == ("running", job, None)
    (line,) = done.stderr.splitlines()
    assert "Slurm does not answer" in line
