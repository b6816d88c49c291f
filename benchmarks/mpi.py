"""Measure how often an MPI job survives cycles of checkpoint, SIGKILL and resume, and whether its end is right.

Run it with ``make bench-mpi``. It prints one line for each program and number of processes: how many cycles resumed
from the images of the one before, whether the output equals an uninterrupted run's byte for byte, and the exit status,
which should be 3. DMTCP_PREFIX selects a DMTCP that is not on PATH, --launcher another mpirun.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

RUN = shutil.which("dmtcp-run") or sys.exit("dmtcp-run is not on PATH: run this with 'make bench-mpi'")
EXAMPLES = Path(__file__).parent.parent / "examples"
STATUS = 3
BOUND_S = 240.0
AFTER_S = 1.0
"""The kill follows the commit of a generation after a random time of at most AFTER_S seconds."""
ENVIRON = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
# there may be more processes than processors
ENVIRON["OMPI_MCA_mpi_yield_when_idle"] = "1"


@dataclass
class Job:
    """An MPI program under dmtcp-run in a directory of its own, and its results."""

    folder: Path
    command: list[str]
    resumed: int = 0
    failed: int = 0
    """Failed checkpoints and restarts, whether the job recovered or not."""

    @property
    def line(self) -> list[str]:
        """The line that starts and resumes the job."""
        return [RUN, "--engine", "dmtcp", "--job", "mpi", "-i", "1", "--stdout", "out.txt", *self.command]

    @property
    def history(self) -> list[dict[str, object]]:
        """The history that dmtcp-run recorded."""
        path = self.folder / ".dmtcp-run" / "mpi" / "history.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def count(self, event: str) -> int:
        """Return how often EVENT happened."""
        return sum(line["event"] == event for line in self.history)


def main() -> None:
    """Print a line for each program and number of processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--programs", nargs="+", default=["ring", "ring.py"])
    parser.add_argument("--launcher", default="mpirun.openmpi --oversubscribe")
    parser.add_argument("--compiler", default="mpicc.openmpi")
    parser.add_argument("--jobs", type=int, default=1, help="how many jobs of each program run at once")
    parser.add_argument("--steps", type=int, default=0, help="steps of the program; 0 means 20 for each cycle")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ring = build_ring(Path(folder), asked.compiler)
        programs = {"ring": [str(ring)], "ring.py": [sys.executable, str(EXAMPLES / "ring.py")]}
        for name in asked.programs:
            for ranks in asked.ranks:
                steps = asked.steps or 20 * asked.cycles
                command = [*asked.launcher.split(), "-n", str(ranks), *programs[name], str(steps), str(STATUS)]
                jobs = [Job(Path(tempfile.mkdtemp(dir=folder)), command) for _ in range(asked.jobs)]
                measure(jobs, asked.cycles, f"{name} -n {ranks}")


def measure(jobs: list[Job], cycles: int, name: str) -> None:
    """Run the cycles of JOBS and print the results."""
    began = time.monotonic()
    plain = start_plain(jobs[0].command)
    early = 0
    for _ in range(cycles):
        processes = [start(job) for job in jobs]
        for job, process in zip(jobs, processes, strict=True):
            await_generation(job, process)
        time.sleep(random.uniform(0, AFTER_S))
        for process in processes:
            if process.poll() is not None:
                early += 1
                print(f"the job ended early with status {process.returncode}", file=sys.stderr)
            kill_all(process)
    wanted = output_of(plain)
    for job, process in [(job, start(job)) for job in jobs]:
        status = process.wait(BOUND_S * 4)
        is_same = (job.folder / "out.txt").read_bytes() == wanted
        print(
            f"{name:14} {job.count('resumed')} of {cycles} resumed, {job.count('failed')} failures on the way, "
            f"output {'the same' if is_same else 'NOT THE SAME'}, status {status}, {time.monotonic() - began:.0f} s",
            flush=True,
        )
        if not is_same or status != STATUS or early or job.count("failed"):
            keep(job.folder, wanted)


def build_ring(folder: Path, compiler: str) -> Path:
    """Build the example ``ring.c`` in FOLDER."""
    path = folder / "ring"
    subprocess.run([compiler, "-O2", "-o", path, EXAMPLES / "ring.c"], check=True)
    return path


def start_plain(command: list[str]) -> subprocess.Popen[bytes]:
    """Start COMMAND without dmtcp-run."""
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRON
    )


def output_of(plain: subprocess.Popen[bytes]) -> bytes:
    """Return what PLAIN printed until its end."""
    printed, _ = plain.communicate(timeout=BOUND_S * 4)
    assert plain.returncode == STATUS, f"the uninterrupted run ended with status {plain.returncode}"
    return printed


def keep(folder: Path, wanted: bytes) -> None:
    """Keep the FOLDER of a job that failed, without its images."""
    kept = Path(tempfile.mkdtemp(prefix="mpi-failed-"))
    (kept / "wanted").write_bytes(wanted)
    shutil.copytree(folder, kept / "job", ignore=shutil.ignore_patterns("*.dmtcp"))
    print(f"  kept in {kept}", flush=True)


def start(job: Job) -> subprocess.Popen[bytes]:
    """Start or resume the job."""
    with (job.folder / "said.txt").open("ab") as said, (job.folder / "own.txt").open("ab") as own:
        return subprocess.Popen(
            job.line, cwd=job.folder, stdin=subprocess.DEVNULL, stdout=own, stderr=said, env=ENVIRON
        )


def await_generation(job: Job, process: subprocess.Popen[bytes]) -> None:
    """Wait until one more generation is committed, or PROCESS has ended."""
    before, until = job.count("checkpointed"), time.monotonic() + BOUND_S
    while process.poll() is None and job.count("checkpointed") == before:
        if time.monotonic() > until:
            print(f"no generation within {BOUND_S:.0f} s", file=sys.stderr)
            return
        time.sleep(0.05)


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL dmtcp-run and all below it, as the end of a batch job does."""
    try:
        victims = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        victims = []
    for victim in victims:
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait(BOUND_S)
    psutil.wait_procs(victims, BOUND_S)


if __name__ == "__main__":
    main()
