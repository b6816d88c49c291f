"""How an attempt ends: finished, checkpointed, killed by us, killed by somebody else, engine failed; never confused.

Every test runs against every engine on this machine but where its docstring says otherwise.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from dmtcp_py.native import built
from kit.processes import coordinator_of, kill_all, needed_for_checkpoints, program_of
from kit.waits import LONG_S, happens, run_on, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.bench import Workbench
    from kit.engines import EngineHere

    Process = subprocess.Popen[bytes]

INSISTS_S = 0.6
"""A second signal within half a second is still the first one: schedulers deliver one by several ways."""
CONNECTED = """
import socket, sys, time

with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    for step in range(400):
        print(step, flush=True)
        time.sleep(0.1)
"""
IMPATIENT = """
import sys
from dmtcp_py.attempt import checkpoint
from dmtcp_py.cli.run import main
from dmtcp_py.engine.dmtcp import safe_moment
checkpoint.STALL_S = 4.0
safe_moment.first_obstacle = lambda *_, **__: None
sys.argv[0] = "dmtcp-run"
main()
"""
"""dmtcp-run, for which a checkpoint hangs after 4 s without progress already, and which looks for no hindrance."""


def _last(bench: Workbench) -> tuple[str, int]:
    line = [line for line in bench.history if line["event"] != "pruned"][-1]
    return line["event"], line["status"]


def _said(bench: Workbench) -> str:
    return (bench.folder / "stderr.txt").read_text()


def _finishes(bench: Workbench, line: list[str], *names: str, status: int = 0) -> None:
    assert bench.start(*line).wait(LONG_S) == status
    assert _last(bench) == ("finished", status)
    bench.assert_same(*names)


# finished


@pytest.mark.parametrize("status", [0, 1, 85, 99, 125, 137, 213, 255])
def test_a_program_that_ends_by_itself_has_finished_with_whatever_status(
    bench: Workbench, engine: EngineHere, status: int
) -> None:
    """Among them the statuses by which DMTCP and dmtcp-run speak of other things."""
    del engine
    assert bench.start("--stdout", "out.txt", *bench.counting(1, status=status)).wait(LONG_S) == status
    assert _last(bench) == ("finished", status)
    assert f"finished with status {status}" in _said(bench)


def test_a_resumed_program_that_ends_by_itself_has_finished_with_its_status(
    bench: Workbench, engine: EngineHere
) -> None:
    """Here the one by which DMTCP says that it failed itself."""
    del engine
    status = 213
    program = bench.counting(16, status=status)
    line = ["-i", "1", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    process = bench.start(*line)
    bench.wait_generations(1, process)
    kill_all(process)
    assert plain.wait(LONG_S) == status
    _finishes(bench, line, "out.txt", status=status)


def test_a_program_that_ends_during_a_checkpoint_has_finished(bench: Workbench, engine: EngineHere) -> None:
    """With intervals of the program's own length, one of these ends meets a checkpoint."""
    del engine
    attempts = {}
    for steps in (10, 11, 12):
        program = bench.counting(steps, status=steps)
        attempts[steps] = bench.start("-i", "1", "--job", f"job{steps}", "--stdout", f"{steps}.txt", *program)
    for steps, process in attempts.items():
        assert process.wait(LONG_S) == steps
        assert f"finished with status {steps}" in _said(bench)
        assert (bench.folder / f"{steps}.txt").read_text().splitlines()[-1].startswith(f"done {steps} ")


