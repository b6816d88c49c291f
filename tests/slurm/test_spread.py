"""A computation over the nodes of an allocation: two and three hosts of their own, with a real Slurm on them."""

from __future__ import annotations

import random
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from dmtcp_py.native import built
from dmtcp_py.system.files import own_folder
from dmtcp_py.system.proc import SHARED_MEMORY
from faults import nodes
from faults.intruders import message_of, port_of
from kit.cluster import why_not as why_no_slurm
from kit.desk import Desk
from kit.engines import EngineHere, find_dmtcp
from kit.hosts import why_not
from kit.long_form import NO_LONG_TESTS
from kit.places import WITHOUT
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.cluster import Cluster


@pytest.fixture(scope="module")
def _spread_cluster() -> Iterator[Cluster]:
    """Start a cluster of three nodes, each with a network, a host name, /tmp and /dev/shm of its own."""
    if reason := why_no_slurm() or why_not():
        pytest.skip(reason)
    with nodes.spread_cluster() as cluster:
        yield cluster


@pytest.fixture
def desk(_spread_cluster: Cluster, engine: EngineHere) -> Iterator[Desk]:
    """Give a desk for each DMTCP."""
    if engine.name != "dmtcp":
        pytest.skip("only DMTCP takes several nodes")
    yield Desk(_spread_cluster, engine)
    _clean(_spread_cluster)


@pytest.fixture
def one_desk(_spread_cluster: Cluster) -> Iterator[Desk]:
    """Give a desk for the first DMTCP, where it is not DMTCP that is tested."""
    engines = find_dmtcp()
    if not engines:
        pytest.skip("there is no DMTCP here")
    yield Desk(_spread_cluster, engines[0])
    _clean(_spread_cluster)


def _clean(cluster: Cluster) -> None:
    left = cluster.cancel_all()
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
    desk.bench.wait_generation(1)
    assert [shared_folder(desk, node) for node in desk.cluster.nodes] == ["drwx------", "drwx------", ""]
    desk.cluster.requeue(job)
    desk.cluster.wait(job, "PENDING", "RUNNING")
    desk.cluster.scontrol("update", f"JobId={job}", f"NodeList={','.join(desk.cluster.nodes[1:])}")
    desk.assert_finished(job, restarts=1)
    assert (desk.folder / "out.txt").read_bytes() == plain
    assert [shared_folder(desk, node) for node in desk.cluster.nodes[1:]] == ["", ""]


@pytest.mark.parametrize(
    "kind",
    [nodes.OTHER_DIES, *(pytest.param(kind, marks=NO_LONG_TESTS) for kind in nodes.KINDS if kind != nodes.OTHER_DIES)],
)
def test_a_job_on_two_nodes_outlives_one_of_them_and_a_network_that_stops(
    one_desk: Desk, examples: Path, kind: str
) -> None:
    if why := nodes.why_not():
        pytest.skip(why)
    assert nodes.problem_with(one_desk, kind, examples / "ring", random.Random(0)) == ""


def test_the_first_checkpoint_lets_mpirun_start_its_processes_on_the_other_node(desk: Desk, examples: Path) -> None:
    if shutil.which("mpirun.openmpi") is None or not (examples / "ring").exists():
        pytest.skip("Open MPI is not installed")
    shutil.copy(examples / "ring", desk.folder / "ring")
    desk.write("slow-rsh", '#!/bin/sh\nsleep 7\nexec dmtcp-run-rsh "$@"\n')
    mpirun = "mpirun.openmpi --allow-run-as-root --oversubscribe --mca plm_rsh_agent ./slow-rsh --map-by node"
    line = f"exec {desk.run} -i 1 --stdout out.txt {mpirun} -n 2 ./ring 1000"
    job = desk.submit(desk.script(f"chmod +x slow-rsh; {line}"), *on_nodes(desk, 2))
    desk.bench.wait_generation(1)
    desk.cluster.scancel(job)
    assert desk.bench.events[:2] == ["started", "checkpointed"]


