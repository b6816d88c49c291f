"""What Slurm or its user sends to a running job: warnings, cancellation, suspension."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from kit.desk import Desk
from kit.long_form import NO_LONG_TESTS
from kit.waits import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from kit.cluster import Cluster
    from kit.engines import EngineHere


@pytest.fixture
def desk(cluster: Cluster, one_engine: EngineHere) -> Desk:
    """Give a directory of the user who runs the tests."""
    return Desk(cluster, one_engine)


def assert_requeued_and_finished(desk: Desk, job: str, steps: int) -> None:
    """Assert that JOB was warned once, and finished after a requeue as if nothing had happened."""
    desk.assert_finished(job, restarts=1)
    desk.bench.assert_counted(steps)
    desk.bench.assert_done_once(steps)
    desk.bench.said_with("SIGUSR1: taking the last checkpoint")
    desk.bench.said_with(f"requeueing Slurm job {job}: SIGUSR1")


def test_a_warning_to_the_batch_shell_reaches_a_dmtcp_run_in_its_place(desk: Desk) -> None:
    script = desk.script(f"exec {desk.run} --stdout out.txt {desk.counting(80)}", options=["--signal=B:USR1@60"])
    job = desk.submit(script)
    desk.bench.wait_steps(30)
    desk.cluster.scancel(job, "--signal=USR1", "--batch")
    assert_requeued_and_finished(desk, job, 80)


def test_a_warning_to_a_step_reaches_a_dmtcp_run_below_srun(desk: Desk) -> None:
    desk.need_control_groups()
    script = desk.script(f"srun {desk.run} --stdout out.txt {desk.counting(80)}", options=["--signal=USR1@60"])
    job = desk.submit(script)
    desk.bench.wait_steps(30)
    desk.cluster.scancel(job, "--signal=USR1")
    assert_requeued_and_finished(desk, job, 80)


def test_a_trap_of_the_batch_shell_may_forward_the_warning(desk: Desk) -> None:
    script = desk.script(
        f"{desk.run} --stdout out.txt {desk.counting(80)} & pid=$!",
        'trap "kill -USR1 $pid" USR1',
        "wait $pid",
        "wait $pid",
        options=["--signal=B:USR1@60"],
    )
    job = desk.submit(script)
    desk.bench.wait_steps(30)
    desk.cluster.scancel(job, "--signal=USR1", "--batch")
    assert_requeued_and_finished(desk, job, 80)


@pytest.mark.parametrize("prefix", ["", "exec ", "srun "])
def test_a_cancelled_job_stays_cancelled_and_the_same_script_goes_on(desk: Desk, prefix: str) -> None:
    script = desk.script(f"{prefix}{desk.run} --interval 2 --stdout out.txt {desk.counting(70)}")
    job = desk.submit(script)
    desk.bench.wait_generation(1)
    desk.cluster.scancel(job)
    assert desk.cluster.wait_ended(job)["JobState"] == "CANCELLED"
    kept = desk.bench.generations
    assert kept
    again = desk.submit(script)
    desk.assert_finished(again, restarts=0)
    desk.bench.assert_counted(70)
    shown = desk.cluster.show(job)
    assert (shown["JobState"], shown["Restarts"]) == ("CANCELLED", "0")
    desk.bench.said_with(f"resumed generation {kept[-1]} ")
    assert "requeueing" not in desk.bench.said()


def test_a_dmtcp_run_in_place_of_the_batch_shell_has_time_for_a_last_checkpoint_when_cancelled(desk: Desk) -> None:
    desk.need_control_groups()
    script = desk.script(f"exec {desk.run} --stdout out.txt {desk.counting(60)}")
    job = desk.submit(script)
    desk.bench.wait_steps(20)
    desk.cluster.scancel(job)
    desk.cluster.wait_ended(job)
    desk.bench.said_with("not requeued: the scheduler is ending the job")
    desk.assert_finished(desk.submit(script))
    desk.bench.assert_counted(60)
    desk.bench.assert_done_once(60)


@pytest.mark.parametrize("prefix", ["", "exec "])
def test_nothing_is_left_of_a_job_that_was_cancelled(
    any_user_cluster: Cluster, one_engine: EngineHere, prefix: str
) -> None:
    desk = Desk(any_user_cluster, one_engine)
    job = desk.submit(desk.script(f"{prefix}{desk.run} --stdout out.txt {desk.counting(600)}"))
    desk.bench.wait_steps(10)
    desk.cluster.scancel(job)
    assert desk.cluster.wait_ended(job)["JobState"] == "CANCELLED"
    # the fixture looks for processes that were left behind


def test_the_time_in_which_a_job_was_suspended_does_not_count(desk: Desk) -> None:
    script = desk.script(f"{desk.run} --lead 100 --stdout out.txt {desk.counting(170)}", options=["--time=2"])
    job = desk.submit(script)
    desk.bench.wait_steps(30)
    desk.cluster.scontrol("suspend", job)
    desk.cluster.wait(job, "SUSPENDED")
    supervisor = psutil.Process(json.loads((desk.bench.job / "lock").read_text())["pid"])
    # Slurm says so before it has stopped the processes
    wait_until(lambda: _is_suspended(supervisor))
    time.sleep(15)
    desk.cluster.scontrol("resume", job)
    desk.assert_finished(job, restarts=0)
    desk.bench.assert_counted(170)
    desk.bench.assert_done_once(170)
    assert "last checkpoint and" not in desk.bench.said()
    assert desk.bench.said().count("the time limit comes in") == 2


def _is_suspended(process: psutil.Process) -> bool:
    """Whether Slurm has stopped PROCESS, or frozen its control group."""
    where = Path(f"/proc/{process.pid}/wchan").read_text()
    return process.status() == psutil.STATUS_STOPPED or "refrigerator" in where


def _within_checkpoint(desk: Desk, job: Path) -> Callable[[], None] | None:
    """Return what lets a checkpoint of JOB go on; None while there is none.

    criu would be done before Slurm has suspended the job, and is stopped.
    """
    if desk.bench.engine is not None and desk.bench.engine.name == "dmtcp":
        return (lambda: None) if any(path.is_file() for path in (job / "staging").rglob("*.temp")) else None
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            line = path.read_bytes()
            if b"\0dump\0" in line and b"\0--tree\0" in line and os.fsencode(job / "staging") in line:
                pid = int(path.parent.name)
                os.kill(pid, signal.SIGSTOP)
                return partial(os.kill, pid, signal.SIGCONT)
    return None


@pytest.mark.parametrize("seconds", [11, pytest.param(70, marks=NO_LONG_TESTS)])
def test_a_checkpoint_in_which_a_job_is_suspended_comes_to_its_end_later(desk: Desk, seconds: float) -> None:
    line = f"{desk.run} --interval 2 --stdout out.txt {desk.counting(80, megabytes=300)}"
    job = desk.submit(desk.script(line))
    desk.bench.wait_steps(1)
    folder = desk.bench.job
    let_go_on = wait_until(lambda: _within_checkpoint(desk, folder))
    assert let_go_on is not None
    desk.cluster.scontrol("suspend", job)
    desk.cluster.wait(job, "SUSPENDED")
    let_go_on()
    assert desk.bench.generations == []
    time.sleep(seconds)
    desk.cluster.scontrol("resume", job)
    desk.bench.wait_generation(1)
    desk.assert_finished(job, restarts=0)
    desk.bench.assert_counted(80)
    desk.bench.assert_done_once(80)
    assert "failed" not in desk.bench.said()
