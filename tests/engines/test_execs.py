"""A program that drops its environment, or executes another in an unusual way, stays in the computation."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.native import built
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
LARGE = f"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
char *find(void);
int main(int argc, char **argv)
{{
    for (int step = 1; step <= atoi(argv[1]); step++) {{
        for (int i = 0; i < 64 << 20; i += 1 << 16)
            find()[i] += step;
        printf("%d %d\\n", step, find()[(step % 64) << 20]);
        fflush(stdout);
        usleep(100000);
    }}
    return {STATUS};
}}
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


def test_what_is_executed_keeps_its_memory(bench: Workbench, engine: EngineHere) -> None:
    """Without random addresses, a large library is where the program before had its memory for a restart."""
    assert engine
    if not built("forks") or shutil.which("gcc") is None or shutil.which("setarch") is None:
        pytest.skip("there is no C compiler here, or no setarch")
    folder = bench.folder.parent
    (folder / "large.c").write_text("static char large[64 << 20]; char *find(void) { return large; }\n")
    (folder / "program.c").write_text(LARGE)
    for words in ("-shared -fPIC -o liblarge.so large.c", f"-o program program.c -L. -llarge -Wl,-rpath,{folder}"):
        subprocess.run(["gcc", *words.split()], cwd=folder, check=True, timeout=60)
    line = ["setarch", "-R", "sh", "-c", f"exec {folder}/program {STEPS}"]
    bench.assert_survives(line, status=STATUS)
