"""Array jobs, and images on a disk of the node."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kit.desk import Desk
from kit.jobs import jobs_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.cluster import Cluster
    from kit.engines import EngineHere

OTHER_FILE_SYSTEM = Path("/dev/shm")


@pytest.fixture
def desk(cluster: Cluster, one_engine: EngineHere) -> Desk:
    """Give a directory of the user who runs the tests."""
    return Desk(cluster, one_engine)


@contextmanager
def folder_on_another_file_system(desk: Desk) -> Iterator[Path]:
    """Give a folder of the user's that is not on the file system of the home directory."""
    if not os.access(OTHER_FILE_SYSTEM, os.W_OK) or OTHER_FILE_SYSTEM.stat().st_dev == desk.folder.stat().st_dev:
        pytest.skip(f"{OTHER_FILE_SYSTEM} is no other file system that can be written")
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir=OTHER_FILE_SYSTEM))
    shutil.chown(folder, desk.cluster.account.pw_uid)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def test_each_task_of_an_array_resumes_its_own_job(desk: Desk) -> None:
    line = f"{desk.run} --lead 54 --stdout out-$SLURM_ARRAY_TASK_ID.txt {desk.counting(75)} $SLURM_ARRAY_TASK_ID"
    # the task that starts last has the id of the array, by which a command would mean all of them
    array = desk.submit(desk.script(line), "--time=1", "--array=1-5%2", "--output=log-%a")
    for task in range(1, 6):
        desk.assert_finished(f"{array}_{task}", restarts=1)
        desk.bench.assert_counted(75, f"out-{task}.txt")
        assert desk.bench.said(f"log-{task}").count("resumed generation ") == 1
    assert len(jobs_in(desk.bench.jobs)) == 5


def test_a_task_of_an_array_is_submitted_again_alone(desk: Desk) -> None:
    out = "out-$SLURM_ARRAY_TASK_ID.txt"
    line = f"exec {desk.run} --at-limit resubmit --stdout {out} {desk.counting(200)} $SLURM_ARRAY_TASK_ID"
    array = desk.submit(desk.script(line), "--array=1-2", "--output=log-%a", "--no-requeue")
    for task in (1, 2):
        desk.bench.wait_steps(10, f"out-{task}.txt")
        desk.cluster.scancel(f"{array}_{task}", "--signal=USR1", "--batch")
    for task in (1, 2):
        desk.assert_finished(f"{array}_{task}", status=85, restarts=0)
        desk.assert_finished(desk.bench.said_with("submitted as job ", f"log-{task}").rpartition(" ")[2])
        desk.bench.assert_counted(200, f"out-{task}.txt")
    assert len(jobs_in(desk.bench.jobs)) == 2


def test_the_tasks_of_a_chain_continue_one_job_until_it_has_finished(desk: Desk) -> None:
    """Without requeues: each task takes over where the one before was stopped, and those left over run nothing."""
    script = desk.script(f"{desk.run} --array-chain --stdout out.txt {desk.counting(100)}")
    array = desk.submit(script, "--array=1-4%1", "--output=log-%a", "--no-requeue")
    desk.bench.wait_steps(30)
    assert desk.type(f"dmtcp-ctl stop {desk.bench.job.name}").returncode == 0
    desk.assert_finished(f"{array}_1", status=85, restarts=0)
    assert f"the next task of array {array} continues the job" in desk.bench.said("log-1")
    desk.assert_finished(f"{array}_4", restarts=0)
    assert "finished with status 0 in an earlier run" in desk.bench.said("log-4")
    assert [desk.bench.events.count(event) for event in ("started", "resumed", "finished")] == [1, 1, 1]
    desk.bench.assert_counted(100)
    desk.bench.assert_done_once(100)
    # the same script, submitted again after the end, runs the program anew
    again = desk.submit(script, "--array=1", "--output=log-again")
    desk.bench.wait_said("started with", name="log-again")
    desk.cluster.scancel(again)


def test_a_chain_of_tasks_may_be_requeued_too_and_each_ends_with_the_programs_status(desk: Desk) -> None:
    desk.need_control_groups()
    script = desk.script(f"exec {desk.run} --array-chain --stdout out.txt {desk.counting(100, status=3)}")
    array = desk.submit(script, "--array=1-2%1", "--output=log-%a")
    desk.bench.wait_steps(30)
    desk.cluster.scancel(f"{array}_1", "--signal=USR1", "--batch")
    for task in (1, 2):
        desk.assert_finished(f"{array}_{task}", status=3)
    assert desk.cluster.show(f"{array}_1")["Restarts"] == "1"
    assert [desk.bench.events.count(event) for event in ("started", "resumed", "finished")] == [1, 1, 1]
    desk.bench.assert_counted(100)
    desk.bench.assert_done_once(100)


