"""What CRIU makes of MPI jobs, terminals and ports; the programs that it takes otherwise are in the zoo."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from kit.places import REPOSITORY
from kit.processes import kill_all
from kit.program_list import BY_NAME
from kit.programs import Places, build
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

EXAMPLES = REPOSITORY / "examples"
STEPS = "35"
TERMINALS = """
import os, time
master, slave = os.openpty()
for step in range(35):
    os.write(slave, b"step %d\\n" % step)
    print(os.read(master, 100).decode().strip(), os.ttyname(slave).startswith("/dev/pts/"), flush=True)
    time.sleep(0.1)
"""
LISTENS = """
import socket, time
server = socket.create_server(("127.0.0.1", 0), reuse_port=False)
with open("port", "w") as file:
    print(server.getsockname()[1], file=file)
for step in range(35):
    print(step, flush=True)
    time.sleep(0.1)
"""
TALKS = """
import socket, time
server = socket.create_server(("127.0.0.1", 0), reuse_port=False)
near = socket.create_connection(server.getsockname())
far, _ = server.accept()
for step in range(100):
    near.sendall(b"%d\\n" % step)
    print(far.recv(16).decode().strip(), flush=True)
    time.sleep(0.1)
"""


def _survives(bench: Workbench, program: list[str]) -> None:
    """Kill PROGRAM with SIGKILL in each of two lives, resume it, and compare with a run that is left alone."""
    bench.assert_survives(program, options=["-i", "0.7"], times=2)


def _compiled(bench: Workbench, compiler: list[str], *sources: Path) -> str:
    """Return the program that COMPILER makes of SOURCES; skip where there is no such compiler."""
    path = bench.folder.parent / "program"
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"there is no {compiler[0]} on this machine")
    line = [*compiler, "-o", path, *sources]
    done = subprocess.run(line, check=False, timeout=LONG_S)
    if done.returncode:
        pytest.skip(f"{' '.join(compiler)} does not work on this machine")
    return str(path)


def _need_module(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed for this Python")


@pytest.fixture
def mpirun(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the words that start an MPI job with the implementation and number of processes asked for."""
    name, processes = request.param
    if shutil.which(f"mpirun.{name}") is None:
        pytest.skip(f"there is no mpirun.{name} on this machine")
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT", "1")
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    more = ["--oversubscribe"] if name == "openmpi" else []
    return [f"mpirun.{name}", *more, "-n", str(processes)]


TWO = pytest.mark.parametrize("mpirun", [("openmpi", 2), ("mpich", 2)], indirect=True, ids=["openmpi", "mpich"])
FOUR = pytest.mark.parametrize("mpirun", [("openmpi", 4), ("mpich", 4)], indirect=True, ids=["openmpi", "mpich"])
TWO_OPEN_MPI = pytest.mark.parametrize("mpirun", [("openmpi", 2)], indirect=True, ids=["openmpi"])


def _ring(bench: Workbench, mpirun: list[str]) -> list[str]:
    compiler = mpirun[0].replace("mpirun", "mpicc")
    return [*mpirun, _compiled(bench, [compiler, "-O1"], EXAMPLES / "ring.c"), STEPS]


@pytest.mark.plain_user_too
@TWO
def test_an_mpi_job_resumes(bench: Workbench, criu: EngineHere, mpirun: list[str]) -> None:
    del criu
    _survives(bench, _ring(bench, mpirun))


@FOUR
def test_an_mpi_job_of_four_processes_resumes(bench: Workbench, criu: EngineHere, mpirun: list[str]) -> None:
    del criu
    _survives(bench, _ring(bench, mpirun))


@TWO_OPEN_MPI
def test_an_mpi_job_of_python_processes_resumes(bench: Workbench, criu: EngineHere, mpirun: list[str]) -> None:
    del criu
    _need_module("mpi4py")
    _survives(bench, [*mpirun, sys.executable, str(EXAMPLES / "ring.py"), STEPS])


@TWO_OPEN_MPI
def test_an_mpi_job_resumes_where_its_temporary_files_are_gone(
    bench: Workbench, criu: EngineHere, mpirun: list[str]
) -> None:
    """As they are on another machine, and after a reboot."""
    del criu
    line = ["-i", "0.7", "--stdout", "out.txt", *_ring(bench, mpirun)]
    plain = bench.start_plain(*line[4:])
    process = bench.start(*line)
    bench.wait_generations(1, process)
    kill_all(process)
    assert plain.wait(LONG_S) == 0
    shutil.rmtree(bench.temporary)
    assert bench.start(*line).wait(LONG_S) == 0
    bench.assert_same("out.txt")


