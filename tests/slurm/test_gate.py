"""A closed gate hands the node back, and the job goes on later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kit.desk import Desk
from kit.waits import wait_until

if TYPE_CHECKING:
    from kit.cluster import Cluster
    from kit.engines import EngineHere


@pytest.fixture
def desk(cluster: Cluster, one_engine: EngineHere) -> Desk:
    """Give a directory of the user who runs the tests."""
    return Desk(cluster, one_engine)


def test_a_job_is_requeued_while_its_gate_is_closed_and_finishes_once_it_is_open(desk: Desk) -> None:
    gate = "--gate 'test ! -e closed' --gate-every 1s"
    job = desk.submit(desk.script(f"{desk.run} {gate} --stdout out.txt {desk.counting(100)}"))
    desk.bench.wait_steps(3)
    closed = desk.write("closed", "")
    # the second time nothing has run
    wait_until(lambda: int(desk.cluster.show(job)["Restarts"]) >= 2, 600)
    closed.unlink()
    desk.assert_finished(job)
    desk.bench.assert_counted(100)
    desk.bench.assert_done_once(100)
    said = desk.bench.said()
    assert said.count(f"requeueing Slurm job {job}: gate closed") == int(desk.cluster.show(job)["Restarts"])
    assert "not run, as the gate is closed; the same line resumes from generation 1" in said