def test_a_chain_starts_over_once_and_goes_on_after_a_task_that_was_killed(desk: Desk) -> None:
    """``--fresh`` is for the first task; a task that was killed leaves what it had committed to the next one."""
    line = f"{desk.run} --array-chain -i 2 --stdout out.txt"
    program = desk.counting(100)
    before = desk.submit(desk.script(f"{line} {program}"), "--array=1")
    desk.bench.wait_generation(1)
    desk.cluster.scancel(before, "--signal=KILL")
    desk.cluster.wait(before, "CANCELLED", "FAILED")
    array = desk.submit(desk.script(f"{line} --fresh {program}", name="fresh.sh"), "--array=1-3%1", "--output=log-%a")
    desk.bench.wait_said("committed", name="log-1")
    desk.cluster.scancel(f"{array}_1", "--signal=KILL")
    for task in (2, 3):
        desk.assert_finished(f"{array}_{task}")
    assert "(--fresh)" in desk.bench.said_with("started with", "log-1")
    assert "finished with status 0 in an earlier run" in desk.bench.said("log-3")
    assert [desk.bench.events.count(event) for event in ("started", "resumed", "finished")] == [2, 1, 1]
    desk.bench.assert_counted(100)


def test_a_script_that_is_submitted_again_while_it_runs_is_not_needed(desk: Desk) -> None:
    script = desk.script(f"{desk.run} -i 2 --stdout out.txt {desk.counting(60)}")
    first = desk.submit(script, "--output=log-1")
    desk.bench.wait_generation(1)
    second = desk.submit(script, "--output=log-2")
    assert desk.cluster.exit_status(second) == (11, 0)
    assert f"batch job {first} runs it, so this one was not needed: nothing was started" in desk.bench.said("log-2")
    assert "for a second run beside it, use --job NAME" in desk.bench.said("log-2")
    desk.assert_finished(first)
    desk.bench.assert_counted(60)


def test_a_chain_of_tasks_side_by_side_is_refused(desk: Desk) -> None:
    line = f"{desk.run} --array-chain --stdout out.txt {desk.counting(60)}"
    array = desk.submit(desk.script(line), "--array=1-2", "--output=log-%a")
    statuses = sorted(desk.cluster.exit_status(f"{array}_{task}") for task in (1, 2))
    assert statuses == [(0, 0), (11, 0)]
    assert "--array=1-10%1" in desk.bench.said("log-1") + desk.bench.said("log-2")
    desk.bench.assert_counted(60)


def test_images_are_staged_on_a_disk_of_the_node_and_nothing_is_left_there(
    any_user_cluster: Cluster, one_engine: EngineHere
) -> None:
    desk = Desk(any_user_cluster, one_engine)
    with folder_on_another_file_system(desk) as disk:
        line = f"exec {desk.run} --stage-local {disk} --interval 3 --stdout out.txt {desk.counting(100)}"
        job = desk.submit(desk.script(line))
        desk.bench.wait_generation(1)
        assert list(disk.iterdir())
        node = desk.cluster.node_of(job)
        desk.cluster.scontrol("update", f"NodeName={node}", "State=DRAIN", "Reason=test")
        desk.cluster.scancel(job, "--signal=USR1", "--batch")
        desk.cluster.wait(job, "PENDING")
        assert not list(disk.iterdir())
        assert desk.bench.generations
        desk.assert_finished(job, restarts=1)
        assert not list(disk.iterdir())
        desk.cluster.scontrol("update", f"NodeName={node}", "State=RESUME")
    desk.bench.assert_counted(100)
    desk.bench.assert_done_once(100)


def test_the_jobs_may_lie_on_another_file_system_than_the_home_directory(
    any_user_cluster: Cluster, one_engine: EngineHere
) -> None:
    desk = Desk(any_user_cluster, one_engine)
    with folder_on_another_file_system(desk) as jobs:
        line = f"exec {desk.run} --dir {jobs} --stdout out.txt {desk.counting(80)}"
        job = desk.submit(desk.script(line))
        desk.bench.wait_steps(30)
        desk.cluster.scancel(job, "--signal=USR1", "--batch")
        desk.assert_finished(job, restarts=1)
        assert subprocess.run(["ls", jobs], capture_output=True, text=True, check=True, timeout=9).stdout
    desk.bench.assert_counted(80)
    desk.bench.assert_done_once(80)
