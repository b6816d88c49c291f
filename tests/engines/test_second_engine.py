"""A program that its engine loses at the start is started once more with the other, where that is left to us."""

from __future__ import annotations

import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from kit.jobs import history_of
from kit.waits import LONG_S

if TYPE_CHECKING:
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

NOT_WITH_DMTCP = """
echo begun >>notes.txt
[ -z "$DMTCP_HIJACK_LIBS" ] || kill -s ABRT $$
echo "done"
exit 3
"""
ALWAYS = """
echo begun >>notes.txt
kill -s SEGV $$
"""
ONCE_MORE = "within its first second, which may be the fault of dmtcp {}: starting it once more with criu "


@pytest.fixture
def dmtcp(engine: EngineHere, engines_here: list[EngineHere]) -> EngineHere:
    """Give a DMTCP that ``auto`` takes, where CRIU is here for what it loses."""
    if engine.name != "dmtcp":
        pytest.skip("auto takes DMTCP first")
    if not any(one.name == "criu" for one in engines_here):
        pytest.skip("there is no other engine here")
    return engine


def _script(bench: Workbench, text: str) -> list[str | Path]:
    path = bench.folder.parent / "script.sh"
    path.write_text(text)
    return ["sh", path]


def _started_with(bench: Workbench) -> list[str]:
    return [line["engine"].split()[0] for line in bench.history if line["event"] == "started"]


