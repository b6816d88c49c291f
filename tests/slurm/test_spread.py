"""A computation over the nodes of an allocation: two and three hosts of their own, with a real Slurm on them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from harness import LONG_S, REPOSITORY, EngineHere
from hosts import Hosts, why_not
from slurm.cluster import Cluster
from slurm.cluster import why_not as why_no_slurm
from slurm.desk import Desk

if TYPE_CHECKING:
    from collections.abc import Iterator

_TMP = Path(tempfile.gettempdir())


@pytest.fixture(scope="module")
def _spread_cluster() -> Iterator[Cluster]:
    """Start a cluster of three nodes, each with a network, a host name, /tmp and /dev/shm of its own."""
    if reason := why_no_slurm() or why_not():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    shared = [path for path in (REPOSITORY, Path(sys.prefix)) if path.is_relative_to(_TMP)]
    with Hosts(3, folder, shared=shared, prefix=f"n{os.getpid()}x") as hosts:
        cluster = Cluster(folder, size=3, hosts=hosts)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.close()
    shutil.rmtree(folder)


@pytest.fixture
def desk(_spread_cluster: Cluster, engine: EngineHere) -> Iterator[Desk]:
    """Give a desk for each DMTCP."""
    if engine.name != "dmtcp":
        pytest.skip("only DMTCP takes several nodes")
    yield Desk(_spread_cluster, engine)
    left = _spread_cluster.cancel_all()
    assert not left, f"jobs left processes behind: {left}"


def reference(desk: Desk, *words: str | Path) -> bytes:
    """Return what WORDS print when nothing happens to them."""
    done = subprocess.run(list(map(str, words)), cwd=desk.folder, capture_output=True, timeout=LONG_S, check=True)
    return done.stdout


def test_mpirun_over_two_nodes_goes_on_on_others(desk: Desk, examples: Path) -> None:
    if shutil.which("mpirun.openmpi") is None or not (examples / "ring").exists():
        pytest.skip("Open MPI is not installed")
    shutil.copy(examples / "ring", desk.folder / "ring")
    mpirun = ["mpirun.openmpi", "--allow-run-as-root", "--oversubscribe"]
    plain = reference(desk, *mpirun, "-n", "2", "./ring", "80")
    line = f"exec {desk.run} -v -i 3 --stdout out.txt {' '.join(mpirun)} --map-by node -n 2 ./ring 80"
    job = desk.submit(desk.script(line), "--nodes=2", f"--nodelist={','.join(desk.cluster.nodes[:2])}")
    desk.wait_generation(1)
    desk.cluster.requeue(job)
    desk.cluster.wait(job, "PENDING", "RUNNING")
    desk.cluster.scontrol("update", f"JobId={job}", f"NodeList={','.join(desk.cluster.nodes[1:])}")
    desk.assert_finished(job, restarts=1)
    assert (desk.folder / "out.txt").read_bytes() == plain
