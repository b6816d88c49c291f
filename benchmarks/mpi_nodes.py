"""Measure how often an MPI job over two nodes survives cycles of checkpoint, end and resume.

Run it with ``make bench-mpi-nodes``, as root: it starts a real Slurm on four hosts that are network namespaces. In
turns the job is requeued, or killed and then requeued. It resumes on the same nodes, on the same nodes swapped, and on
two others. One line is printed for each number of ranks and size of messages: how many cycles were right; whether the
output equals an uninterrupted run's byte for byte; the exit status, which should be 3; and the time of a cycle. A cycle
is right if the job resumed at once, from the newest generation and on the requested nodes, and made another generation.
DMTCP_PREFIX selects a DMTCP that is not on PATH.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from mpi import AFTER_S, BOUND_S, ENVIRON, STATUS, build_ring, keep, output_of, start_plain

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from kit.cluster import ENDED, Cluster
from kit.cluster import why_not as why_no_slurm
from kit.desk import Desk
from kit.engines import find_dmtcp
from kit.hosts import Hosts, why_not
from kit.places import REPOSITORY
from kit.waits import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES = 4
SIZES = {"8 doubles": (8, 40), "8 MB": (1_000_000, 12)}
"""For each size of messages: the doubles in a message, and the steps of the program for each cycle."""
HEAD, OTHER = "head", "other"
"""Features of nodes: the script runs on a node with HEAD; without them it would run on the first node by name."""
OF_SLURM = ("munged", "slurmctld", "slurmd", "slurmscriptd", "slurmstepd")
SAME, SWAPPED, OTHERS = MOVES = "same", "swapped", "others"
MPIRUN = ["mpirun.openmpi", "--oversubscribe", "--map-by", "node"]


def main() -> None:
    """Print a line for each number of ranks and size of messages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=10)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--compiler", default="mpicc.openmpi")
    asked = parser.parse_args()
    prefix = os.environ.get("DMTCP_PREFIX")
    engines = [one for one in find_dmtcp() if prefix in (None, one.environ["DMTCP_PREFIX"])]
    if reason := why_not() or why_no_slurm() or ("" if engines else "no DMTCP was found: set DMTCP_PREFIX"):
        sys.exit(reason)
    with _cluster() as cluster:
        for ranks in asked.ranks:
            for size in asked.sizes:
                desk = Desk(cluster, engines[0])
                ring = build_ring(desk.folder, asked.compiler)
                doubles, steps = SIZES[size]
                words = ["-n", ranks, ring, steps * asked.cycles, STATUS, doubles]
                Job(desk, [*MPIRUN, *map(str, words)]).measure(asked.cycles, f"{ranks} ranks, {size}")


