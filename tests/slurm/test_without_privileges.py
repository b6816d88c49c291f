"""CRIU in a user namespace, in batch jobs of an ordinary user, however Slurm keeps hold of a job's processes."""

from __future__ import annotations

import os
import pwd
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import CRIU, WITHOUT_PRIVILEGES
from kit.desk import Desk
from kit.long_form import NO_LONG_TESTS
from kit.places import REPOSITORY

if TYPE_CHECKING:
    from slurm.conftest import Start

GUEST = "games"
"""An account that most distributions have, of nobody."""
FREEZER = Path("/sys/fs/cgroup/freezer")


@pytest.fixture(params=["cgroup", pytest.param("linuxproc", marks=NO_LONG_TESTS)])
def desk(request: pytest.FixtureRequest, make_cluster: Start) -> Desk:
    """Give a directory of an ordinary user on a cluster that root runs, which tracks processes in this way."""
    if os.geteuid() != 0 or not WITHOUT_PRIVILEGES or WITHOUT_PRIVILEGES[0].user is None:
        pytest.skip("only root can run a cluster for an ordinary user, for whom CRIU has to work here")
    if GUEST not in [account.pw_name for account in pwd.getpwall()]:
        pytest.skip(f"there is no account {GUEST} here")
    if request.param == "cgroup" and not FREEZER.is_dir():
        pytest.skip("there are no control groups of version 1 here")
    tracking = f"proctrack/{request.param}"
    folders = (*WITHOUT_PRIVILEGES[0].user.folders, REPOSITORY, Path(sys.prefix))
    cluster = make_cluster(guest=GUEST, reached=folders, options={"ProctrackType": tracking})
    environ = {**CRIU[0].environ, "HOME": str(cluster.home)}
    return Desk(cluster, replace(CRIU[0], environ=environ))


def test_a_requeued_job_goes_on_on_another_node(desk: Desk) -> None:
    job = desk.submit(desk.script(f"exec {desk.run} -v --stdout out.txt {desk.counting(80)}"))
    desk.bench.wait_steps(30)
    node = desk.cluster.node_of(job)
    desk.cluster.administer("update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    desk.cluster.scancel(job, "--signal=USR1", "--batch")
    desk.assert_finished(job, restarts=1)
    desk.bench.assert_counted(80)
    desk.bench.assert_done_once(80)
    assert desk.cluster.node_of(job) != node
    assert "CRIU runs in a user namespace" in desk.bench.said()
    assert desk.bench.manifest["engine_way"] == "in a user namespace"


@NO_LONG_TESTS
def test_a_job_whose_node_is_lost_goes_on_from_its_last_generation_on_another(desk: Desk) -> None:
    job = desk.submit(desk.script(f"{desk.run} --interval 2 --stdout out.txt {desk.counting(100)}"))
    desk.bench.wait_generation(1)
    node = desk.cluster.node_of(job)
    desk.cluster.crash_node(node)
    desk.assert_finished(job, restarts=1)
    assert desk.cluster.node_of(job) != node
    desk.bench.assert_counted(100)
    desk.bench.said_with("resumed generation ")


@NO_LONG_TESTS
def test_a_job_at_its_time_limit_is_requeued_and_finished(desk: Desk) -> None:
    line = f"{desk.run} --lead=40 --stdout out.txt {desk.counting(210)}"
    job = desk.submit(desk.script(line, options=["--time=1"]))
    desk.bench.wait_said("requeueing")
    desk.assert_finished(job, restarts=1)
    desk.bench.assert_counted(210)
    desk.bench.assert_done_once(210)


@NO_LONG_TESTS
def test_a_cancelled_job_leaves_nothing_and_the_same_line_resumes(desk: Desk) -> None:
    script = desk.script(f"exec {desk.run} --interval 2 --stdout out.txt {desk.counting(100)}")
    job = desk.submit(script)
    desk.bench.wait_generation(1)
    desk.cluster.scancel(job)
    desk.cluster.wait_ended(job)
    again = desk.submit(script)
    desk.assert_finished(again)
    desk.bench.assert_counted(100)
