"""MPI jobs on one node under DMTCP: what they print, their exit status, two at once, and nothing left behind.

DMTCP_RUN_MPI_CYCLES is how often each job is killed, 2 where it is not set; ``make bench-mpi`` prints a table.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.native import built
from dmtcp_py.system.files import own_folder
from dmtcp_py.system.proc import SHARED_MEMORY
from kit.places import REPOSITORY
from kit.processes import kill_all
from kit.waits import LONG_S

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere

CYCLES = int(os.environ.get("DMTCP_RUN_MPI_CYCLES", "2"))
STEPS = str(30 + 25 * CYCLES)
STATUS = 3
JOBS = [("openmpi", 2), ("mpich", 2)]
EXAMPLES = REPOSITORY / "examples"
pytestmark = pytest.mark.skipif(built("openmpi") is None, reason="there was no compiler at the installation")


@pytest.fixture
def dmtcp(engine: EngineHere) -> EngineHere:
    """Give the engine where it is a DMTCP: CRIU's MPI jobs are tested with its programs."""
    if engine.name != "dmtcp":
        pytest.skip("MPI under CRIU is tested elsewhere")
    return engine


def _mpirun(monkeypatch: pytest.MonkeyPatch, name: str, processes: int) -> list[str]:
    """Return the words that start PROCESSES of an MPI job; skip where the implementation NAME is not here."""
    if shutil.which(f"mpirun.{name}") is None:
        pytest.skip(f"there is no mpirun.{name} on this machine")
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT", "1")
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    return [f"mpirun.{name}", *(["--oversubscribe"] if name == "openmpi" else []), "-n", str(processes)]


def _ring(bench: Workbench, name: str) -> list[str]:
    path = bench.folder.parent / "ring"
    compiler = f"mpicc.{name}"
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler} on this machine")
    subprocess.run([compiler, "-O1", "-o", path, EXAMPLES / "ring.c"], check=True, timeout=LONG_S)
    return [str(path), STEPS, str(STATUS)]


def _killed_again_and_again(bench: Workbench, *program: str) -> None:
    plain = bench.start_plain(*program)
    line = ["-i", "1", "--stdout", "out.txt", "--stderr", "err.txt", *program]
    for _ in range(CYCLES):
        process = bench.start(*line)
        bench.wait_generations(1, process)
        bench.wait_lines(2, process)
        kill_all(process)
    done = bench.run(*line)
    assert plain.wait(LONG_S) == STATUS
    assert done.returncode == STATUS, done.stderr
    assert done.stdout == ""
    bench.assert_same("out.txt")
    assert bench.events.count("resumed") == CYCLES
    assert not own_folder(bench.job, Path(SHARED_MEMORY)).exists()


@pytest.mark.parametrize(("name", "processes"), JOBS)
def test_a_job_prints_and_ends_as_without_interruptions(
    bench: Workbench, dmtcp: EngineHere, monkeypatch: pytest.MonkeyPatch, name: str, processes: int
) -> None:
    assert dmtcp
    _killed_again_and_again(bench, *_mpirun(monkeypatch, name, processes), *_ring(bench, name))


def test_four_processes_do_so_too(bench: Workbench, one_engine: EngineHere, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one_engine
    _killed_again_and_again(bench, *_mpirun(monkeypatch, "openmpi", 4), *_ring(bench, "openmpi"))


def test_a_job_whose_processes_find_each_other_late_is_not_checkpointed_before(
    bench: Workbench, dmtcp: EngineHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them is within MPI_Init for 10 s, and a restart would end it there with a status of its own."""
    assert dmtcp
    late = 'test "$OMPI_COMM_WORLD_RANK" = 0 || sleep 10; exec "$@"'
    program = [*_mpirun(monkeypatch, "openmpi", 2), "sh", "-c", late, "sh", *_ring(bench, "openmpi")]
    plain = bench.start_plain(*program)
    line = ["-i", "1", "--stdout", "out.txt", "--stderr", "err.txt", *program]
    process = bench.start(*line)
    bench.wait_generations(1, process)
    assert (bench.folder / "out.txt").read_bytes()
    kill_all(process)
    assert bench.run(*line).returncode == plain.wait(LONG_S) == STATUS
    bench.assert_same("out.txt")
    assert bench.events.count("resumed") == 1


def test_mpi4py_does_so_too(bench: Workbench, one_engine: EngineHere, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one_engine
    if importlib.util.find_spec("mpi4py") is None:
        pytest.skip("mpi4py is not installed for this Python")
    program = [sys.executable, str(EXAMPLES / "ring.py"), STEPS, str(STATUS)]
    _killed_again_and_again(bench, *_mpirun(monkeypatch, "openmpi", 2), *program)


def test_two_jobs_of_one_user_on_one_machine_do_not_meet(
    bench: Workbench, one_engine: EngineHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under DMTCP both launchers have the same pid, from which Open MPI makes the names of what its processes share."""
    assert one_engine
    program = [*_mpirun(monkeypatch, "openmpi", 2), *_ring(bench, "openmpi")]
    plain = bench.start_plain(*program)
    lines = [["-i", "1", "--job", job, "--stdout", f"{job}.txt", *program] for job in ("one", "two")]
    for _ in range(CYCLES):
        processes = [bench.start(*line) for line in lines]
        for process, job in zip(processes, ("one", "two"), strict=True):
            bench.wait_lines(10, process, f"{job}.txt")
        for process in processes:
            kill_all(process)
    processes = [bench.start(*line) for line in lines]
    assert [process.wait(LONG_S) for process in (*processes, plain)] == [STATUS] * 3
    for job in ("one", "two"):
        assert (bench.folder / f"{job}.txt").read_bytes() == (bench.plain / "out.txt").read_bytes()
        assert "resumed" in (bench.jobs / job / "history.jsonl").read_text()


def test_a_job_that_was_stopped_resumes_where_nothing_of_it_is_left_in_shared_memory(
    bench: Workbench, one_engine: EngineHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on another node, or after a reboot."""
    assert one_engine
    program = [*_mpirun(monkeypatch, "openmpi", 2), *_ring(bench, "openmpi")]
    plain = bench.start_plain(*program)
    line = ["-i", "0", "--job", "stopped", "--stdout", "out.txt", *program]
    process = bench.start(*line)
    bench.wait_lines(5, process)
    assert bench.ctl("stop", "stopped").returncode == 0
    assert process.wait(LONG_S) == 85
    assert not own_folder(bench.job, Path(SHARED_MEMORY)).exists()
    if one_engine.name == "dmtcp":
        # CRIU gives the program a /dev/shm of its own
        manifest = json.loads((bench.job / "generations" / "000001" / "manifest.json").read_text())
        assert str(own_folder(bench.job, Path(SHARED_MEMORY))) in manifest["engine_data"]["shared_memory"]
    assert bench.run(*line).returncode == STATUS
    assert plain.wait(LONG_S) == STATUS
    bench.assert_same("out.txt")


def test_a_folder_that_somebody_else_has_made_in_advance_is_refused(
    bench: Workbench, one_dmtcp: EngineHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert one_dmtcp
    folder = own_folder(bench.jobs / "job", Path(SHARED_MEMORY))
    monkeypatch.chdir(bench.folder)
    folder.symlink_to(bench.folder)
    try:
        done = bench.run("--job", "job", "--engine", "dmtcp", "true")
    finally:
        folder.unlink()
    assert done.returncode == 125
    assert f"{folder} cannot be made: it belongs to another user or is not a directory" in done.stderr
