"""What OpenPBS and Torque print, recorded, as dmtcp-run reads it."""

from __future__ import annotations

import pytest

from dmtcp_py.batch.pbs import Pbs, records, variables
from dmtcp_py.batch.scheduler import BatchState
from dmtcp_py.batch.torque import Torque

# qstat -f of OpenPBS 23.06.06, with TZ=UTC
SUBJOB = """Job Id: 1[2].pbs1
    Job_Name = pj.sh
    Job_Owner = root@pbs1
    job_state = R
    queue = workq
    Error_Path = pbs1:/tmp/pw/pj.sh.e1.^array_index^
    Join_Path = oe
    Keep_Files = n
    Mail_Points = a
    Output_Path = pbs1:/tmp/pw/pj.sh.o1.^array_index^
    Priority = 0
    qtime = Mon Nov 30 03:31:35 2026
    Rerunable = True
    Resource_List.ncpus = 1
    Resource_List.nodect = 1
    Resource_List.place = pack
    Resource_List.select = 1:ncpus=1
    Resource_List.walltime = 00:01:40
    stime = Mon Nov 30 03:31:40 2026
    run_count = 3
    Variable_List = PBS_O_HOME=/root,PBS_O_LANG=C.UTF-8,
\tPBS_O_PATH=/opt/openpbs/bin:/opt/openpbs/sbin:/usr/lib/postgresql/15/b
\tin,PBS_O_WORKDIR=/tmp/pw,STEPS=160
    project = _pbs_project_default

"""
# qstat -f of Torque, as its manual and its users have it
TORQUE = """Job Id: 12.server
    Job_Name = single
    job_state = R
    Join_Path = n
    Rerunable = False
    Resource_List.neednodes = 1:ppn=4
    Resource_List.nodect = 1
    Resource_List.nodes = 1:ppn=4
    Resource_List.walltime = 12:00:00
    qtime = Mon Nov 30 03:31:35 2026
    start_time = Mon Nov 30 03:31:40 2026
    Walltime.Remaining = 43000
    start_count = 2
    submit_args = -l nodes=1:ppn=4 single.sh
"""
STARTED = 1796009500.0


def test_a_long_value_goes_on_after_a_tab() -> None:
    (record,) = records(SUBJOB)
    assert variables(record)["PBS_O_PATH"] == "/opt/openpbs/bin:/opt/openpbs/sbin:/usr/lib/postgresql/15/bin"
    assert variables(record)["STEPS"] == "160"


def test_a_subjob_of_openpbs_has_its_end_its_array_and_its_restarts() -> None:
    job = Pbs()._job(records(SUBJOB)[0])
    assert (job.job_id, job.array, job.array_task, job.state) == ("1[2].pbs1", "1[].pbs1", "2", BatchState.RUNNING)
    assert (job.starts, job.ends, job.restarts, job.can_requeue) == (STARTED, STARTED + 100, 2, True)


def test_a_job_of_torque_has_the_same() -> None:
    job = Torque()._job(records(TORQUE)[0])
    assert (job.job_id, job.array_task, job.restarts, job.can_requeue) == ("12.server", None, 1, False)
    assert job.ends == STARTED + 12 * 3600


@pytest.mark.parametrize("value", ["2", ""])
def test_the_options_of_the_next_job_are_those_of_this_one_without_its_number(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PBS_ARRAY_INDEX", value)
    monkeypatch.setenv("STEPS", "160")
    task = ",PBS_ARRAY_INDEX=2" if value else ""
    words = " ".join(Pbs()._options(records(SUBJOB)[0]))
    resources = "-l place=pack -l select=1:ncpus=1 -l walltime=00:01:40"
    assert words == f"-N pj.sh -q workq -j oe {resources} -v DMTCP_RUN_CHAIN,STEPS{task}"


def test_the_options_of_torque_ask_for_nodes() -> None:
    words = " ".join(Torque()._options(records(TORQUE)[0]))
    assert words == "-N single -l nodes=1:ppn=4 -l walltime=12:00:00 -r n -v DMTCP_RUN_CHAIN"
