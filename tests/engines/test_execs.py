"""A program that drops its environment, or executes another in an unusual way, stays in the computation."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from kit.bench import counted

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere

STEPS = 40
STATUS = 6
EXECUTES = """
import ctypes, os, sys
how, line = sys.argv[1:]
libc = ctypes.CDLL(None)
words = [b"sh", b"-c", line.encode(), None]
arguments = (ctypes.c_char_p * len(words))(*words)
empty = (ctypes.c_char_p * 1)(None)
shell = os.open("/bin/sh", os.O_RDONLY | os.O_CLOEXEC)
folder = os.open("/bin", os.O_RDONLY | os.O_CLOEXEC)
if how != "fails first":
    libc.clearenv()
if how == "system":
    sys.exit(os.waitstatus_to_exitcode(libc.system(line.encode())))
if how == "spawn":
    pid = ctypes.c_int()
    assert libc.posix_spawn(ctypes.byref(pid), b"/bin/sh", None, None, arguments, empty) == 0
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid.value, 0)[1]))
if how == "fails first":
    libc.clearenv()
    assert libc.execv(b"/no/such/program", arguments) == -1
{
    "execv": lambda: libc.execv(b"/bin/sh", arguments),
    "execle": lambda: libc.execle(b"/bin/sh", *words, empty),
    "fails first": lambda: libc.execlp(b"/bin/sh", *words),
    "fexecve": lambda: libc.fexecve(shell, arguments, empty),
    "execveat": lambda: libc.execveat(-100, b"/bin/sh", arguments, empty, 0),
    "execveat in a folder": lambda: libc.execveat(folder, b"sh", arguments, empty, 0),
    "execveat of a file": lambda: libc.execveat(shell, b"", arguments, empty, 0x1000),
}[how]()
sys.exit("nothing was executed")
"""
WAYS = (
    "system",
    "spawn",
    "execv",
    "execle",
    "fails first",
    "fexecve",
    "execveat",
    "execveat in a folder",
    "execveat of a file",
)


def _counts_and_fails(bench: Workbench) -> str:
    return f"{shlex.join(bench.counting(STEPS))}; exit {STATUS}"


def _assert_comes_through(bench: Workbench, *program: str) -> None:
    """Assert that PROGRAM, which counts, comes through a crash with its output and its status."""
    line = ["-i", "1", "--stdout", "out.txt", *program]
    bench.crash(line)
    done = bench.run(*line)
    assert done.returncode == STATUS, done.stderr
    assert "resumed" in bench.events
    assert (bench.folder / "out.txt").read_bytes() == counted(STEPS)


def test_env_with_option_i_is_followed(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    _assert_comes_through(bench, "env", "-i", "PATH=/usr/bin:/bin", "sh", "-c", _counts_and_fails(bench))


@pytest.mark.parametrize("how", WAYS)
def test_what_is_executed_without_an_environment_is_followed(bench: Workbench, engine: EngineHere, how: str) -> None:
    assert engine
    _assert_comes_through(bench, *bench.python("executes.py", EXECUTES), how, _counts_and_fails(bench))


def test_an_exec_that_fails_leaves_the_environment_as_it_was(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    text = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.clearenv()
libc.setenv(b"MINE", b"1", 1)
name = (ctypes.c_char_p * 2)(b"program", None)
assert libc.execv(b"/no/such/program", name) == -1
libc.getenv.restype = ctypes.c_char_p
print(libc.getenv(b"MINE"), libc.getenv(b"LD_PRELOAD"), libc.getenv(b"DMTCP_PLUGIN"), flush=True)
"""
    program = bench.python("fails.py", text)
    done = bench.run("-i", "0", *program)
    plain = subprocess.run(program, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == plain.stdout, done.stderr
