"""What programs are launched with so that they work: each setting works, and is still needed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dmtcp_py.native import built
from dmtcp_py.system.files import remove_temporaries
from dmtcp_py.system.proc import SHARED_MEMORY
from kit.places import REPOSITORY, RUN, WITHOUT
from kit.processes import kill_all
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.bench import Workbench
    from kit.engines import EngineHere

BLAS_AND_PROCESSES = """
import os, subprocess, sys, time
import numpy as np
a = np.random.default_rng(1).random((300, 300))
x = a
for step in range(int(sys.argv[1])):
    x = a @ x
    x /= abs(x).max()
    said = subprocess.run(["echo", "child", str(step)], capture_output=True, text=True, check=True).stdout
    os.system("exit 0")
    print(said.strip(), repr(x.sum()), flush=True)
    time.sleep(0.6)
print("done", repr(x.trace()))
"""
DUPLICATED = """
import os, socket, time
file = os.open("kept.txt", os.O_CREAT | os.O_RDWR)
reading, writing = os.pipe()
near, far = socket.socketpair()
kept = [os.dup(one) for one in (file, writing, near.fileno(), 1)]
os.close(file)
for step in range(50):
    for fd in kept:
        try:
            os.write(fd, b"%d " % step)
        except OSError as error:
            print(error, flush=True)
    print(os.read(reading, 9), far.recv(9), flush=True)
    time.sleep(0.1)
"""
SPAWNED = """
import multiprocessing, time

def work(semaphore, queue):
    for step in range(30):
        with semaphore:
            queue.put(step)
        time.sleep(0.1)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    semaphore, queue = context.Semaphore(1), context.Queue()
    worker = context.Process(target=work, args=(semaphore, queue))
    worker.start()
    for _ in range(30):
        with semaphore:
            pass
        print(queue.get(timeout=60), flush=True)
    worker.join(60)
    print("done", worker.exitcode)
"""
SEMAPHORES = """
import ctypes, errno, os, time
libc = ctypes.CDLL(None, use_errno=True)
libc.sem_open.restype = ctypes.c_void_p
libc.sem_close.argtypes = [ctypes.c_void_p]

def tell(name, flags, mode=0o600, value=1):
    semaphore = libc.sem_open(name, flags, mode, ctypes.c_uint(value))
    print("made" if semaphore else errno.errorcode[ctypes.get_errno()])
    return semaphore

make, alone, name = os.O_CREAT, os.O_CREAT | os.O_EXCL, b"/%d-of-test" % time.monotonic_ns()
tell(name, 0)
print(tell(name, alone) == tell(name, make))
tell(name, alone)
tell(name, make, value=1 << 31)
libc.sem_unlink(name)
for longer in (b"/" + b"x" * 251, b"/" + b"x" * 252, b"/", b"/a/b"):
    tell(longer, make)
    libc.sem_unlink(longer)
if not os.getuid():
    os.setuid(65534)
tell(name, alone, 0)
libc.sem_unlink(name)
if os.fork() == 0:
    for _ in range(20000):
        libc.sem_unlink(name)
    os._exit(0)
failed = 0
for _ in range(20000):
    semaphore = libc.sem_open(name, make, 0o600, 1)
    failed += not semaphore
    libc.sem_close(semaphore) if semaphore else None
os.wait()
print(failed, libc.sem_unlink(name) in (0, -1))
"""
IN_FLIGHT = """
import os, socket, sys, threading, time

def talk(peer, seed, name):
    with open(name, "w") as out:
        for step in range(int(sys.argv[1])):
            mine, other = (bytes([(step + one) % 256]) * 30_000_000 for one in (seed, 1 - seed))
            sender = threading.Thread(target=peer.sendall, args=(mine,))
            sender.start()
            time.sleep(1.5)
            received = bytearray()
            while len(received) < len(other):
                received += peer.recv(min(1 << 20, len(other) - len(received)))
            sender.join()
            out.write(f"{step} {received == other}\\n")
            out.flush()

server = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:
    talk(server.accept()[0], 1, "server.txt")
    os._exit(0)