@TWO_OPEN_MPI
def test_two_mpi_jobs_at_once_resume(bench: Workbench, criu: EngineHere, mpirun: list[str]) -> None:
    del criu
    program = _ring(bench, mpirun)
    plain = bench.start_plain(*program)
    places = [bench.folder / "one", bench.folder / "two"]
    lines = [["-i", "0.7", "--dir", place, "--stdout", place.with_suffix(".txt"), *program] for place in places]
    processes = [bench.start(*line) for line in lines]
    for place, process in zip(places, processes, strict=True):
        wait_until(lambda place=place: list(place.glob("*/generations/*/manifest.json")))
        kill_all(process)
    assert plain.wait(LONG_S) == 0
    assert [process.wait(LONG_S) for process in [bench.start(*line) for line in lines]] == [0, 0]
    for place in places:
        assert place.with_suffix(".txt").read_bytes() == (bench.plain / "out.txt").read_bytes()


def test_a_program_with_terminals_of_its_own_resumes_whoever_has_terminals_now(
    bench: Workbench, criu: EngineHere
) -> None:
    del criu
    line = ["-i", "0.7", "--stdout", "out.txt", *bench.python("terminals.py", TERMINALS)]
    process = bench.start(*line)
    bench.wait_generations(1, process)
    kill_all(process)
    taken = [fd for _ in range(20) for fd in os.openpty()]
    try:
        assert bench.start(*line).wait(LONG_S) == 0
    finally:
        for fd in taken:
            os.close(fd)
    assert (bench.folder / "out.txt").read_text() == "".join(f"step {step} True\n" for step in range(35))


@pytest.mark.plain_user_too
def test_a_port_that_another_program_has_now_is_named(bench: Workbench, criu: EngineHere) -> None:
    line = ["-i", "0.7", "--stdout", "out.txt", *bench.python("listens.py", LISTENS)]
    process = bench.start(*line)
    bench.wait_generations(1, process)
    kill_all(process)
    port = int((bench.folder / "port").read_text())
    with socket.create_server(("127.0.0.1", port)):
        done = bench.run(*line)
    assert done.returncode == 125
    assert str(port) in done.stderr
    if criu.user is None:
        # who uses a port is shown to that user and to root alone
        assert f"pid {os.getpid()}" in done.stderr
    assert bench.start(*line).wait(LONG_S) == 0
    assert (bench.folder / "out.txt").read_text() == "".join(f"{step}\n" for step in range(35))


@pytest.mark.plain_user_too
def test_a_connection_among_its_own_processes_resumes_at_once(bench: Workbench, criu: EngineHere) -> None:
    """The kernel keeps its address for a minute after each kill."""
    began = time.monotonic()
    bench.assert_survives(bench.python("talks.py", TALKS), options=["-i", "0.7", *criu.to_itself], times=2)
    assert time.monotonic() - began < 100


with_dmtcp = pytest.mark.skipif(shutil.which("dmtcp_launch") is None, reason="DMTCP is not on PATH")


@with_dmtcp
@pytest.mark.parametrize("kind", ["static", "go"])
def test_auto_takes_criu_for_what_dmtcp_cannot_take(bench: Workbench, criu: EngineHere, kind: str) -> None:
    del criu
    program = BY_NAME["C, statically linked" if kind == "static" else "Go with C (cgo)"]
    if why_not := build([program], bench.folder.parent):
        pytest.skip(why_not[program.name])
    name, _ = Places(bench.folder.parent, bench.folder).words(program.command)
    why = "it is statically linked" if kind == "static" else "it is a Go program"
    done = bench.run("--engine", "auto", "-v", "-i", "0", "--stdout", "out.txt", name, "3")
    assert done.returncode == (7 if kind == "static" else 0)
    assert f"engine criu: dmtcp cannot checkpoint {name}: {why}" in done.stderr
    refused = bench.run("-i", "0", "--engine", "dmtcp", "--job", "other", name)
    assert refused.returncode == 125
    assert f"dmtcp cannot checkpoint {name}: {why}" in refused.stderr


@with_dmtcp
def test_auto_takes_criu_or_nothing_for_an_mpi_that_is_not_known(bench: Workbench, criu: EngineHere) -> None:
    del criu
    mpirun = bench.folder / "mpirun"
    shutil.copy(str(shutil.which("env")), mpirun)
    done = bench.run("--engine", "auto", "-v", "-i", "0", str(mpirun), "true")
    assert done.returncode == 0
    assert "engine criu: dmtcp may fail with" in done.stderr
    without = {**bench.environ, "DMTCP_RUN_CRIU": str(bench.folder / "none")}
    refused = bench.run("--engine", "auto", "-i", "0", "--job", "other", str(mpirun), "true", env=without)
    assert refused.returncode == 125
    assert "--engine dmtcp tries it anyway" in refused.stderr
