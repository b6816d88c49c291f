"""An MPI job in a batch job, on a node that Slurm calls by another name than its host has."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from harness import LONG_S, REPOSITORY
from slurm.desk import Desk

from dmtcp_py.native import built

if TYPE_CHECKING:
    from harness import EngineHere
    from slurm.cluster import Cluster

STATUS = 3
STEPS = "60"
pytestmark = pytest.mark.skipif(built("openmpi") is None, reason="there was no compiler at the installation")


@pytest.mark.parametrize("mpi", ["openmpi", "mpich"])
def test_an_mpi_job_is_requeued_and_finishes(cluster: Cluster, one_engine: EngineHere, mpi: str) -> None:
    """Both would have Slurm start the processes on a node whose name is not its host's, where no engine sees them."""
    if shutil.which(f"mpicc.{mpi}") is None:
        pytest.skip(f"there is no mpicc.{mpi} on this machine")
    desk = Desk(cluster, one_engine)
    ring = desk.folder / "ring"
    compiler = f"mpicc.{mpi}"
    subprocess.run([compiler, "-O1", "-o", ring, REPOSITORY / "examples" / "ring.c"], check=True, timeout=LONG_S)
    mpirun = f"mpirun.{mpi} -n 2 {ring} {STEPS} {STATUS}"
    as_root = ["export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"]
    script = desk.script(*as_root, f"{desk.run} -i 2 --stdout out.txt {mpirun}", options=["--ntasks=2"])
    job = desk.submit(script)
    desk.wait_generation(1)
    cluster.requeue(job)
    desk.assert_finished(job, status=STATUS, restarts=1)
    assert desk.events.count("resumed") == 1
    plain = desk.type(f"{as_root[0]}; {mpirun}")
    assert plain.returncode == STATUS
    assert desk.said("out.txt") == plain.stdout
