"""What Slurm's commands print, as it was captured from 22.05.8, and what is read in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dmtcp_py.batch.chain import _claim
from dmtcp_py.batch.scheduler import BatchJob, BatchState
from dmtcp_py.batch.slurm import _is_in_range, _job, _job_fields, _options
from dmtcp_py.store.layout import chain_path

if TYPE_CHECKING:
    from pathlib import Path

SHOWN = """JobId=2 JobName=a Nice=5 name
   UserId=me(1000) GroupId=me(1000) MCS_label=N/A
   Priority=0 Nice=0 Account=(null) QOS=(null)
   Requeue=1 Restarts=0 BatchFlag=1 Reboot=0 ExitCode=0:0
   RunTime=00:00:00 TimeLimit=00:01:00 TimeMin=N/A
   ReqNodeList=(null) ExcNodeList=(null)
   NodeList=
   NumNodes=1 NumCPUs=1 NumTasks=1 CPUs/Task=1 ReqB:S:C:T=0:0:*:*
   TRES=cpu=1,mem=4000M,node=1,billing=1
   Socks/Node=* NtasksPerN:B:S:C=0:0:*:* CoreSpec=*
   MinCPUsNode=1 MinMemoryNode=0 MinTmpDiskNode=0
   Features=(null) DelayBoot=00:00:00
   OverSubscribe=OK Contiguous=0 Licenses=(null) Network=(null)
   Command=/home/me/a b.sh x  Nice=7
   WorkDir=/home/me
   StdErr=
   StdIn=/dev/null
   StdOut=/home/me/a log
   Power=

"""
USUAL = ["--job-name=a Nice=5 name", "--time=00:01:00", "--nodes=1", "--ntasks=1", "--cpus-per-task=1", "--mem=0"]
USUAL += ["--chdir=/home/me", "--input=/dev/null", "--output=/home/me/a log"]


def test_a_job_is_submitted_again_with_what_differs_from_the_usual() -> None:
    assert _options(_job_fields(SHOWN)) == USUAL


@pytest.mark.parametrize(
    ("printed", "asked"),
    [
        ("TresPerNode=gres:gpu:2", "--gres=gres:gpu:2"),
        ("TresPerJob=gres:gpu:2", "--gpus=2"),
        ("TresPerJob=gres:gpu:a100:2", "--gpus=a100:2"),
        ("TresPerTask=gres:gpu:1", "--gpus-per-task=1"),
        ("TresPerSocket=gres:gpu:1", "--gpus-per-socket=1"),
        ("CpusPerTres=gres:gpu:2", "--cpus-per-gpu=2"),
        ("MemPerTres=gres:gpu:10", "--mem-per-gpu=10"),
        ("OverSubscribe=NO Contiguous=0", "--exclusive"),
        ("OverSubscribe=USER", "--exclusive=user"),
        ("OverSubscribe=YES", "--oversubscribe"),
        ("OverSubscribe=OK Contiguous=1", "--contiguous"),
        ("ReqNodeList=n[1-2] ExcNodeList=(null)", "--nodelist=n[1-2]"),
        ("Socks/Node=* NtasksPerN:B:S:C=2:0:*:* CoreSpec=*", "--ntasks-per-node=2"),
        ("MailUser=x@y MailType=END", "--mail-user=x@y --mail-type=END"),
        ("Priority=1 Nice=5 Account=(null)", "--nice=5"),
        ("Requeue=0 Restarts=0", "--no-requeue"),
        ("ArrayJobId=1 ArrayTaskId=3", "--array=3"),
        ("MinCPUsNode=1 MinMemoryCPU=10M MinTmpDiskNode=0", "--mem-per-cpu=10M"),
        ("Comment=a b=c", "--comment=a b=c"),
        ("RunTime=00:00:00 TimeLimit=365-00:00:00 TimeMin=N/A", ""),
        ("Power=", ""),
        ("", ""),
    ],
)
def test_what_scontrol_prints_becomes_the_option_that_asks_for_it(printed: str, asked: str) -> None:
    assert " ".join(_options(_job_fields(f"   {printed}\n"))) == asked


@pytest.mark.parametrize(
    ("line", "job"),
    [
        (
            "7|7|N/A|RUNNING|1795255000|1795254000|1|2|10:00|None|1795253000|",
            BatchJob(
                "7", BatchState.RUNNING, ends=1795255000.0, starts=1795254000.0, submitted=1795253000.0, restarts=2
            ),
        ),
        # without a limit it is UNLIMITED, or a year where the backfill scheduler has started it
        ("7|7|N/A|RUNNING|1826790000|N/A|1|0|UNLIMITED|None|N/A|", BatchJob("7", BatchState.RUNNING)),
        ("7|7|N/A|RUNNING|1826790000|N/A|1|0|365-00:00:00|None|N/A|", BatchJob("7", BatchState.RUNNING)),
        # what ends a job is known only when it has ended, but for the time limit
        (
            "7|7|N/A|COMPLETING|N/A|N/A|0|1|1:00|None|N/A|",
            BatchJob("7", BatchState.ENDED, restarts=1, can_requeue=False),
        ),
        ("7|7|N/A|COMPLETING|N/A|N/A|1|0|1:00|TimeLimit|N/A|", BatchJob("7", BatchState.TIMED_OUT, reason="TimeLimit")),
        (
            "7|7|N/A|PENDING|N/A|N/A|1|1|1:00|BeginTime|N/A|",
            BatchJob("7", BatchState.WAITING, restarts=1, reason="BeginTime"),
        ),
    ],
)
def test_a_line_of_squeue_becomes_a_job(line: str, job: BatchJob) -> None:
    assert _job(line) == job


@pytest.mark.parametrize(
    ("part", "status", "covers"),
    [
        ("85", 85, True),
        ("84", 85, False),
        ("1-99", 85, True),
        ("90-99", 85, False),
        ("(null)", 85, False),
        ("", 0, False),
    ],
)
def test_a_list_of_statuses_covers_what_it_names(part: str, status: int, covers: bool) -> None:  # noqa: FBT001
    assert _is_in_range(part, status) is covers


def test_only_the_first_job_that_comes_continues_a_chain(tmp_path: Path) -> None:
    chain_path(tmp_path, "7").write_text("3\n")
    assert _claim(tmp_path, "7", "8") == "3"
    assert _claim(tmp_path, "7", "9") is None, "a job that the continuing one submitted"
    assert _claim(tmp_path, "7", "8") == "3", "the continuing one, requeued"
    assert _claim(tmp_path, "6", "8") is None
    assert _claim(tmp_path, None, "8") is None