with socket.create_connection(server.getsockname()) as peer:
    talk(peer, 0, "client.txt")
    os.wait()
"""
"""Both ends send at once, and read later."""
DATAGRAM = "import socket; socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); print('done')"
STEPS = "300"
RING = "ring"
MPIRUN = ("mpirun.openmpi", "--oversubscribe", "-n", "2", RING, STEPS)
MPICH = ("mpirun.mpich", "-n", "2", RING, STEPS)
NEEDED = {
    "plugin openmpi": MPIRUN,
    "HWLOC_COMPONENTS": MPIRUN,
    "OMPI_MCA_rtc_hwloc_vmhole": MPIRUN,
    "UCX_MEM_MMAP_HOOK_MODE": MPICH,
    "UCX_TLS": MPICH,
}
"""A program that does not come through without the setting."""
_ENOUGH_S = 25.0
"""Within this long, also where much else runs, such a program has its first generation if it ever has."""
_needs_compiler = pytest.mark.skipif(built("forks") is None, reason="there was no compiler at the installation")


@pytest.fixture
def dmtcp(engine: EngineHere) -> EngineHere:
    """Give the engine where it is a DMTCP; a quirk is one engine's."""
    if engine.name != "dmtcp":
        pytest.skip("only DMTCP needs these")
    return engine


def _comes_through(bench: Workbench, program: list[str | Path], *, generations: int) -> None:
    """Let PROGRAM be killed after so many GENERATIONS, and end as if nothing had happened."""
    plain = bench.start_plain(*program)
    line = ["-i", "1", "--stdout", "out.txt", *program]
    process = bench.start(*line)
    bench.wait_generations(generations, process)
    kill_all(process)
    assert bench.run(*line).returncode == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")


@_needs_compiler
def test_a_program_with_threaded_blas_starts_processes_and_resumes(bench: Workbench, dmtcp: EngineHere) -> None:
    assert dmtcp
    _comes_through(bench, [*bench.python("blas.py", BLAS_AND_PROCESSES), "12"], generations=2)


@_needs_compiler
def test_without_the_plugin_such_a_program_hangs_or_fails(bench: Workbench, dmtcp: EngineHere) -> None:
    """Where this one fails, DMTCP has learned it: the plugin can go for versions from that one on."""
    program = [*bench.python("blas.py", BLAS_AND_PROCESSES), "1"]
    tools = Path(dmtcp.environ["DMTCP_PREFIX"]) / "bin"
    port, environ = bench.folder / "port", {**bench.environ, "TMPDIR": str(bench.folder)}
    argv = [tools / "dmtcp_coordinator", "--port", "0", "--port-file", port, "--exit-on-last", "--quiet"]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(argv, **streams, cwd=bench.folder, env=environ) as coordinator:  # type: ignore[call-overload]
        try:
            while not port.is_file() or not port.read_text().strip():
                assert coordinator.poll() is None
            join = ["--join-coordinator", "--coord-port", port.read_text().strip(), "--no-gzip", "--quiet"]
            process = subprocess.Popen(
                [tools / "dmtcp_launch", *join, *program],
                **streams,  # type: ignore[call-overload]
                cwd=bench.folder,
                start_new_session=True,
                env=environ,
            )
            bench.started.append(process)
            try:
                assert process.wait(5) != 0
            except subprocess.TimeoutExpired:
                kill_all(process)
        finally:
            coordinator.terminate()


@_needs_compiler
@pytest.mark.parametrize("program", [DUPLICATED, SPAWNED], ids=["duplicated", "spawned"])
def test_what_several_processes_have_in_common_stays_so(bench: Workbench, dmtcp: EngineHere, program: str) -> None:
    """Without the plugin `forks` the first are closed after a restart, and the second never takes a checkpoint."""
    assert dmtcp
    _comes_through(bench, bench.python("common.py", program), generations=1)


@_needs_compiler
def test_semaphores_with_names_are_made_as_without_us(bench: Workbench, dmtcp: EngineHere) -> None:
    assert dmtcp
    program = ["--stdout", "out.txt", *bench.python("semaphores.py", SEMAPHORES)]
    plain = bench.start_plain(*program[2:])
    assert plain.wait(LONG_S) == 0
    assert bench.run("-i", "0", *program).returncode == 0
    bench.assert_same("out.txt")


