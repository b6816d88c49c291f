"""What the environment says of the batch job around us."""

from __future__ import annotations

import pytest

from dmtcp_py.batch.allocation import Allocation, chain_array, detect
from dmtcp_py.errors import UsageError

PLAIN = {"PATH": "/usr/bin", "HOME": "/home/me", "USER": "me"}


def test_outside_a_batch_job_there_is_none() -> None:
    assert detect(PLAIN) == Allocation(scheduler=None, job_id=None, array_task=None, checkpointed_status=85)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        # sbatch(1), OUTPUT ENVIRONMENT VARIABLES
        ({"SLURM_JOB_ID": "4711"}, Allocation("slurm", "4711")),
        (
            {"SLURM_JOB_ID": "4713", "SLURM_ARRAY_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": "3"},
            Allocation("slurm", "4713", "3", array="4711"),
        ),
        ({"SLURM_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": "0"}, Allocation("slurm", "4711", "0")),
        # qsub(1B) of PBS Professional and of Torque
        ({"PBS_JOBID": "12.server"}, Allocation("pbs", "12.server")),
        ({"PBS_JOBID": "12[3].server", "PBS_ARRAY_INDEX": "3"}, Allocation("pbs", "12[3].server", "3")),
        (
            {"PBS_JOBID": "12[3].server", "PBS_ARRAY_INDEX": "3", "PBS_ARRAY_ID": "12[].server"},
            Allocation("pbs", "12[3].server", "3", array="12[].server"),
        ),
        (
            {"PBS_JOBID": "12[3].server", "PBS_ARRAYID": "3", "PBS_VERSION": "TORQUE-6.1.2"},
            Allocation("torque", "12[3].server", "3"),
        ),
        # bsub: LSB_JOBINDEX is 0 outside an array
        ({"LSB_JOBID": "88", "LSB_JOBINDEX": "0"}, Allocation("lsf", "88")),
        ({"LSB_JOBID": "88"}, Allocation("lsf", "88")),
        ({"LSB_JOBID": "88", "LSB_JOBINDEX": "5"}, Allocation("lsf", "88[5]", "5", array="88")),
        # qsub(1) of Grid Engine: SGE_TASK_ID is 'undefined' outside an array, and 99 asks for a requeue
        ({"JOB_ID": "77", "SGE_TASK_ID": "undefined"}, Allocation("gridengine", "77", None, 99)),
        (
            {"JOB_ID": "77", "SGE_TASK_ID": "undefined", "RESTARTED": "1"},
            Allocation("gridengine", "77", None, 99, restarts=1),
        ),
        ({"JOB_ID": "77", "SGE_TASK_ID": "4"}, Allocation("gridengine", "77.4", "4", 99, array="77")),
    ],
)
def test_each_scheduler_is_known_by_its_environment(environ: dict[str, str], expected: Allocation) -> None:
    assert detect({**PLAIN, **environ}) == expected


@pytest.mark.parametrize(
    "environ",
    [
        {"JOB_ID": "77"},
        {"SGE_TASK_ID": "4"},
        {"SLURM_ARRAY_TASK_ID": "3"},
        {"PBS_ARRAY_INDEX": "3"},
        {"LSB_JOBINDEX": "5"},
        {"SLURM_CONF": "/etc/slurm.conf", "PBS_HOME": "/var", "LSB_CONFDIR": "/etc"},
    ],
)
def test_a_variable_that_may_be_anybodys_is_no_batch_job(environ: dict[str, str]) -> None:
    assert detect({**PLAIN, **environ}) == Allocation()


@pytest.mark.parametrize("name", ["SLURM_ARRAY_TASK_ID", "PBS_ARRAY_INDEX", "LSB_JOBINDEX"])
def test_an_empty_array_task_is_none(name: str) -> None:
    job = {"SLURM_ARRAY_TASK_ID": "SLURM_JOB_ID", "PBS_ARRAY_INDEX": "PBS_JOBID", "LSB_JOBINDEX": "LSB_JOBID"}[name]
    assert detect({job: "1", name: ""}).array_task is None


def test_the_tasks_of_a_linked_array_are_one_chain_that_begins_with_the_array() -> None:
    tasks = [Allocation("slurm", job_id, task, array="4711") for job_id, task in (("4712", "1"), ("4711", "2"))]
    links = [chain_array(task) for task in tasks]
    assert {one.array_task for one in links} == {None}
    assert {one.origin for one in links} == {"4711"}
    assert {one.run for one in links} == {"4712.0", "4711.0"}
    assert {one.origin for one in tasks} == {"4712", "4711"}


def test_outside_an_array_there_is_nothing_to_link() -> None:
    assert chain_array(Allocation("slurm", "4711")) == Allocation("slurm", "4711")
    assert chain_array(Allocation()) == Allocation()


def test_an_array_that_the_scheduler_does_not_name_is_not_linked() -> None:
    with pytest.raises(UsageError, match="--array-chain: pbs does not say"):
        chain_array(detect({"PBS_JOBID": "12[3].server", "PBS_ARRAY_INDEX": "3"}))