def test_a_program_killed_by_a_signal_is_told_with_its_signal_and_resumed(bench: Workbench, engine: EngineHere) -> None:
    del engine
    program = bench.counting(60)
    line = ["-i", "1", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    process = bench.start(*line)
    bench.wait_generations(1, process)
    running = program_of(process)
    assert running is not None
    running.send_signal(signal.SIGSEGV)
    assert process.wait(LONG_S) == 128 + signal.SIGSEGV
    assert _last(bench) == ("signalled", 128 + signal.SIGSEGV)
    assert f"killed by signal {signal.SIGSEGV}" in _said(bench)
    assert plain.wait(LONG_S) == 0
    _finishes(bench, line, "out.txt")


RELAYED = 'set +e; python=$1; shift; "$python" "$@"; exit $?'
"""A shell that gives what its child ended with as its own status, as mpirun does."""


@pytest.mark.parametrize("who", ["itself", "its child"])
def test_a_crash_after_a_restart_is_not_believed_until_it_comes_again(
    bench: Workbench, engine: EngineHere, who: str
) -> None:
    """It may have been the restart's doing: the generation is resumed once more."""
    del engine
    program = bench.counting(30, status=5)
    plain = bench.start_plain(*program)
    line = ["-i", "1", "--stdout", "out.txt", *(["sh", "-c", RELAYED, "sh"] if who == "its child" else []), *program]
    process = bench.start(*line)
    bench.wait_generations(1, process)
    kill_all(process)
    process = bench.start(*line)
    wait_until(lambda: "resumed" in bench.events)
    running = program_of(process)
    assert running is not None
    victim = running.children()[0] if who == "its child" else running
    victim.send_signal(signal.SIGSEGV)
    assert process.wait(LONG_S) == 5
    assert plain.wait(LONG_S) == 5
    assert f"the program crashed with status {128 + signal.SIGSEGV} after a restart" in _said(bench)
    assert bench.events.count("resumed") == 2
    assert _last(bench) == ("finished", 5)
    bench.assert_same("out.txt")


def test_a_program_that_crashes_again_ends_with_that(bench: Workbench, engine: EngineHere) -> None:
    del engine
    program = bench.counting(25, signum=signal.SIGSEGV)
    line = ["-i", "1", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    process = bench.start(*line)
    bench.wait_generations(1, process)
    kill_all(process)
    assert bench.start(*line).wait(LONG_S) == 128 + signal.SIGSEGV
    assert plain.wait(LONG_S) == -signal.SIGSEGV
    assert bench.events.count("resumed") == 2
    assert _last(bench) == ("signalled", 128 + signal.SIGSEGV)
    bench.assert_same("out.txt")


# checkpointed


def test_each_signal_that_asks_to_stop_gives_a_generation_after_which_nothing_of_the_program_ran(
    bench: Workbench, engine: EngineHere
) -> None:
    """The program writes by opening its file each time: what ran after an image would stand there twice."""
    del engine
    line = ["-i", "0", *bench.counting(70, pause=0.05, ledger="diary.txt")]
    diary = bench.folder / "diary.txt"
    for count, signum in enumerate((signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP), start=1):
        process = bench.start(*line)
        bench.wait_lines(4, process, "diary.txt")
        process.send_signal(signum)
        assert process.wait(LONG_S) == 85
        at_the_end = diary.read_text()
        assert bench.generations[-1] == count
        assert _last(bench) == ("checkpointed", 85)
        committed = [line for line in bench.history if line["event"] == "checkpointed" and "reason" in line]
        assert (committed[-1]["reason"], committed[-1]["program_stopped"]) == (signum.name, True)
        assert f"checkpointed and stopped; the same line resumes from generation {count}" in _said(bench)
        assert diary.read_text() == at_the_end
    assert bench.start(*line).wait(LONG_S) == 0
    assert diary.read_text() == "".join(f"{step}\n" for step in range(1, 71))


def test_a_signal_soon_after_the_start_leaves_nothing_behind_and_the_same_line_finishes(
    bench: Workbench, engine: EngineHere
) -> None:
    """Time is what this is about: the signal meets dmtcp-run before, while and after it starts the program."""
    del engine
    line = ["-i", "0", "--stdout", "out.txt", *bench.counting(12)]
    plain = bench.start_plain(*bench.counting(12))
    for seconds in (0.0, 0.1, 0.2, 0.3, 0.1, 0.2):
        process = bench.start(*line)
        run_on(process, seconds)
        process.terminate()
        assert process.wait(LONG_S) in {85, -signal.SIGTERM}
    assert plain.wait(LONG_S) == 0
    _finishes(bench, line, "out.txt")


def test_a_signal_during_an_interval_checkpoint_still_gives_a_last_one(bench: Workbench, engine: EngineHere) -> None:
    del engine
    program = bench.counting(60, megabytes=64)
    line = ["-i", "1", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    process = bench.start(*line)
    jobs = bench.folder / ".dmtcp-run"
    wait_until(lambda: any(jobs.glob("*/staging/*/*")) or process.poll() is not None)
    process.terminate()
    assert process.wait(LONG_S) == 85
    assert [line["reason"] for line in bench.history if "reason" in line][-1] == "SIGTERM"
    assert plain.wait(LONG_S) == 0
    _finishes(bench, line, "out.txt")


# killed by us


def test_a_second_signal_stops_at_once_without_a_generation(bench: Workbench, engine: EngineHere) -> None:
    """The last checkpoint does not come to its end, since a process that it needs is stopped."""
    del engine
    program = bench.counting(15)
    line = ["-i", "0", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    process = bench.start(*line)
    bench.wait_lines(2, process)
    needed = needed_for_checkpoints(process)
    assert needed is not None
    needed.suspend()
    process.terminate()
    run_on(process, INSISTS_S)
    process.terminate()
    assert process.wait(15) == 128 + signal.SIGTERM
    assert bench.generations == []
    assert _last(bench) == ("stopped", 128 + signal.SIGTERM)
    assert "stopped at once; there is no generation yet, so the same line starts the program again" in _said(bench)
    assert plain.wait(LONG_S) == 0
    _finishes(bench, line, "out.txt")


def test_two_signals_at_once_are_one_request(bench: Workbench, engine: EngineHere) -> None:
    """A scheduler sends SIGTERM to the whole job, and again by way of its shell."""
    del engine
    process = bench.start("-i", "0", "--stdout", "out.txt", *bench.counting(50))
    bench.wait_lines(2, process)
    process.terminate()
    process.terminate()
    assert process.wait(LONG_S) == 85
    assert bench.generations == [1]


# killed by somebody else


@pytest.fixture
def dmtcp(engine: EngineHere) -> EngineHere:
    """Skip engines that nobody else can command."""
    if engine.name != "dmtcp":
        pytest.skip("only DMTCP has a command that others can give")
    return engine


def _ports_of_coordinator(process: Process) -> list[int]:
    """Return where the coordinator of dmtcp-run listens: nowhere once it has ended."""
    try:
        coordinator = coordinator_of(process)
        connections = coordinator.net_connections() if coordinator else []
    except psutil.NoSuchProcess:
        return []
    return [one.laddr.port for one in connections if one.status == psutil.CONN_LISTEN]


def _somebodys(bench: Workbench, process: Process, option: str) -> str:
    """Give the coordinator a command, as its user may; return what it says.

    It goes unheard if dmtcp_command ends before the coordinator has looked whose it is.
    """
    ports = _ports_of_coordinator(process)
    if not ports:
        return ""
    environ = {**bench.environ, "TMPDIR": str(bench.folder)}
    argv = [Path(environ["DMTCP_PREFIX"]) / "bin" / "dmtcp_command", "--coord-port", str(ports[0]), option]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=environ)
    return done.stdout


@pytest.mark.parametrize("option", ["--kill", "--kcheckpoint", "--quit"])
def test_somebody_elses_dmtcp_command_kills_and_the_same_line_resumes(
    bench: Workbench, dmtcp: EngineHere, option: str
) -> None:
    """The program ends with 0 of it."""
    del dmtcp
    program = bench.counting(90)
    line = ["-i", "1", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    process = bench.start(*line)
    bench.wait_generations(1, process)

    def has_ended() -> bool:
        _somebodys(bench, process, option)
        return happens(lambda: process.poll() is not None, 0.2)

    wait_until(has_ended)
    assert process.returncode == 128 + signal.SIGKILL
    assert _last(bench) == ("killed-by-command", 128 + signal.SIGKILL)
    assert "somebody's dmtcp_command" in _said(bench)
    assert plain.wait(LONG_S) == 0
    _finishes(bench, line, "out.txt")


IN_FLIGHT = """
import socket, time
near, far = socket.socketpair()
with open("sent.txt", "w") as file:
    socket.send_fds(near, [b"1"], [file.fileno()])
print("sent", flush=True)
time.sleep(30)
print(len(socket.recv_fds(far, 1, 1)[1]))
"""


def test_somebody_elses_checkpoint_that_would_lose_a_descriptor_on_its_way_ends_the_program(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    del dmtcp
    program = bench.python("in_flight.py", IN_FLIGHT)
    process = bench.start("--engine", "dmtcp", "-i", "0", "--stdout", "out.txt", *program)
    wait_until((bench.folder / "out.txt").exists, LONG_S)
    wait_until(lambda: (bench.folder / "out.txt").read_text() == "sent\n", LONG_S)
    _somebodys(bench, process, "--bcheckpoint")
    assert process.wait(LONG_S) == 125
    assert "a descriptor that one process sends another would be lost on its way" in _said(bench)
    assert (bench.folder / "out.txt").read_text() == "sent\n"


def test_a_program_that_ends_right_after_somebody_elses_checkpoint_has_finished(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    """Such an end looks like that of ``dmtcp_command --kcheckpoint`` but for its status."""
    del dmtcp
    process = bench.start("-i", "0", "--stdout", "out.txt", *bench.counting(1, pause="0", until="go", status=7))
    wait_until(lambda: "RUNNING=yes" in _somebodys(bench, process, "--status"))
    _somebodys(bench, process, "--bcheckpoint")
    staging = bench.job / "staging"
    wait_until(
        lambda: (
            any(staging.glob("*/dmtcp_restart_script*.sh")) and "RUNNING=yes" in _somebodys(bench, process, "--status")
        )
    )
    (bench.folder / "go").touch()
    assert process.wait(LONG_S) == 7
    assert _last(bench) == ("finished", 7)


# the engine failed


def test_an_engine_that_fails_before_the_first_generation_is_an_error(bench: Workbench, dmtcp: EngineHere) -> None:
    """DMTCP's coordinator is killed."""
    del dmtcp
    program = bench.counting(12)
    line = ["--engine", "dmtcp", "-i", "0", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    process = bench.start(*line)
    bench.wait_lines(2, process)
    _kill_coordinator(process)
    assert process.wait(LONG_S) == 125
    assert _last(bench) == ("engine-failed", 125)
    assert "the engine failed" in _said(bench)
    assert "there is no generation yet, so the same line starts the program again" in _said(bench)
    assert plain.wait(LONG_S) == 0
    _finishes(bench, line, "out.txt")


def test_an_engine_that_fails_later_goes_on_from_the_last_good_generation_in_the_same_attempt(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    """DMTCP's coordinator is killed, twice."""
    del dmtcp
    program = bench.counting(100)
    line = ["-i", "1", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    process = bench.start(*line)
    for count in (1, 2):
        bench.wait_generations(1, process)
        bench.wait_lines(3, process)
        _kill_coordinator(process)
        wait_until(lambda count=count: bench.events.count("resumed") == count or process.poll() is not None)
    assert process.wait(LONG_S) == 0
    assert _said(bench).count("resuming the last good generation") == 2
    assert {line["epoch"] for line in bench.history} == {1}
    assert [line["what"] for line in bench.history if line["event"] == "failed"] == ["engine", "engine"]
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")


def test_what_ran_on_without_a_process_that_dmtcp_ended_is_not_committed(
    bench: Workbench, one_dmtcp: EngineHere
) -> None:
    """Its parent takes that for the process's own end, as where the output of a command is empty."""
    assert one_dmtcp
    line = ["-i", "1", "--stdout", "out.txt", *bench.counting(60, status=7)]
    process = bench.start(*line)
    bench.wait_generations(1, process)
    coordinator = coordinator_of(process)
    assert coordinator is not None
    words = coordinator.cmdline()
    with (Path(words[words.index("--tmpdir") + 1]) / "messages").open("a", encoding="utf-8") as messages:
        messages.write("*** ERROR: one that no process of this program had\n")
    assert process.wait(LONG_S) == 7
    assert "one that no process of this program had" in bench.said_with("resuming the last good generation")
    bench.assert_counted(60)


def test_an_engine_that_fails_again_and_again_without_progress_is_an_error(bench: Workbench, dmtcp: EngineHere) -> None:
    """DMTCP's coordinator is killed each time the program runs again."""
    del dmtcp
    program = bench.counting(25)
    plain = bench.start_plain(*program)
    process = bench.start("-i", "1", "--stdout", "out.txt", *program)
    bench.wait_generations(1, process)
    kill_all(process)
    line = ["-i", "0", "--stdout", "out.txt", *program]
    process = bench.start(*line)
    seen = bench.events.count("resumed")
    while process.poll() is None:
        wait_until(lambda seen=seen: bench.events.count("resumed") > seen or process.poll() is not None)
        seen += 1
        assert seen < 10, "it goes on without end"
        if coordinator_of(process):
            _kill_coordinator(process)
    assert process.returncode == 125
    assert _last(bench) == ("engine-failed", 125)
    assert plain.wait(LONG_S) == 0
    _finishes(bench, line, "out.txt")


def _kill_coordinator(process: Process) -> None:
    coordinator = coordinator_of(process)
    assert coordinator is not None
    coordinator.kill()


@pytest.mark.parametrize("asked", ["by the interval", "by SIGTERM"])
def test_a_checkpoint_that_hangs_ends_in_an_error_and_never_in_success(
    bench: Workbench, dmtcp: EngineHere, asked: str
) -> None:
    """A socket whose other end is not DMTCP's hangs it; its time without progress is shortened for the test."""
    del dmtcp
    place = bench.folder.parent / "socket"
    program = [*bench.python("connected.py", CONNECTED), str(place)]
    words = ["-i", "1" if "interval" in asked else "0", "--stdout", "out.txt", *program]
    with socket.socket(socket.AF_UNIX) as server, (bench.folder / "stderr.txt").open("ab") as said:
        server.bind(str(place))
        server.listen()
        argv = [*bench.python("impatient.py", IMPATIENT), *words]
        process = subprocess.Popen(
            argv, cwd=bench.folder, env=bench.environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said
        )
        bench.started.append(process)
        with server.accept()[0]:
            bench.wait_lines(1, process)
            if "SIGTERM" in asked:
                process.terminate()
            assert process.wait(60) == 125
    assert bench.generations == []
    assert _last(bench) == ("engine-failed", 125)
    assert "a checkpoint hung" in _said(bench)


# full disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 320 MB."""
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=320m", "small", place], timeout=20, check=False)
    if done.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    yield place
    subprocess.run(["umount", place], timeout=20, check=True)


def _fill(disk: Path, leave_mb: int) -> Path:
    filler = disk / "filler"
    with filler.open("wb") as file, suppress(OSError):
        left = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, max(left.f_bavail * left.f_frsize - (leave_mb << 20), 1))
    return filler


def test_a_disk_too_full_for_a_checkpoint_warns_and_the_program_goes_on(
    bench: Workbench, engine: EngineHere, small_disk: Path
) -> None:
    """Not a byte is left; the generation that was there stays, and the next one comes once there is room."""
    del engine
    program = bench.counting(150, until="go")
    (bench.plain / "go").touch()
    line = ["-i", "1", "--dir", small_disk / "jobs", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    process = bench.start(*line)
    generations = small_disk / "jobs"
    wait_until(lambda: any(generations.glob("*/generations/000001/manifest.json")) or process.poll() is not None)
    filler = _fill(small_disk, leave_mb=0)
    bench.wait_said("checkpoint failed", process)
    bench.wait_lines(3, process)
    assert "the program continues to run" in _said(bench)
    assert bench.ctl("--dir", small_disk / "jobs", "verify").returncode == 0
    filler.unlink()
    wait_until(lambda: any(generations.glob("*/generations/000002/manifest.json")) or process.poll() is not None)
    assert process.poll() is None
    (bench.folder / "go").touch()
    assert process.wait(LONG_S) == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")


def test_a_disk_that_fills_up_during_a_checkpoint_costs_no_earlier_generation(
    bench: Workbench, engine: EngineHere, small_disk: Path
) -> None:
    """The program has grown, so that there seemed to be room; it may be killed of it, and then is brought back."""
    del engine
    program = bench.counting(120, ballast_when="grow")
    line = ["-i", "1", "--dir", small_disk / "jobs", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    process = bench.start(*line)
    generations = small_disk / "jobs"
    wait_until(lambda: any(generations.glob("*/generations/000001/manifest.json")) or process.poll() is not None)
    filler = _fill(small_disk, leave_mb=110)
    (bench.folder / "grow").touch()
    wait_until(lambda: _said(bench).count("checkpoint failed") or process.poll() is not None)
    (bench.folder / "grow").unlink()
    assert bench.ctl("--dir", small_disk / "jobs", "verify").returncode == 0
    filler.unlink()
    assert process.wait(LONG_S) == 0
    assert "checkpoint failed" in _said(bench)
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")


# what is left, and what is inherited


def test_temporary_files_are_in_one_folder_of_ours_alone_while_it_runs(bench: Workbench, dmtcp: EngineHere) -> None:
    """That none is left at the end, after any test here, is asserted by the workbench."""
    del dmtcp
    process = bench.start("-i", "1", "--stdout", "out.txt", *bench.counting(60))
    bench.wait_generations(1, process)
    (folder,) = bench.temporary.iterdir()
    found = folder.lstat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o700, os.getuid())
    assert process.wait(LONG_S) == 0


def test_inherited_variables_of_dmtcp_change_nothing(bench: Workbench, dmtcp: EngineHere) -> None:
    """A user who has worked with DMTCP by hand has these in his environment."""
    inherited = {
        "DMTCP_CHECKPOINT_DIR": "/nonexistent",
        "DMTCP_CHECKPOINT_INTERVAL": "1",
        "DMTCP_COORD_HOST": "nowhere.invalid",
        "DMTCP_COORD_PORT": "1",
        "DMTCP_FAIL_RC": "0",
        "DMTCP_FORKED_CHECKPOINT": "1",
        "DMTCP_GZIP": "1",
        "DMTCP_RESTART_DIR": "/nonexistent",
        "DMTCP_SIGCKPT": "10",
        "DMTCP_TMPDIR": "/nonexistent",
        "JALIB_STDERR_PATH": "/nonexistent/messages",
    }
    environ = {**bench.environ, **inherited, **dmtcp.environ}
    program = bench.counting(25)
    line = ["-i", "1", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    process = bench.start(*line, env=environ)
    bench.wait_generations(1, process)
    (image,) = (bench.job / "generations" / "000001").glob("*.dmtcp")
    assert image.read_bytes()[:2] != b"\x1f\x8b", "the image is compressed"
    kill_all(process)
    process = bench.start(*line, env=environ)
    assert process.wait(LONG_S) == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")


CHILD_OF_AN_EARLIER_LIFE = """
(exit 7) & first=$!
mkfifo rest; exec 9<>rest
for ((step = 0; step < $1; step++)); do read -rt 0.1 -u 9; echo $step; done
true & second=$!
wait $second; wait $first; echo "first $?"
"""


def test_a_new_child_gets_no_number_that_a_child_had_before_the_resume(bench: Workbench, one_dmtcp: EngineHere) -> None:
    """A shell loses the status of the one or the other."""
    assert one_dmtcp
    bash = shutil.which("bash")
    if bash is None or built("forks") is None:
        pytest.skip("there is no bash here, or there was no C compiler at the installation")
    bench.assert_survives([bash, "-c", CHILD_OF_AN_EARLIER_LIFE.replace("$1", "40")])
    assert "first 7\n" in bench.said("out.txt")