@_needs_compiler
def test_megabytes_on_their_way_in_both_directions_come_through(bench: Workbench, dmtcp: EngineHere) -> None:
    """Without the plugin `hosts` the restart hangs: as much is put back at both ends before either reads."""
    assert dmtcp
    program = [*bench.python("flight.py", IN_FLIGHT), "6"]
    plain = bench.start_plain(*program)
    process = bench.start("-i", "1", "--job", "flight", *program)
    bench.wait_lines(2, process, "client.txt")
    bench.wait_generations(1, process)
    kill_all(process)
    assert bench.run("-i", "0", "--job", "flight", *program).returncode == 0
    assert plain.wait(LONG_S) == 0
    assert bench.events.count("resumed") == 1
    bench.assert_same("server.txt", "client.txt")


@pytest.fixture
def mpi(monkeypatch: pytest.MonkeyPatch, bench: Workbench) -> Iterator[None]:
    """Let mpirun run as root, and clean up after a last dmtcp-run that was killed with all that cleans up after it."""
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT", "1")
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    yield
    for process in bench.started:
        # the pid of one that has ended may be another's by now
        if process.poll() is None:
            kill_all(process)
    for manifest in bench.jobs.glob("*/generations/*/manifest.json"):
        for segment in _segments(json.loads(manifest.read_text())):
            Path(segment).unlink(missing_ok=True)
    for path in bench.temporary.iterdir():
        shutil.rmtree(path, ignore_errors=True)
    for job in bench.jobs.iterdir():
        if job.is_dir():
            remove_temporaries(job, Path(SHARED_MEMORY))


def _segments(manifest: dict[str, Any]) -> list[str]:
    """Return the shared memory with names that the program had."""
    found: list[str] = json.loads(manifest["engine_data"].get("shared_memory", "{}")).get("named", [])
    return found


def _built(bench: Workbench, words: tuple[str, ...]) -> list[str]:
    """Return WORDS with the path of the ring, compiled for their MPI; skip where that is not here."""
    compiler = "mpicc.mpich" if words[0].endswith("mpich") else "mpicc.openmpi"
    path = bench.folder.parent / RING
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler} on this machine")
    subprocess.run([compiler, "-O1", "-o", path, REPOSITORY / "examples" / "ring.c"], check=True, timeout=LONG_S)
    return [str(path) if word == RING else word for word in words]


@_needs_compiler
@pytest.mark.usefixtures("mpi")
@pytest.mark.parametrize("setting", NEEDED)
def test_without_a_setting_for_mpi_a_job_does_not_come_through(
    bench: Workbench, one_dmtcp: EngineHere, setting: str
) -> None:
    """Where this one fails the setting can go, for the versions of DMTCP and MPI that are here."""
    assert one_dmtcp
    _does_not_come_through(bench, setting, NEEDED[setting])


@pytest.mark.usefixtures("mpi")
def test_without_its_setting_a_job_without_mpirun_starts_a_daemon(bench: Workbench, one_dmtcp: EngineHere) -> None:
    """Where this one fails the setting can go."""
    assert one_dmtcp
    setting = "OMPI_MCA_ess_singleton_isolated"
    program = _built(bench, (RING, STEPS))
    count = {}
    for job, command in (("without", [*WITHOUT, setting]), ("with", [RUN])):
        process = _typed(bench, [*command, "--engine", "dmtcp", "--job", job, "-i", "2", *program])
        generations = bench.jobs / job / "generations"
        wait_until(lambda: list(generations.glob("*/manifest.json")) or process.poll() is not None)  # noqa: B023
        kill_all(process)
        count[job] = json.loads(next(generations.glob("*/manifest.json")).read_text())["processes"]
    assert count == {"without": 2, "with": 1}


