"""What follows the last checkpoint: a requeue, a resubmission, or a line that says why not and what to type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kit.desk import Desk
from kit.long_form import NO_LONG_TESTS
from kit.waits import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from kit.cluster import Cluster
    from kit.engines import EngineHere

SOON = "--lead=50"
"""Under a limit of a minute: the last checkpoint is taken after ten seconds, starting the program included."""
AT_ONCE = "--lead=60"
"""Under a limit of a minute: there is no time for anything."""
GO_ON = "to continue, run: "


@pytest.fixture
def desk(cluster: Cluster, one_engine: EngineHere) -> Desk:
    """Give a directory of the user who runs the tests."""
    return Desk(cluster, one_engine)


def type_the_line(desk: Desk, text: str) -> str:
    """Type what dmtcp-run says, in another folder, and return the id of the job that comes of it."""
    elsewhere = desk.folder.parent
    done = desk.cluster.run("bash", "-c", text.partition(GO_ON)[2], cwd=elsewhere, env=desk.environ)
    assert done.returncode == 0, f"{text}: {done.stderr}"
    return done.stdout.strip().partition(";")[0]


def test_a_job_that_may_not_be_requeued_says_so_with_a_line_that_finishes_it(desk: Desk) -> None:
    script = desk.script(f"{desk.run} {SOON} --stdout out.txt {desk.counting(105)}", options=["--time=1"])
    job = desk.submit(script, "--no-requeue")
    desk.assert_finished(job, status=85, restarts=0)
    again = type_the_line(desk, desk.bench.said_with("not requeued: the job was submitted with --no-requeue"))
    desk.assert_finished(again)
    desk.bench.assert_counted(105)
    desk.bench.assert_done_once(105)


def test_the_line_needs_neither_the_script_nor_what_was_typed_with_it(desk: Desk) -> None:
    script = desk.write(
        "a script.sh",
        f'#!/bin/bash\necho "$# $1 $2 in $PWD"\n{desk.run} {SOON} --stdout out.txt {desk.counting(105, status=4)}\n',
    )
    desk.write("some where/else.txt", "")
    options = [
        "--no-requeue",
        "--time=1",
        "--mem=100",
        "--exclusive",
        "--nice=3",
        "--job-name=a name",
        f"--chdir={desk.folder}",
    ]
    options += [f"--output={desk.folder}/the log", "--open-mode=append"]
    words = ["--parsable", *options, str(script), "a  b", "it's $HOME"]
    job = desk.cluster.call("sbatch", *words, cwd=desk.folder / "some where", env=desk.environ).strip()
    desk.bench.wait_steps(1)
    script.unlink()
    desk.assert_finished(job, status=85)
    again = type_the_line(desk, desk.bench.said_with(GO_ON, "the log"))
    desk.assert_finished(again, status=4)
    desk.bench.assert_counted(105)
    desk.bench.assert_done_once(105)
    assert desk.bench.said("the log").count(f"2 a  b it's $HOME in {desk.folder}\n") == 2
    first, second = desk.cluster.show(job), desk.cluster.show(again)
    keys = ["JobName", "TimeLimit", "MinMemoryNode", "OverSubscribe", "Nice", "WorkDir", "StdOut", "Requeue", "NumCPUs"]
    assert [second[key] for key in keys] == [first[key] for key in keys]


def test_the_same_script_is_submitted_again_where_that_is_wanted(desk: Desk) -> None:
    line = f"{desk.run} {SOON} --at-limit resubmit --stdout out.txt {desk.counting(105, status=6)}"
    job = desk.submit(desk.script(line, options=["--time=1"]), "--no-requeue")
    desk.assert_finished(job, status=85, restarts=0)
    again = desk.bench.said_with("submitted as job ").rpartition(" ")[2]
    desk.assert_finished(again, status=6)
    desk.bench.assert_counted(105)
    desk.bench.assert_done_once(105)
    assert "requeueing" not in desk.bench.said()


def test_a_job_that_shall_only_exit_does_so_and_a_dependent_one_never_starts(desk: Desk) -> None:
    line = f"{desk.run} {SOON} --at-limit exit --stdout out.txt {desk.counting(105)}"
    job = desk.submit(desk.script(line, options=["--time=1"]))
    after = desk.submit("#!/bin/sh\n", f"--dependency=afterok:{job}")
    desk.assert_finished(job, status=85, restarts=0)
    desk.bench.said_with("not requeued: --at-limit exit")
    wait_until(lambda: desk.cluster.show(after)["Reason"] == "DependencyNeverSatisfied")
    assert desk.cluster.state(after) == "PENDING"


def test_a_dependent_job_starts_when_the_program_has_finished_and_not_before(desk: Desk) -> None:
    script = desk.script(f"{desk.run} {SOON} --stdout out.txt {desk.counting(105)}", options=["--time=1"])
    job = desk.submit(script)
    after = desk.submit("#!/bin/sh\ntail -n 1 out.txt\n", f"--dependency=afterok:{job}", "--output=after")
    desk.bench.wait_said("requeueing")
    desk.cluster.wait(job, "PENDING")
    assert desk.cluster.state(after) == "PENDING"
    desk.assert_finished(job, restarts=1)
    desk.assert_finished(after)
    assert desk.bench.said("after").startswith("done 105 ")


def test_a_job_that_depends_on_a_cancelled_one_never_starts(desk: Desk) -> None:
    job = desk.submit(desk.script(f"exec {desk.run} --stdout out.txt {desk.counting(600)}"))
    after = desk.submit("#!/bin/sh\n", f"--dependency=afterok:{job}")
    desk.bench.wait_steps(1)
    desk.cluster.scancel(job)
    assert desk.cluster.wait_ended(job)["JobState"] == "CANCELLED"
    wait_until(lambda: desk.cluster.show(after)["Reason"] == "DependencyNeverSatisfied")


def test_what_has_finished_before_the_requeue_is_not_run_again(desk: Desk) -> None:
    script = desk.script(
        f"{desk.run} --job first --stdout first.txt {desk.counting(20)}",
        f"{desk.run} --job second --lead 48 --stdout out.txt {desk.counting(140, status=2)}",
        options=["--time=1"],
    )
    job = desk.submit(script)
    desk.assert_finished(job, status=2, restarts=1)
    desk.bench.assert_counted(20, "first.txt")
    desk.bench.assert_counted(140)
    ledger = (desk.folder / "ledger.txt").read_text().split()
    assert ledger == [str(step) for count in (20, 140) for step in range(1, count + 1)]
    desk.bench.said_with("finished with status 0 in an earlier run of this batch job")


def test_the_line_does_not_run_again_what_has_finished(desk: Desk) -> None:
    script = desk.script(
        f"{desk.run} --job first --stdout first.txt {desk.counting(10)}",
        f"{desk.run} --job second {SOON} --stdout out.txt {desk.counting(105, status=2)}",
        options=["--time=1", "--no-requeue"],
    )
    job = desk.submit(script)
    desk.assert_finished(job, status=85)
    desk.assert_finished(type_the_line(desk, desk.bench.said_with(GO_ON)), status=2)
    desk.bench.assert_counted(105)
    ledger = (desk.folder / "ledger.txt").read_text().split()
    assert ledger == [str(step) for count in (10, 105) for step in range(1, count + 1)]


@pytest.mark.parametrize("option", ["", "--at-limit exit"])
def test_a_site_that_requeues_by_the_exit_status_does_it_once(
    make_cluster: Callable[..., Cluster], one_engine: EngineHere, option: str
) -> None:
    desk = Desk(make_cluster(size=1, options={"RequeueExit": "85"}), one_engine)
    line = f"{desk.run} {SOON} {option} --stdout out.txt {desk.counting(105, status=3)}"
    job = desk.submit(desk.script(line, options=["--time=1"]))
    desk.assert_finished(job, status=3, restarts=1)
    desk.bench.assert_counted(105)
    desk.bench.assert_done_once(105)


@pytest.mark.parametrize("option", ["", "--at-limit exit"])
def test_a_job_that_makes_no_progress_ends_after_three_attempts_even_where_the_site_requeues_it(
    make_cluster: Callable[..., Cluster], one_engine: EngineHere, option: str
) -> None:
    desk = Desk(make_cluster(size=1, options={"RequeueExit": "85"}), one_engine)
    line = f"{desk.run} {AT_ONCE} {option} --stdout out.txt {desk.counting(105)}"
    job = desk.submit(desk.script(line, options=["--time=1"]))
    desk.assert_finished(job, status=125, restarts=2)
    desk.bench.said_with("not requeued: 3 attempts in a row made no progress: the time limit may be too short")


@pytest.mark.parametrize("is_back", [True, pytest.param(False, marks=NO_LONG_TESTS)])
@pytest.mark.timeout(900)
def test_a_controller_that_is_away_at_the_limit_is_waited_for_and_then_there_is_a_line_to_type(
    make_cluster: Callable[..., Cluster], one_engine: EngineHere, *, is_back: bool
) -> None:
    desk = Desk(make_cluster(size=1, options={"MessageTimeout": "2"}), one_engine)
    script = desk.script(f"{desk.run} {SOON} --stdout out.txt {desk.counting(105)}", options=["--time=1"])
    job = desk.submit(script)
    desk.bench.wait_steps(20)
    desk.cluster.stop_controller()
    desk.bench.wait_said("retrying for 5:00")
    assert len(desk.bench.generations) == 1
    if not is_back:
        wait_until(lambda: "not requeued: Slurm does not answer" in desk.bench.said(), 500)
    desk.cluster.start_controller()
    if not is_back:
        assert desk.cluster.exit_status(job) == (85, 0)
        type_the_line(desk, desk.bench.said_with("not requeued: "))
    desk.assert_finished(job, restarts=1)
    desk.bench.assert_counted(105)
    desk.bench.assert_done_once(105)
