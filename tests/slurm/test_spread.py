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


SERVER = """
import socket, sys
with socket.create_server(("0.0.0.0", 0)) as listener:
    with open("port", "w") as file:
        print(socket.gethostname(), listener.getsockname()[1], file=file)
    with listener.accept()[0] as peer, peer.makefile("rw") as lines:
        for line in lines:
            print("asked", line.strip(), flush=True)
            print(int(line) * 16807 % 2147483647, file=lines, flush=True)
sys.exit(3)
"""
PAIR = """
import os, socket, subprocess, sys, time
line = f"cd {os.getcwd()}; python3 server.py"
server = subprocess.Popen(["dmtcp-run-rsh", sys.argv[1], line], stdin=subprocess.DEVNULL)
while not os.path.exists("port") or not open("port").read().endswith("\\n"):
    time.sleep(0.05)
name, port = open("port").read().split()
x = 1
with socket.create_connection((name, int(port))) as peer, peer.makefile("rw") as lines:
    for step in range(int(sys.argv[2])):
        print(x, file=lines, flush=True)
        x = int(lines.readline())
        print(step, x, flush=True)
        time.sleep(0.1)
print("the server ended with", server.wait(), flush=True)
sys.exit(5)
"""


def test_a_client_and_its_server_on_another_node_go_on_with_output_and_status_of_both(desk: Desk) -> None:
    desk.write("server.py", SERVER)
    desk.write("pair.py", PAIR)
    first, second, third = desk.cluster.nodes
    line = f"exec {desk.run} --nodes auto -i 3 --stdout out.txt python3 pair.py {second} 100"
    job = desk.submit(desk.script(line), "--nodes=2", f"--nodelist={first},{second}")
    desk.wait_generation(1)
    desk.cluster.requeue(job)
    desk.cluster.wait(job, "PENDING", "RUNNING")
    desk.cluster.scontrol("update", f"JobId={job}", f"NodeList={second},{third}")
    desk.assert_finished(job, status=5, restarts=1)
    said = (desk.folder / "out.txt").read_text().splitlines()
    x, expected = 1, []
    for step in range(100):
        x = x * 16807 % 2147483647
        expected.append(f"{step} {x}")
    assert [line for line in said if not line.startswith("asked")] == [*expected, "the server ended with 3"]
    x, asked = 1, []
    for _ in range(100):
        asked.append(f"asked {x}")
        x = x * 16807 % 2147483647
    assert [line for line in said if line.startswith("asked")] == asked