def shared_folder(desk: Desk, node: str) -> str:
    """Return who may do what with the job's folder in the shared memory of NODE; nothing where it is not."""
    assert desk.cluster.hosts
    (host,) = [host for host in desk.cluster.hosts.hosts if host.name == node]
    return host.run(["stat", "--format=%A", own_folder(desk.bench.job, Path(SHARED_MEMORY))]).stdout.strip()


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
UNBUILT = """
from dmtcp_py.engine.dmtcp import selftest
selftest.built = lambda name: None
from dmtcp_py.cli.run import main
main()
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
    desk.bench.wait_generation(1)
    desk.cluster.requeue(job)
    desk.cluster.wait(job, "PENDING", "RUNNING")
    desk.cluster.scontrol("update", f"JobId={job}", f"NodeList={second},{third}")
    desk.assert_finished(job, status=5, restarts=1)
    assert_paired(desk, 100)


def assert_paired(desk: Desk, steps: int) -> None:
    """Assert that each line of the client and of its server was printed, once and in its order."""
    said = (desk.folder / "out.txt").read_text().splitlines()
    x, expected, asked = 1, [], []
    for step in range(steps):
        asked.append(f"asked {x}")
        x = x * 16807 % 2147483647
        expected.append(f"{step} {x}")
    assert [line for line in said if not line.startswith("asked")] == [*expected, "the server ended with 3"]
    assert [line for line in said if line.startswith("asked")] == asked


def pair_line(desk: Desk, steps: int, *options: str) -> str:
    """Write the pair, and return the line that runs it on the first two nodes."""
    desk.write("server.py", SERVER)
    desk.write("pair.py", PAIR)
    words = [*options, "--stdout", "out.txt", "python3", "pair.py", desk.cluster.nodes[1], str(steps)]
    return f"exec {desk.run} --engine dmtcp --nodes auto {' '.join(words)}"


def on_nodes(desk: Desk, count: int) -> list[str]:
    """Return the options for the first COUNT nodes."""
    return [f"--nodes={count}", f"--nodelist={','.join(desk.cluster.nodes[:count])}"]


def test_before_the_time_limit_both_nodes_write_their_last_images_and_the_requeued_job_goes_on(one_desk: Desk) -> None:
    desk = one_desk
    script = desk.script(pair_line(desk, 220, "-i", "0", "--lead", "40"), options=["--time=1"])
    job = desk.submit(script, *on_nodes(desk, 2))
    desk.assert_finished(job, status=5)
    assert_paired(desk, 220)
    assert f"requeueing Slurm job {job}: time limit" in desk.bench.said()
    last = [line for line in desk.bench.history if line.get("program_stopped")]
    assert int(desk.cluster.show(job)["Restarts"]) == len(last) == desk.bench.events.count("resumed") >= 1
    assert [line["generation"] for line in desk.bench.history if line["event"] == "resumed"] == [
        line["generation"] for line in last
    ]
    assert {name.partition("/")[0] for name in desk.bench.manifest["restart_images"]} == {"0", "1"}


SEND = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as made:
    made.sendall(bytes.fromhex(sys.argv[3]))
    print("answered" if made.recv(1) else "refused")
"""


def test_only_its_own_user_on_its_own_nodes_reaches_the_coordinator(one_desk: Desk) -> None:
    """Others are refused: another user on a node of the computation, and anybody on another node."""
    desk = one_desk
    assert desk.bench.engine
    assert desk.cluster.hosts
    if built("peers") is None or shutil.which("setpriv") is None or desk.cluster.user is not None:
        pytest.skip("it needs a C compiler, setpriv, and root as the user")
    desk.submit(desk.script(pair_line(desk, 1000, "-i", "0")), *on_nodes(desk, 2))
    wait_until(lambda: (desk.folder / "out.txt").exists() and (desk.folder / "out.txt").stat().st_size)
    first, second, third = desk.cluster.hosts.hosts
    (coordinator,) = [one for one in map(psutil.Process, first.pids()) if one.name().startswith("dmtcp_coor")]
    message = message_of(Path(desk.bench.engine.environ["DMTCP_PREFIX"]) / "bin/dmtcp_command", "--status")
    send = ["python3", "-c", SEND, first.address, str(port_of(coordinator)), message.hex()]
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    answers = {
        (user, host.name): host.run([*words, *send]).stdout.strip()
        for host in (first, second, third)
        for user, words in (("own", []), ("another", nobody))
    }
    assert [one for one, answer in answers.items() if answer == "answered"] == [
        ("own", first.name),
        ("own", second.name),
    ]


def test_images_of_two_nodes_are_refused_on_one_and_on_three_and_stay(one_desk: Desk) -> None:
    desk = one_desk
    script = desk.script(pair_line(desk, 1000, "-i", "2"))
    job = desk.submit(script, *on_nodes(desk, 2))
    desk.bench.wait_generation(1)
    desk.cluster.scancel(job)
    desk.cluster.wait_ended(job)
    kept = desk.bench.generations
    for count in (1, 3):
        desk.assert_finished(desk.submit(script, *on_nodes(desk, count)), status=125)
        desk.bench.said_with(f"generation {kept[-1]} was made on 2 nodes, and this run has {count}")
    assert "ask for 2 nodes, or start over with --fresh" in desk.bench.said()
    assert desk.bench.generations == kept


