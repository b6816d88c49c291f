"""A computation on two nodes of a real Slurm, whose other node or first node dies, or whose network stops for a while.

mpirun passes a token around. The job is requeued where a node died, on what nodes there are, and ends with the output
of an uninterrupted run. Needs root, which makes hosts of network namespaces.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from faults.figures import End, Trial
from kit.cluster import Cluster
from kit.cluster import why_not as why_no_slurm
from kit.desk import Desk
from kit.hosts import Hosts
from kit.hosts import why_not as why_no_hosts
from kit.places import REPOSITORY
from kit.waits import LONG_S, happens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kit.bench import Workbench

OTHER_DIES, FIRST_DIES = "the other node dies", "the first node dies"
STOPS = {f"the network between nodes stops for {seconds} s": seconds for seconds in (5, 60, 300)}
KINDS = (OTHER_DIES, FIRST_DIES, *STOPS)
_STEPS = 250
_ENDS_WITHIN_S = 900.0
"""dmtcp-run gives up a node that does not answer for some minutes, and starts the program on it anew."""
_MPIRUN = ("mpirun.openmpi", "--allow-run-as-root", "--oversubscribe")


def campaign(bench: Workbench, seeds: Iterable[int], kinds: tuple[str, ...] = KINDS) -> Iterator[Trial]:
    """Have a fault of one of KINDS for each of SEEDS."""
    if why_not() or bench.engine is None or bench.engine.name != "dmtcp":
        return
    build = ["make", "-C", str(REPOSITORY / "examples"), f"BUILD={bench.folder}"]
    subprocess.run(build, check=True, capture_output=True, timeout=LONG_S)
    with spread_cluster() as cluster:
        for seed in seeds:
            kind = kinds[seed % len(kinds)]
            problem = problem_with(Desk(cluster, bench.engine), kind, bench.folder / "ring", random.Random(seed))
            if left := cluster.cancel_all():
                problem += f" jobs left processes behind: {left}"
            yield Trial(kind, End.WRONG if problem else End.SURVIVED, f"seed {seed} {problem}")


def why_not() -> str:
    """Return why there can be no such cluster here; empty where there can."""
    return why_no_slurm() or why_no_hosts() or ("" if shutil.which(_MPIRUN[0]) else "Open MPI is not installed")


@contextmanager
def spread_cluster() -> Iterator[Cluster]:
    """Start a cluster of three nodes, each with a network, a host name, /tmp and /dev/shm of its own."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    temporary = Path(tempfile.gettempdir())
    shared = [path for path in (REPOSITORY, Path(sys.prefix)) if path.is_relative_to(temporary)]
    with Hosts(3, folder, shared=shared, prefix=f"n{folder.name[-4:].lower().replace('_', 'x')}") as hosts:
        cluster = Cluster(folder, size=3, hosts=hosts)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.close()
    shutil.rmtree(folder)


def problem_with(desk: Desk, kind: str, ring: Path, chosen: random.Random) -> str:
    """Have a fault of KIND in a job of RING, the program; return what is wrong then."""
    shutil.copy(ring, desk.folder / "ring")
    line = f"exec {desk.run} -i 3 --stdout out.txt {' '.join(_MPIRUN)} --map-by node -n 2 ./ring {_STEPS}"
    first, other = desk.cluster.nodes[:2]
    job = desk.submit(desk.script(line), "--nodes=2", f"--nodelist={first},{other}")
    try:
        desk.bench.wait_generation(1)
        happens(lambda: False, chosen.uniform(0, 4))
        if kind in STOPS:
            hosts = desk.cluster.hosts
            assert hosts
            with hosts.cut_off(next(host for host in hosts.hosts if host.name == other)):
                happens(lambda: False, STOPS[kind])
        else:
            _crash(desk, job, other if kind == OTHER_DIES else first)
        desk.cluster.wait_ended(job, _ENDS_WITHIN_S)
        desk.assert_finished(job, restarts=None if kind in STOPS else 1)
    except AssertionError as error:
        return str(error)
    plain = [*_MPIRUN, "-n", "2", "./ring", str(_STEPS)]
    wanted = subprocess.run(plain, cwd=desk.folder, capture_output=True, timeout=LONG_S, check=True).stdout
    return "" if (desk.folder / "out.txt").read_bytes() == wanted else f"its output is another:\n{desk.bench.said()}"


def _crash(desk: Desk, job: str, node: str) -> None:
    desk.cluster.crash_node(node)
    desk.cluster.wait(job, "PENDING", "RUNNING")
    others = [name for name in desk.cluster.nodes if name != node]
    desk.cluster.scontrol("update", f"JobId={job}", f"NodeList={','.join(others)}")
    desk.cluster.start_node(node)
