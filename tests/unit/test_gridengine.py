"""What Grid Engine prints, as dmtcp-run reads it; tests/schedulers/ has the real one."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from dmtcp_py.batch.gridengine import _job, _of_host, _seconds, _state
from dmtcp_py.batch.scheduler import BatchState

# qstat -u me -r -g d -xml of 8.1.9, with TZ=UTC
TASK = """<job_list state="running">
      <JB_job_number>3</JB_job_number>
      <JAT_prio>0.50000</JAT_prio>
      <JB_name>k.sh</JB_name>
      <JB_owner>me</JB_owner>
      <state>r</state>
      <JAT_start_time>2026-11-30T02:19:42</JAT_start_time>
      <queue_name>all.q@localhost</queue_name>
      <slots>1</slots>
      <tasks>2</tasks>
      <full_job_name>k.sh</full_job_name>
      <master_queue>all.q@localhost</master_queue>
      <hard_request name="h_rt" resource_contribution="0.000000">100</hard_request>
      <hard_request name="s_rt" resource_contribution="0.000000">90</hard_request>
      <binding>NONE</binding>
    </job_list>"""


def test_an_array_task_ends_when_the_smaller_limit_after_its_start_comes() -> None:
    job = _job(ET.fromstring(TASK))
    assert (job.job_id, job.array, job.array_task, job.state) == ("3.2", "3", "2", BatchState.RUNNING)
    assert job.starts == 1796005182
    assert job.ends == job.starts + 90
    assert job.restarts is None


@pytest.mark.parametrize(
    ("letters", "state"),
    [
        ("qw", BatchState.WAITING),
        ("hqw", BatchState.WAITING),
        ("Rq", BatchState.WAITING),
        ("Eqw", BatchState.WAITING),
        ("r", BatchState.RUNNING),
        ("Rr", BatchState.RUNNING),
        ("t", BatchState.RUNNING),
        ("hr", BatchState.RUNNING),
        ("s", BatchState.SUSPENDED),
        ("Ts", BatchState.SUSPENDED),
        ("dr", BatchState.CANCELLED),
        ("dRr", BatchState.CANCELLED),
    ],
)
def test_letters_of_a_state_that_stand_together_have_an_order(letters: str, state: BatchState) -> None:
    assert _state(letters) is state


@pytest.mark.parametrize(
    ("text", "host", "seconds"),
    [
        ("24:00:00", "node1", 86400),
        ("24:00:00,[node1=48:00:00],[@big=96:00:00]", "node1", 172800),
        ("24:00:00,[node1=48:00:00],[@big=96:00:00]", "node11", 86400),
        ("3600", "node1", 3600),
        (":30:", "node1", 1800),
        ("INFINITY", "node1", None),
        ("INFINITY,[node1=1:0:0]", "node1", 3600),
    ],
)
def test_the_limit_of_a_queue_may_be_another_one_on_this_host(text: str, host: str, seconds: float | None) -> None:
    assert _seconds(_of_host(text, host)) == seconds
