"""Pipes that shell scripts open by the name of a descriptor; under DMTCP they are sockets, which have no such name."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.native import built
from kit.processes import kill_all
from kit.waits import LONG_S

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere

STEPS = """
for step in $(seq 40); do
    COMMAND
    sleep 0.1
done
"""
COMMANDS = {
    "a process substitution that is read": "paste <(echo $step) <(echo $((step * step)))",
    "a process substitution that is written": "echo $step > >(sed s/^/got:/); wait $!",
    "a loop that reads a process substitution": "while read -r word; do echo got:$word; done < <(seq $step)",
    "standard input by its name": "echo $step | cat /dev/stdin",
    "standard output by its name": "echo $step | tee /dev/stdout | sed s/^/got:/",
    "standard error of a pipeline by its name": "{ echo $step > /dev/stderr; } 2>&1 | sed s/^/got:/",
    "a descriptor by its number": "echo $step | { read -r word < /dev/fd/0; echo got:$word; }",
    "a here-document": "cat /dev/fd/5 5<<EOF\n$step\nEOF",
}
FIFO = """
import os, sys, time
os.mkfifo("fifo")
child = os.fork()
if child == 0:
    with open("fifo", "w", buffering=1) as lines:
        for step in range(int(sys.argv[1])):
            print("line", step, file=lines)
            time.sleep(0.1)
    os._exit(0)
with open("fifo") as lines:
    for line in lines:
        print("got", line, end="", flush=True)
print("end", os.waitpid(child, 0)[1])
os.unlink("fifo")
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_script_opens_a_pipe_by_the_name_of_a_descriptor(bench: Workbench, engine: EngineHere, command: str) -> None:
    if engine.name == "dmtcp" and built("files") is None:
        pytest.skip("there was no C compiler at the installation")
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash on this machine")
    script = STEPS.replace("COMMAND", COMMANDS[command])
    options = ["-i", "1", "--stdout", "out.txt", "--stderr", "err.txt"]
    plain = bench.start_plain(bash, "-c", script)
    process = bench.start(*options, bash, "-c", script)
    bench.wait_lines(12, process)
    kill_all(process)
    assert bench.start(*options, bash, "-c", script).wait(LONG_S) == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt", "err.txt")


def test_pipes_keep_their_content_and_their_settings(bench: Workbench, engine: EngineHere) -> None:
    if engine.name == "dmtcp" and built("shared") is None:
        pytest.skip("there was no C compiler at the installation")
    # CRIU refuses a pipe with packets
    words = ["packets"] if engine.name == "dmtcp" else []
    bench.assert_survives(bench.program("pipes.py", 200, *words), times=2)


def test_the_reader_of_a_fifo_sees_its_end_after_two_kills(bench: Workbench, one_dmtcp: EngineHere) -> None:
    if built("shared") is None:
        pytest.skip(f"there was no C compiler at the installation, and {one_dmtcp} keeps no FIFO alone")
    bench.assert_survives([*bench.python("fifo.py", FIFO), "80"], times=2)
