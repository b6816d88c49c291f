"""What a process has besides memory and files is after a resume what it was at the checkpoint."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from kit.places import PROGRAM_FILES
from kit.waits import LONG_S

if TYPE_CHECKING:
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

STEPS = 100
KEPT = (
    "umask",
    "limits",
    "name",
    "oom",
    "cloexec",
    "queued",
    "timers",
    "memory",
    "ended",
    "file-locks",
    "reserved",
    "guards",
)
PUT_BACK_UNDER_DMTCP = ("priorities", "settings", "personality", "locked-future", "threads", "user")


OPENS_UNSEEN = """
import ctypes, fcntl, os, sys, time

syscall = ctypes.CDLL(None).syscall
number = {"x86_64": 257, "aarch64": 56}[os.uname().machine]
opened = ctypes.CDLL(None).syscall(number, -100, b"/etc/passwd", os.O_RDONLY, 0)
assert syscall({"x86_64": 292, "aarch64": 24}[os.uname().machine], opened, 50, 0) == 50
for step in range(100):
    print(step, flush=True)
    time.sleep(0.1)
try:
    os.read(50, 1)
except OSError:
    sys.exit(3)
"""
"""Opens a file in a way that DMTCP does not see, and loses."""
SHARES_FILES = """
import os, time

def use(file, name):
    for step in range(100):
        time.sleep(0.1)
        if os.pread(file, 9, 0) != name:
            os._exit(3)
    os._exit(0)

def status_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

children = []
for name in [b"file %d" % number for number in range(8)]:
    children.append(os.fork())
    if children[-1] == 0:
        file = os.open(name, os.O_RDWR | os.O_CREAT)
        os.write(file, name)
        pid = os.fork()
        if pid == 0:
            use(file, name)
        os._exit(status_of(pid))
for step in range(100):
    print(step, flush=True)
    time.sleep(0.1)
print(*map(status_of, children), flush=True)
"""
"""Children that each share a file with a child of their own, which reads it."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the program that sets one kind of state and prints it at each step."""
    path = tmp_path_factory.mktemp("built") / "state"
    words = ["cc", "-O1", "-pthread", "-o", str(path), str(PROGRAM_FILES / "state.c")]
    subprocess.run(words, check=True, timeout=60)
    return path


@pytest.mark.parametrize("kind", KEPT)
def test_state_is_what_it_was(bench: Workbench, engine: EngineHere, program: Path, kind: str) -> None:
    if kind == "reserved" and engine.version.startswith("3."):
        pytest.skip("refused: see the test of reservations")
    bench.assert_survives([program, kind, str(STEPS)], times=2)


@pytest.mark.usefixtures("one_dmtcp")
def test_files_that_children_share_are_not_mixed(bench: Workbench) -> None:
    bench.assert_survives(bench.python("shares.py", SHARES_FILES), times=1)


@pytest.mark.parametrize("kind", PUT_BACK_UNDER_DMTCP)
def test_state_that_only_the_plugin_restores_is_what_it_was(
    bench: Workbench, engine: EngineHere, program: Path, kind: str
) -> None:
    if engine.name != "dmtcp":
        pytest.skip("CRIU has no plugin")
    if kind == "user" and os.geteuid() != 0:
        pytest.skip("only root becomes another user")
    bench.assert_survives([program, kind, str(STEPS)], times=2)


def test_a_stopped_process_is_named(bench: Workbench, engine: EngineHere, program: Path) -> None:
    if engine.name != "dmtcp":
        pytest.skip("CRIU checkpoints stopped processes")
    line = ["-i", "0", "--stdout", "out.txt", program, "stopped", "400"]
    process = bench.start(*line)
    bench.wait_lines(3, process)
    process.send_signal(signal.SIGTERM)
    bench.wait_said(" is stopped", process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG_S) == 128 + signal.SIGTERM


def test_reserved_address_space_that_dmtcp_would_read_is_named(
    bench: Workbench, engine: EngineHere, program: Path
) -> None:
    if not engine.version.startswith("3."):
        pytest.skip("only DMTCP 3.2 reads all of it")
    process = bench.start("--engine", "dmtcp", "-i", "1", "--stdout", "out.txt", program, "reserved", str(STEPS))
    assert process.wait(LONG_S) == 125
    assert "has reserved 5" in bench.said()


MANY = """
import os, resource, time
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, most), most))
files = [open(f"part{number}", "w+") for number in range(860)]
for step in range(60):
    for number, file in enumerate(files):
        file.write(f"{number} {step}\\n")
        file.flush()
    print(step, sum(os.stat(f"part{one}").st_size == file.tell() for one, file in enumerate(files)), flush=True)
    time.sleep(0.3)
"""


def test_more_open_files_than_have_numbers_below_dmtcps_own_are_kept(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    bench.assert_survives(bench.python("opens.py", MANY), "part0", "part797", "part820", "part859")


@pytest.mark.usefixtures("one_of_each")
def test_what_was_compared_after_a_resume_is_shown(bench: Workbench, program: Path) -> None:
    bench.assert_survives([program, "umask", "40"])
    shown = bench.ctl("verify", "--state", "--json")
    (found,) = json.loads(shown.stdout)
    assert shown.returncode == 0
    assert found["last_resume"]["differences"] == []
    assert found["last_resume"]["values"] > 20
    values = [values for process in found["processes"].values() for values in process.items()]
    assert ("umask", "137") in values or ("Umask", "0137") in values
    assert f"generation {found['generation']}: " in bench.ctl("verify", "--state").stdout


def test_a_difference_after_a_restart_is_named_and_the_program_does_not_run_on(
    bench: Workbench, engine: EngineHere
) -> None:
    if engine.name != "dmtcp":
        pytest.skip("CRIU restores it")
    line = ["-i", "1", "--stdout", "out.txt", *bench.python("raw.py", OPENS_UNSEEN)]
    bench.crash(line)
    refused = bench.run(*line)
    assert refused.returncode == 125
    assert re.search(r"process \d+: open descriptor \d+ was open, and is closed after the restart", refused.stderr)
    resumed = bench.run("--accept-changed-state", *line)
    assert resumed.returncode == 3
    assert re.search(r"open descriptor \d+ was open, and is closed", resumed.stderr)
    shown = bench.ctl("verify", "--state")
    assert shown.returncode == 1
    assert re.search(r"values of 1 processes compared, 1 differ\n  process \d+: open descriptor \d+", shown.stdout)
