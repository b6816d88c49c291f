"""A job of more weight takes the nodes: Slurm requeues the one that was there, with a warning or without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.desk import Desk

if TYPE_CHECKING:
    from collections.abc import Callable

    from kit.cluster import Cluster
    from kit.engines import EngineHere


def preempt(desk: Desk) -> None:
    """Submit a short job that takes all nodes from others."""
    desk.submit("#!/bin/sh\nsleep 1\n", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null")


def test_a_job_that_is_preempted_without_notice_goes_on_from_its_last_generation(
    cluster: Cluster, one_engine: EngineHere
) -> None:
    desk = Desk(cluster, one_engine)
    job = desk.submit(desk.script(f"{desk.run} --interval 2 --stdout out.txt {desk.counting(80)}"))
    desk.bench.wait_generation(1)
    preempt(desk)
    desk.assert_finished(job, restarts=1)
    desk.bench.assert_counted(80)
    assert "requeueing" not in desk.bench.said()
    desk.bench.said_with("resumed generation ")


def test_a_job_that_is_warned_of_its_preemption_loses_nothing(
    make_cluster: Callable[..., Cluster], one_engine: EngineHere
) -> None:
    cluster = make_cluster(options={"SlurmctldParameters": "preempt_send_user_signal"})
    desk = Desk(cluster, one_engine)
    desk.need_control_groups()
    line = f"exec {desk.run} --stdout out.txt {desk.counting(80)}"
    job = desk.submit(desk.script(line, options=["--signal=B:USR1@60"]))
    desk.bench.wait_steps(30)
    preempt(desk)
    desk.assert_finished(job, restarts=1)
    desk.bench.assert_counted(80)
    desk.bench.assert_done_once(80)
    # Slurm sends SIGTERM right after SIGUSR1: on a busy machine both are there at once
    desk.bench.said_with(": taking the last checkpoint")