def _does_not_come_through(bench: Workbench, setting: str, words: tuple[str, ...]) -> None:
    program = _built(bench, words)
    line = [*WITHOUT, setting, "--engine", "dmtcp", "-i", "2", "--stdout", "out.txt"]
    process = _typed(bench, [*line, *program])
    try:
        wait_until(lambda: bench.generations or process.poll() is not None, _ENOUGH_S)
    except AssertionError:
        kill_all(process)
        return
    if process.poll() is not None:
        assert process.returncode != 0
        return
    kill_all(process)
    before = (bench.folder / "out.txt").stat().st_size
    resumed = _typed(bench, [*line, *program])
    try:
        wait_until(lambda: "resumed" in bench.events or resumed.poll() is not None, _ENOUGH_S)
        wait_until(lambda: (bench.folder / "out.txt").stat().st_size > before + 200 or resumed.poll() is not None, 10)
    except AssertionError:
        kill_all(resumed)
        return
    assert resumed.poll() not in (None, 0), "it came through"


def _typed(bench: Workbench, argv: list[str]) -> subprocess.Popen[bytes]:
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    process = subprocess.Popen(argv, cwd=bench.folder, env=bench.environ, **streams)
    bench.started.append(process)
    return process


@pytest.mark.usefixtures("mpi")
@pytest.mark.parametrize("setting", ["OMPI_MCA_orte_tmpdir_base", "OMPI_MCA_btl_vader_backing_directory"])
def test_without_its_own_folder_two_jobs_share_what_is_each_ones_own(
    bench: Workbench, one_dmtcp: EngineHere, setting: str
) -> None:
    """Where this one fails, the launchers of two jobs have different pids under DMTCP: the setting can go."""
    assert one_dmtcp
    program = _built(bench, MPIRUN)
    shared = []
    for job in ("one", "two"):
        line = [*WITHOUT, setting, "--engine", "dmtcp", "--job", job, "-i", "2"]
        process = _typed(bench, [*line, *program])
        generations = bench.jobs / job / "generations"
        wait_until(lambda: list(generations.glob("*/manifest.json")) or process.poll() is not None)  # noqa: B023
        kill_all(process)
        manifest = json.loads(next(generations.glob("*/manifest.json")).read_text())
        shared.append(set(_kept(manifest, bench.jobs / job)))
    assert shared[0] & shared[1]


def _kept(manifest: dict[str, Any], job: Path) -> Iterator[str]:
    """Return what the processes of a job share by name, in shared memory or in temporary files."""
    yield from _segments(manifest)
    for listed in (job / "generations").glob(f"{manifest['generation']:06}/*_files/fd-info.txt"):
        yield from re.findall(r"/\S+/ompi\.\S+", listed.read_text())


@_needs_compiler
def test_5_0_warns_on_standard_error_without_the_plugin_and_not_with_it(bench: Workbench, dmtcp: EngineHere) -> None:
    if not dmtcp.version.startswith("5"):
        pytest.skip("only 5.0 forgets where to write")
    line = ["-q", "sh", "-c", 'exec "$@"', "sh", sys.executable, "-c", DATAGRAM]
    without, done = bench.run_without("plugin messages", "--job", "without", *line), bench.run(*line)
    assert without.stdout == done.stdout == "done\n"
    assert "Datagram sockets not supported" in without.stderr
    assert done.stderr == ""


def test_what_was_set_is_told_and_stands_in_the_manifest_and_what_the_caller_set_stays(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    assert dmtcp
    names = ("HWLOC_COMPONENTS", "OMPI_MCA_ess_singleton_isolated")
    text = f"import os, time; time.sleep(2); print(*map(os.environ.get, {names}))"
    environ = {**bench.environ, "HWLOC_COMPONENTS": "mine"}
    done = bench.run("-v", "-i", "0.5", sys.executable, "-c", text, env=environ)
    assert done.stdout == "mine 1\n"
    assert "set OMPI_MCA_ess_singleton_isolated=1: " in done.stderr
    assert "HWLOC_COMPONENTS" not in done.stderr
    manifest = json.loads((bench.job / "generations" / f"{bench.generations[-1]:06}" / "manifest.json").read_text())
    assert any(quirk.startswith("OMPI_MCA_ess_singleton_isolated=1: ") for quirk in manifest["quirks"])
