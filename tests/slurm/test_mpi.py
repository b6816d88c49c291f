"""An MPI job in a batch job, on a node that Slurm calls by another name than its host has."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import psutil
import pytest

from dmtcp_py.native import built
from kit.desk import Desk
from kit.places import REPOSITORY, WITHOUT
from kit.waits import LONG_S

if TYPE_CHECKING:
    from pathlib import Path

    from kit.cluster import Cluster
    from kit.engines import EngineHere

STATUS = 3
STEPS = "60"
AS_ROOT = "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"
pytestmark = pytest.mark.skipif(built("openmpi") is None, reason="there was no compiler at the installation")


@pytest.mark.parametrize("mpi", ["openmpi", "mpich"])
def test_an_mpi_job_is_requeued_and_finishes(cluster: Cluster, one_of_each: EngineHere, mpi: str) -> None:
    """Both would have Slurm start the processes on a node whose name is not its host's, where no engine sees them."""
    desk = Desk(cluster, one_of_each)
    mpirun = f"mpirun.{mpi} -n 2 {_ring(desk, mpi)} {STEPS} {STATUS}"
    script = desk.script(AS_ROOT, f"{desk.run} -i 2 --stdout out.txt {mpirun}", options=["--ntasks=2"])
    job = desk.submit(script)
    desk.bench.wait_generation(1)
    cluster.requeue(job)
    desk.assert_finished(job, status=STATUS, restarts=1)
    assert desk.bench.events.count("resumed") == 1
    plain = desk.type(f"{AS_ROOT}; {mpirun}")
    assert plain.returncode == STATUS
    assert desk.bench.said("out.txt") == plain.stdout


@pytest.mark.parametrize(("mpi", "setting"), [("openmpi", "OMPI_MCA_ras"), ("mpich", "HYDRA_LAUNCHER=fork")])
def test_without_its_setting_mpirun_has_slurm_start_the_processes(
    cluster: Cluster, one_of_each: EngineHere, mpi: str, setting: str
) -> None:
    """Where this one fails the setting can go."""
    desk = Desk(cluster, one_of_each)
    line = f"{_without(setting, one_of_each)} -i 1 mpirun.{mpi} -n 2 {_ring(desk, mpi)} {STEPS}"
    job = desk.submit(desk.script(AS_ROOT, line, options=["--ntasks=2"]))
    desk.assert_finished(job, status=125)
    assert "(srun) has the scheduler's daemons start the program's processes" in desk.bench.said()


def test_without_its_setting_mpirun_does_not_know_how_many_tasks_the_job_has(
    cluster: Cluster, one_of_each: EngineHere
) -> None:
    """Where the second count is right too the setting can go."""
    desk = Desk(cluster, one_of_each)
    _ring(desk, "openmpi")
    tasks = 2 if psutil.cpu_count(logical=False) == 3 else 3
    setting = "OMPI_MCA_orte_set_default_slots"
    for number, run in enumerate([f"{desk.run} --engine {one_of_each.name}", _without(setting, one_of_each)]):
        script = desk.script(AS_ROOT, f"{run} -i 0 --stdout count{number} mpirun.openmpi echo rank")
        desk.assert_finished(desk.submit(script, f"--ntasks={tasks}"))
    assert desk.bench.said("count0").count("rank") == tasks
    assert desk.bench.said("count1").count("rank") != tasks


def _ring(desk: Desk, mpi: str) -> Path:
    """Return the ring compiled for MPI; skip where that is not here."""
    compiler = f"mpicc.{mpi}"
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler} on this machine")
    ring = desk.folder / "ring"
    subprocess.run([compiler, "-O1", "-o", ring, REPOSITORY / "examples" / "ring.c"], check=True, timeout=LONG_S)
    return ring


def _without(setting: str, engine: EngineHere) -> str:
    return shlex.join([*WITHOUT, setting, "--engine", engine.name])