@contextmanager
def _cluster() -> Iterator[Cluster]:
    """Start a cluster whose nodes have a network, a host name, /tmp and /dev/shm of their own."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    temporary = Path(tempfile.gettempdir())
    shared = [path for path in (REPOSITORY, Path(sys.prefix)) if path.is_relative_to(temporary)]
    try:
        with Hosts(NODES, folder, shared=shared, prefix=f"n{os.getpid()}x") as hosts:
            cluster = Cluster(folder, size=NODES, hosts=hosts)
            try:
                cluster.start()
                yield cluster
            finally:
                cluster.close()
    finally:
        shutil.rmtree(folder)


class Job:
    """An MPI program under dmtcp-run in a batch job of two nodes."""

    def __init__(self, desk: Desk, command: list[str]) -> None:
        self._desk = desk
        self._cluster = desk.cluster
        self._command = command
        self._nodes = desk.cluster.nodes[:2]
        """The requested nodes; the script runs on the first."""
        self._id = ""
        self._epoch, self._generation = 0, 0
        """The attempt that was ended last, and the newest generation at that time."""

    def measure(self, cycles: int, name: str) -> None:
        """Run the cycles and print the results."""
        wanted = output_of(start_plain(self._command))
        self._submit()
        self._await_generation()
        faults = []
        began = time.monotonic()
        for number in range(cycles):
            if self._has_ended():
                faults.append("the program had finished before this cycle")
                break
            self._end(by_requeue=number % 2 == 0)
            self._go_on(MOVES[number % len(MOVES)])
            self._await_generation()
            faults.append(self._fault())
        took_s = (time.monotonic() - began) / len(faults)
        self._let_end()
        status, _ = self._cluster.exit_status(self._id, BOUND_S * 4)
        is_same = (self._desk.folder / "out.txt").read_bytes() == wanted
        print(
            f"{self._desk.bench.engine}, {name:18} {faults.count('')} of {cycles} right, "
            f"output {'the same' if is_same else 'NOT THE SAME'}, status {status}, {took_s:.0f} s a cycle",
            flush=True,
        )
        for number, what in enumerate(faults, start=1):
            if what:
                print(f"  cycle {number}: {what}", flush=True)
        if any(faults) or not is_same or status != STATUS:
            keep(self._desk.folder, wanted)
        self._cluster.cancel_all()

    def _submit(self) -> None:
        desk = self._desk
        exports = [f"export {name}={value}" for name, value in ENVIRON.items() if name.startswith("OMPI_")]
        options = "--engine dmtcp --nodes auto -i $(cat interval) --stdout out.txt"
        line = f"exec {desk.run} {options} {' '.join(self._command)}"
        wishes = ["--nodes=2", f"--constraint={HEAD}|{OTHER}", f"--batch={HEAD}", "--hold"]
        desk.write("interval", "1")
        self._mark()
        self._id = desk.submit(desk.script(*exports, line), *wishes)
        self._release()

    def _end(self, *, by_requeue: bool) -> None:
        """End the job some time after its last generation: by a requeue, or by SIGKILL for all processes at once."""
        time.sleep(random.uniform(0, AFTER_S))
        if not by_requeue:
            self._kill()
            self._cluster.wait_ended(self._id)
        self._cluster.scontrol("requeuehold", self._id)
        self._cluster.wait(self._id, "PENDING")
        self._epoch, self._generation = self._events[-1]["epoch"], max(self._desk.bench.generations, default=0)

    def _kill(self) -> None:
        for host in self._cluster.hosts.hosts if self._cluster.hosts else ():
            for pid in host.pids():
                with suppress(psutil.NoSuchProcess):
                    process = psutil.Process(pid)
                    if process.name() not in OF_SLURM:
                        process.kill()

    def _go_on(self, move: str) -> None:
        """Release the job again, on the nodes that MOVE selects."""
        others = [node for node in self._cluster.nodes if node not in self._nodes]
        self._nodes = {SAME: self._nodes, SWAPPED: self._nodes[::-1], OTHERS: others[:2]}[move]
        self._release()

    def _let_end(self) -> None:
        """Let the program finish without further checkpoints."""
        if not self._has_ended():
            self._desk.write("interval", "0")
            self._end(by_requeue=True)
            self._go_on(SAME)

    def _release(self) -> None:
        self._mark()
        self._cluster.scontrol("update", f"JobId={self._id}", f"NodeList={','.join(self._nodes)}")
        self._cluster.scontrol("release", self._id)

    def _mark(self) -> None:
        for node in self._cluster.nodes:
            active = f"ActiveFeatures={HEAD if node == self._nodes[0] else OTHER}"
            self._cluster.scontrol("update", f"NodeName={node}", f"AvailableFeatures={HEAD},{OTHER}", active)

    def _await_generation(self) -> None:
        """Wait until the job has made a generation since its release, or has ended."""
        with suppress(AssertionError):
            wait_until(lambda: self._has("checkpointed") or self._has_ended(), BOUND_S)

    def _fault(self) -> str:
        """Return what was wrong since the job was released; an empty text if nothing was."""
        shown = self._cluster.show(self._id)
        if failed := [f"{line['what']}: {line['error']}" for line in self._events if line["event"] == "failed"]:
            return "; ".join(failed)
        resumed = [line["generation"] for line in self._events if line["event"] == "resumed"]
        if resumed != [self._generation]:
            return f"resumed generations {resumed}, not {self._generation}"
        if shown["BatchHost"] != self._nodes[0]:
            return f"ran on {shown['NodeList']} with its script on {shown['BatchHost']}, not on {self._nodes}"
        return "" if self._has("checkpointed") else f"no generation, {shown['JobState']} {shown['ExitCode']}"

    @property
    def _events(self) -> list[dict[str, Any]]:
        """The events since the last release of the job."""
        return [line for line in self._desk.bench.history if line["epoch"] > self._epoch]

    def _has(self, event: str) -> bool:
        return any(line["event"] == event for line in self._events)

    def _has_ended(self) -> bool:
        return self._cluster.state(self._id) in ENDED


if __name__ == "__main__":
    main()
