"""The time limit of a batch job: asked of Slurm, kept an eye on, and come up to in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kit.desk import Desk
from kit.long_form import NO_LONG_TESTS

if TYPE_CHECKING:
    from kit.cluster import Cluster
    from kit.engines import EngineHere


@pytest.fixture
def desk(cluster: Cluster, one_engine: EngineHere) -> Desk:
    """Give a directory of the user who runs the tests."""
    return Desk(cluster, one_engine)


def test_the_smallest_script_finishes_a_program_that_is_longer_than_the_time_limit(
    any_user_cluster: Cluster, one_engine: EngineHere
) -> None:
    desk = Desk(any_user_cluster, one_engine)
    script = desk.script(f"{desk.run} --stdout out.txt {desk.counting(420, status=7)}", options=["--time=1"])
    job = desk.submit(script)
    desk.assert_finished(job, status=7, restarts=1)
    desk.bench.assert_counted(420)
    desk.bench.assert_done_once(420)
    assert "so short a time limit leaves little for computing" in desk.bench.said()
    desk.bench.said_with("time limit: taking the last checkpoint")
    desk.bench.said_with(f"requeueing Slurm job {job}: time limit")
    desk.bench.said_with("resumed generation ")
    desk.bench.said_with("finished with status 7")


def test_a_limit_that_is_extended_while_the_job_runs_is_seen(desk: Desk) -> None:
    script = desk.script(f"{desk.run} --lead 100 --stdout out.txt {desk.counting(230)}", options=["--time=2"])
    job = desk.submit(script)
    desk.bench.wait_steps(1)
    desk.cluster.scontrol("update", f"JobId={job}", "TimeLimit=5")
    desk.assert_finished(job, restarts=0)
    desk.bench.assert_counted(230)
    assert desk.bench.generations == []
    assert "the time limit comes in 4:" in desk.bench.said()


def test_a_limit_that_is_shortened_while_the_job_runs_is_seen(desk: Desk) -> None:
    script = desk.script(f"{desk.run} --lead 50 --stdout out.txt {desk.counting(140)}", options=["--time=2"])
    job = desk.submit(script)
    desk.bench.wait_steps(1)
    desk.cluster.scontrol("update", f"JobId={job}", "TimeLimit=1")
    desk.assert_finished(job, restarts=1)
    desk.bench.assert_counted(140)
    desk.bench.assert_done_once(140)


def test_a_job_without_a_limit_is_told_of_none(desk: Desk) -> None:
    job = desk.submit(desk.script(f"{desk.run} --stdout out.txt {desk.counting(10)}"))
    desk.assert_finished(job)
    assert "time limit" not in desk.bench.said()


def test_a_limit_that_came_unseen_does_not_end_the_chain(desk: Desk) -> None:
    line = f"exec {desk.run} --time-limit 1h --interval 3 --stdout out.txt {desk.counting(600)}"
    job = desk.submit(desk.script(line, options=["--time=1"]))
    desk.bench.wait_generation(1)
    desk.cluster.scontrol("update", f"JobId={job}", "EndTime=now+3")
    desk.bench.wait_said("requeueing")
    desk.bench.wait_said("resumed generation ")
    desk.cluster.scancel(job)


@NO_LONG_TESTS
@pytest.mark.timeout(900)
def test_five_minutes_fit_into_limits_of_two(desk: Desk) -> None:
    script = desk.script(f"{desk.run} --stdout out.txt {desk.counting(3000, status=3)}", options=["--time=2"])
    job = desk.submit(script)
    desk.cluster.wait_ended(job, timeout_s=600)
    desk.assert_finished(job, status=3)
    assert int(desk.cluster.show(job)["Restarts"]) <= 4
    desk.bench.assert_counted(3000)
    desk.bench.assert_done_once(3000)