def test_a_program_that_crashes_with_dmtcp_alone_is_started_once_more_with_criu(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    done = bench.run("--stdout", "out.txt", *_script(bench, NOT_WITH_DMTCP))
    assert done.returncode == 3
    assert f"crashed with status {128 + signal.SIGABRT} {ONCE_MORE.format(dmtcp.version)}" in done.stderr
    assert _started_with(bench) == ["dmtcp", "criu"]
    assert (bench.folder / "out.txt").read_text() == "done\n"
    assert (bench.folder / "notes.txt").read_text() == "begun\n"


def test_a_program_that_crashes_with_both_keeps_its_status_and_is_started_no_third_time(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    done = bench.run(*_script(bench, ALWAYS))
    assert done.returncode == 128 + signal.SIGSEGV
    assert done.stderr.count(ONCE_MORE.format(dmtcp.version)) == 1
    assert f"crashed with status {128 + signal.SIGSEGV} within its first second with criu " in done.stderr
    assert _started_with(bench) == ["dmtcp", "criu"]
    assert (bench.folder / "notes.txt").read_text() == "begun\n"


def test_a_program_for_which_an_engine_was_named_is_not_started_with_another(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    done = bench.run("--engine", "dmtcp", *_script(bench, NOT_WITH_DMTCP))
    assert done.returncode == 128 + signal.SIGABRT
    assert f"may be the fault of dmtcp {dmtcp.version}: see whether it does so without dmtcp-run" in done.stderr
    assert "try --engine criu" in done.stderr
    assert _started_with(bench) == ["dmtcp"]


def test_a_program_that_has_read_from_a_pipe_reads_the_same_once_more(bench: Workbench, dmtcp: EngineHere) -> None:
    assert dmtcp
    script = _script(bench, f"read -r word; echo $word; {NOT_WITH_DMTCP.replace('exit 3', 'exec cat')}")
    process = bench.start("--stdout", "out.txt", *script, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"first\nsecond\n")
    process.stdin.close()
    assert process.wait(LONG_S) == 0
    assert _started_with(bench) == ["dmtcp", "criu"]
    assert (bench.folder / "out.txt").read_text() == "first\ndone\nsecond\n"


def test_a_program_that_may_have_read_from_a_socket_is_not_started_once_more(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    assert dmtcp
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = bench.start(*_script(bench, NOT_WITH_DMTCP), stdin=theirs)
        assert process.wait(LONG_S) == 128 + signal.SIGABRT
    assert _started_with(bench) == ["dmtcp"]
    assert "try --engine criu" in (bench.folder / "stderr.txt").read_text()


def test_a_program_that_exits_with_a_status_of_its_own_is_not_started_once_more(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    assert dmtcp
    done = bench.run("sh", "-c", "exit 1")
    assert done.returncode == 1
    assert _started_with(bench) == ["dmtcp"]
    assert "fault" not in done.stderr


HAS_A_FILTER = """
import ctypes, struct, sys, time
libc = ctypes.CDLL(None)
allow = ctypes.create_string_buffer(struct.pack("<HBBI", 6, 0, 0, 0x7FFF0000))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
print("begun", file=open("notes.txt", "a"))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(1, ctypes.addressof(allow)))) == 0
for step in range(60):
    print(step, flush=True)
    time.sleep(0.1)
sys.exit(4)
"""
WATCHES = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
print("begun", file=open("notes.txt", "a"))
watch = libc.inotify_init1(0)
if watch < 0:
    sys.exit("cannot watch: " + os.strerror(ctypes.get_errno()))
assert libc.inotify_add_watch(watch, b".", 0x100) >= 0
open("new", "w").close()
print(b"new" in os.read(watch, 4096))
sys.exit(4)
"""
FALLS_BACK = """
import ctypes, sys, time
if ctypes.CDLL(None).inotify_init1(0) < 0:
    print("looks from time to time instead")
sys.exit(0)
"""
TRACES = """
import ctypes, os, signal, sys
libc = ctypes.CDLL(None)
child = os.fork()
if child == 0:
    signal.pause()
traced = libc.ptrace(0x4206, child, None, None) == 0
os.kill(child, 9)
os.wait()
sys.exit(0 if traced else "cannot trace")
"""
LOWERS = """
import resource, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
for step in range(60):
    print(step, resource.getrlimit(resource.RLIMIT_NOFILE), flush=True)
    time.sleep(0.1)
sys.exit(4)
"""


def test_what_dmtcp_would_not_restore_is_taken_over_by_criu_long_before_a_checkpoint_is_due(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    done = bench.run("-i", "10m", "--stdout", "out.txt", *bench.python("filter.py", HAS_A_FILTER))
    assert done.returncode == 4
    assert f"cannot be checkpointed with dmtcp {dmtcp.version} (process " in done.stderr
    assert "has a filter for system calls (seccomp)" in done.stderr
    assert "starting it once more with criu " in done.stderr
    assert _started_with(bench) == ["dmtcp", "criu"]
    assert (bench.folder / "out.txt").read_text() == "".join(f"{step}\n" for step in range(60))
    assert (bench.folder / "notes.txt").read_text() == "begun\n"


def test_a_limit_that_dmtcp_does_not_set_is_set_under_criu(bench: Workbench, dmtcp: EngineHere) -> None:
    assert dmtcp
    done = bench.run("-i", "10m", "--stdout", "out.txt", *bench.python("lowers.py", LOWERS))
    assert done.returncode == 4
    assert "the program sets its limit on open files to 256, and DMTCP needs 1024" in done.stderr
    assert (bench.folder / "out.txt").read_text() == "".join(f"{step} (256, 256)\n" for step in range(60))


def test_and_is_refused_where_dmtcp_was_named(bench: Workbench, dmtcp: EngineHere) -> None:
    assert dmtcp
    done = bench.run("--engine", "dmtcp", "-i", "0.5", *bench.python("lowers.py", LOWERS.replace("60", "600")))
    assert done.returncode == 125
    assert "the program sets its limit on open files to 256" in done.stderr
    assert "--engine criu can checkpoint it" in done.stderr


def test_a_program_that_fails_for_what_dmtcp_refused_it_is_started_once_more_with_criu(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    done = bench.run("-i", "10m", "--stdout", "out.txt", *bench.python("watches.py", WATCHES))
    assert done.returncode == 4
    refused = "it ended with status 1 after DMTCP had refused it inotify; --engine criu can checkpoint it"
    assert f"the program failed with dmtcp {dmtcp.version} ({refused}): starting it once more with criu " in done.stderr
    assert _started_with(bench) == ["dmtcp", "criu"]
    assert (bench.folder / "out.txt").read_text() == "True\n"
    assert (bench.folder / "notes.txt").read_text() == "begun\n"


def test_where_dmtcp_was_named_that_is_no_status_of_the_program(bench: Workbench, dmtcp: EngineHere) -> None:
    assert dmtcp
    done = bench.run("--engine", "dmtcp", *bench.python("watches.py", WATCHES))
    assert done.returncode == 125
    assert "the program failed: it ended with status 1 after DMTCP had refused it inotify" in done.stderr
    assert _started_with(bench) == ["dmtcp"]


def test_a_program_that_does_without_what_dmtcp_refused_it_is_left_alone(bench: Workbench, dmtcp: EngineHere) -> None:
    assert dmtcp
    done = bench.run(*bench.python("falls_back.py", FALLS_BACK))
    assert (done.returncode, done.stdout) == (0, "looks from time to time instead\n")
    assert _started_with(bench) == ["dmtcp"]


def test_a_program_that_traces_is_refused_by_name_and_runs_without_an_engine_where_that_is_allowed(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    assert dmtcp
    program = bench.python("traces.py", TRACES)
    refused = bench.run("--job", "refused", *program)
    allowed = bench.run("--job", "allowed", "--engine", "dmtcp", "--allow-unprotected", *program)
    assert refused.returncode == 125
    assert "DMTCP had refused it the tracing of a process (ptrace); no engine can checkpoint that" in refused.stderr
    assert allowed.returncode == 0
    assert "starting it once more with none (unprotected)" in allowed.stderr


TAKES_A_NUMBER = """
import os, sys, time
os.dup2(0, 830)
time.sleep(2)
sys.exit(4)
"""


def test_a_program_that_takes_a_descriptor_of_dmtcps_is_named_without_dmtcps_words(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    program = bench.python("takes.py", TAKES_A_NUMBER)
    named = bench.run("--job", "named", "--engine", "dmtcp", "-i", "0", *program)
    left = bench.run("--job", "left", "-i", "0", *program)
    assert named.returncode == 125
    assert "the program uses a descriptor number from 821 to 841, which DMTCP has for its own" in named.stderr
    assert "ASSERT" not in named.stderr
    assert any("PROTECTED_FD" in line.get("raw", "") for line in history_of(bench.jobs / "named"))
    assert left.returncode == 4
    assert f"cannot be checkpointed with dmtcp {dmtcp.version} (the program uses a descriptor number" in left.stderr


def test_dmtcps_own_tools_are_refused_as_the_program(bench: Workbench, dmtcp: EngineHere) -> None:
    launch = f"{dmtcp.environ['DMTCP_PREFIX']}/bin/dmtcp_launch"
    done = bench.run("--engine", "dmtcp", launch, "true")
    assert done.returncode == 125
    assert "it is a part of DMTCP, which dmtcp-run runs itself: leave it out of the command" in done.stderr
