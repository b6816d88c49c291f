"""The private Slurm cluster that the other tests rest on does what they take for granted."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from kit.cluster import parse, why_not
from kit.places import REPOSITORY, RUN
from kit.processes import descendants, is_alive
from kit.waits import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kit.cluster import Cluster

SLEEP = "#!/bin/sh\nexec sleep 300\n"


def test_a_job_runs_and_its_status_and_output_are_known(any_user_cluster: Cluster) -> None:
    script = f"#!/bin/sh\nid -un\n{RUN} --help >/dev/null && exit 3\n"
    job = any_user_cluster.sbatch(script, "--output=out.txt", "--job-name=a name")
    assert any_user_cluster.exit_status(job) == (3, 0)
    shown = any_user_cluster.show(job)
    assert (shown["JobState"], shown["JobName"]) == ("FAILED", "a name")
    assert (any_user_cluster.home / "out.txt").read_text().split() == [any_user_cluster.account.pw_name]


def test_a_requeued_job_runs_again_under_its_id(any_user_cluster: Cluster) -> None:
    script = '#!/bin/sh\n[ "$SLURM_RESTART_COUNT" ] && exit 0\nexec sleep 300\n'
    job = any_user_cluster.sbatch(script)
    any_user_cluster.wait(job, "RUNNING")
    any_user_cluster.requeue(job)
    assert any_user_cluster.exit_status(job) == (0, 0)
    assert any_user_cluster.show(job)["Restarts"] == "1"


def test_a_job_of_a_higher_partition_preempts_one_of_a_lower(cluster: Cluster) -> None:
    low = cluster.sbatch(SLEEP, "--nodes=2", "--exclusive")
    cluster.wait(low, "RUNNING")
    high = cluster.sbatch("#!/bin/sh\n", "--partition=high")
    cluster.wait(high, "COMPLETED")
    assert cluster.show(low)["Restarts"] == "1"


def test_a_job_outlives_its_slurmd_but_not_its_node(any_user_cluster: Cluster) -> None:
    cluster = any_user_cluster
    job = cluster.sbatch("#!/bin/sh\necho $$ >>pids\nexec sleep 300\n")
    cluster.wait(job, "RUNNING")
    pids = cluster.home / "pids"
    wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"))
    pid, node = int(pids.read_text()), cluster.node_of(job)
    cluster.kill_node(node)
    assert psutil.pid_exists(pid)
    cluster.start_node(node)
    assert cluster.state(job) == "RUNNING"
    cluster.crash_node(node)
    assert not psutil.pid_exists(pid)
    cluster.wait(job, "RUNNING")
    assert cluster.show(job)["Restarts"] == "1"
    cluster.start_node(node)


def test_a_node_can_crash_while_its_job_is_suspended(cluster: Cluster) -> None:
    job = cluster.sbatch(SLEEP)
    cluster.wait(job, "RUNNING")
    cluster.scontrol("suspend", job)
    cluster.wait(job, "SUSPENDED")
    cluster.crash_node(cluster.node_of(job))
    # Slurm holds it then
    assert cluster.wait(job, "PENDING")["Restarts"] == "1"


def test_a_job_outlives_the_controller(any_user_cluster: Cluster) -> None:
    job = any_user_cluster.sbatch(SLEEP)
    any_user_cluster.wait(job, "RUNNING")
    any_user_cluster.stop_controller()
    any_user_cluster.start_controller()
    assert any_user_cluster.state(job) == "RUNNING"


def test_two_clusters_with_options_of_their_own_live_side_by_side(make_cluster: Callable[..., Cluster]) -> None:
    first = make_cluster(size=1, options={"RequeueExit": "85", "JobRequeue": ""})
    second = make_cluster(size=1, partitions={"only": "Default=YES"})
    jobs = [one.sbatch("#!/bin/sh\nexit ${SLURM_RESTART_COUNT:-85}\n") for one in (first, second)]
    assert second.exit_status(jobs[1]) == (85, 0)
    assert first.exit_status(jobs[0]) == (1, 0)
    assert second.show(jobs[1])["Partition"] == "only"


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_nothing_is_left_when_the_tests_are_killed(short_folder: Path) -> None:
    script = short_folder / "killed.py"
    script.write_text(
        "import pathlib, sys, time\nfrom kit.cluster import Cluster\n"
        "cluster = Cluster(pathlib.Path(sys.argv[1]), size=1)\ncluster.start()\n"
        "cluster.sbatch('#!/bin/sh\\nsetsid sleep 301 & exec sleep 302')\n"
        "time.sleep(300)\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")}
    with subprocess.Popen([sys.executable, script, short_folder], env=environ) as process:
        try:
            wait_until(lambda: [one.name() for one in descendants(process.pid)].count("sleep") == 2, 20)
            below = descendants(process.pid)
            assert {"slurmctld", "slurmd", "munged"} <= {one.name() for one in below}
        finally:
            process.kill()
    wait_until(lambda: not any(map(is_alive, below)), 20)


@pytest.mark.parametrize(
    ("record", "fields"),
    [
        ("JobId=1 JobName=a B=c d\n   Command=/x y  Z=1", {"JobId": "1", "JobName": "a B=c d", "Command": "/x y  Z=1"}),
        ("   TRES=cpu=1,node=1 CPUs/Task=1 Power=\n", {"TRES": "cpu=1,node=1", "CPUs/Task": "1", "Power": ""}),
        (
            "   JobState=RUNNING Reason=None Dependency=(null)",
            {"JobState": "RUNNING", "Reason": "None", "Dependency": "(null)"},
        ),
    ],
)
def test_fields_of_a_record_may_hold_spaces_and_equal_signs(record: str, fields: dict[str, str]) -> None:
    assert parse(record) == fields
