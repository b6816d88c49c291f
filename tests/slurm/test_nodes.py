"""Nodes that fail, and jobs that go on elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kit.desk import Desk

if TYPE_CHECKING:
    from kit.cluster import Cluster
    from kit.engines import EngineHere


@pytest.fixture
def desk(cluster: Cluster, one_engine: EngineHere) -> Desk:
    """Give a directory of the user who runs the tests."""
    return Desk(cluster, one_engine)


def test_a_job_whose_node_is_lost_goes_on_from_its_last_generation_on_another(desk: Desk) -> None:
    job = desk.submit(desk.script(f"{desk.run} --interval 2 --stdout out.txt {desk.counting(100)}"))
    desk.bench.wait_generation(1)
    node = desk.cluster.node_of(job)
    desk.cluster.crash_node(node)
    desk.cluster.wait(job, "RUNNING")
    assert desk.cluster.node_of(job) != node
    desk.assert_finished(job, restarts=1)
    desk.bench.assert_counted(100)
    desk.bench.said_with("resumed generation ")
    desk.cluster.start_node(node)


def test_an_attempt_on_a_node_that_only_slurm_has_lost_hands_over_and_loses_nothing(desk: Desk) -> None:
    job = desk.submit(desk.script(f"{desk.run} --stdout out.txt {desk.counting(150)}"))
    desk.bench.wait_steps(30)
    node = desk.cluster.node_of(job)
    desk.cluster.kill_node(node)
    desk.cluster.mark_down(node)
    desk.assert_finished(job, restarts=1)
    desk.bench.assert_counted(150)
    desk.bench.assert_done_once(150)
    desk.bench.said_with(f"an earlier run of job {job} still runs on ")
    desk.cluster.start_node(node)


def test_a_requeued_job_that_lands_on_another_node_finds_its_images(desk: Desk) -> None:
    line = f"exec {desk.run} --stdout out.txt {desk.counting(80)}"
    job = desk.submit(desk.script("echo on $SLURMD_NODENAME", line))
    desk.bench.wait_steps(30)
    node = desk.cluster.node_of(job)
    desk.cluster.scontrol("update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    desk.cluster.scancel(job, "--signal=USR1", "--batch")
    desk.assert_finished(job, restarts=1)
    desk.bench.assert_counted(80)
    desk.bench.assert_done_once(80)
    assert desk.cluster.node_of(job) != node
    assert [word for word in desk.cluster.nodes if f"on {word}\n" in desk.bench.said()] == desk.cluster.nodes
    desk.cluster.scontrol("update", f"NodeName={node}", "State=RESUME")