def test_without_our_plugin_dmtcp_is_refused_on_two_nodes_and_the_plugin_named(one_desk: Desk) -> None:
    desk = one_desk
    desk.write("unbuilt.py", UNBUILT)
    line = pair_line(desk, 1000).replace("dmtcp-run", f"{sys.executable} unbuilt.py")
    desk.assert_finished(desk.submit(desk.script(line), *on_nodes(desk, 2)), status=125)
    assert "the plugin for several hosts was not built: there was no C compiler when" in desk.bench.said()
    assert not (desk.folder / "port").exists()


def test_srun_within_a_script_is_named_and_the_program_stopped(one_desk: Desk) -> None:
    desk = one_desk
    desk.write("inner.sh", "#!/bin/sh\nsrun --overlap sleep 100\n")
    line = f"exec {desk.run} --engine dmtcp -i 1 ./inner.sh"
    desk.assert_finished(desk.submit(desk.script(line), *on_nodes(desk, 2)), status=125)
    assert "(srun) has the scheduler's daemons start the program's processes" in desk.bench.said()
    assert "stopped, because it cannot be checkpointed" in desk.bench.said()
    assert desk.bench.generations == []


OMPI = "mpirun.openmpi --allow-run-as-root --oversubscribe"
MPICH = "mpirun.mpich -n 2 -ppn 1"
WITH_UCX = "OMPI_MCA_mca_base_param_files=/dev/null OMPI_MCA_pml_ucx_tls=any OMPI_MCA_pml_ucx_devices=any"
"""Debian's Open MPI leaves UCX out."""
NEEDED = {
    "OMPI_MCA_plm=": (f"{OMPI} --mca plm_base_verbose 5 --map-by node -n 2 true", "plm:slurm: final top-level argv"),
    "OMPI_MCA_plm_rsh_agent": (f"{OMPI} --map-by node -n 2 true", ""),
    "OMPI_MCA_plm_rsh_no_tree_spawn": (f"{OMPI} --mca routed_radix 1 --map-by node -n 3 true", ""),
    "OMPI_MCA_hwloc_base_binding_policy": (f"{OMPI} --report-bindings --map-by node -n 2 true", "bound to socket"),
    "OMPI_MCA_pml": (f"env {WITH_UCX} {OMPI} --mca pml_base_verbose 20 -n 2 ./ring 1", "selected ucx"),
    "OMPI_MCA_btl=": (f"{OMPI} --mca btl_base_verbose 100 -n 4 ./ring 1", "Using vader btl"),
    "HYDRA_LAUNCHER=rsh": (f"{MPICH} true", ""),
    "HYDRA_LAUNCHER_EXEC": (f"{MPICH} true", ""),
}
"""For each setting a line, and what is said where it is missing; nothing where the line does not come to its end."""
DONE = "finished with status 0"
ENOUGH_S = 20.0
"""For such a line; what then goes on hangs."""


@NO_LONG_TESTS
@pytest.mark.parametrize("setting", NEEDED)
def test_without_a_setting_mpirun_does_over_nodes_what_dmtcp_cannot_take(
    one_desk: Desk, examples: Path, setting: str
) -> None:
    """Where this one fails the setting can go, for the versions of MPI and Slurm that are here."""
    desk, (line, sign) = one_desk, NEEDED[setting]
    launcher = next(word for word in line.split() if word.startswith("mpirun."))
    if shutil.which(launcher) is None or not (examples / "ring").exists():
        pytest.skip(f"there is no {launcher} on this machine")
    shutil.copy(examples / "ring", desk.folder / "ring")
    for job, run in (("with", desk.run), ("without", shlex.join([*WITHOUT, setting]))):
        script = desk.script(f"exec {run} --engine dmtcp --nodes auto -i 0 --job {job} {line} 2>&1", name=job)
        submitted = desk.submit(script, "-o", f"said.{job}", *on_nodes(desk, 3 if "-n 3" in line else 2))
        with suppress(AssertionError):
            desk.cluster.wait_ended(submitted, ENOUGH_S)
        desk.cluster.scancel(submitted)
    said, said_without = desk.bench.said("said.with"), desk.bench.said("said.without")
    assert DONE in said
    if sign:
        assert sign in said_without
        assert sign not in said
    else:
        assert DONE not in said_without
