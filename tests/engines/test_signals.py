"""Signals belong to the program, SIGUSR2 too, by which DMTCP suspends threads unless it is given another one."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.engine.dmtcp.engine import CHECKPOINT_SIGNAL
from dmtcp_py.native import built
from kit.processes import kill_all
from kit.waits import LONG_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from kit.bench import Workbench
    from kit.engines import EngineHere

IN_PYTHON = """
import os, signal, sys, time
seen = 0
def handler(signum, frame):
    global seen
    seen += 1
signal.signal(signal.SIGUSR2, handler)
for step in range(60):
    os.kill(os.getpid(), signal.SIGUSR2)
    print(step, seen, flush=True)
    time.sleep(0.1)
sys.exit(12 if seen == 60 else 1)
"""
IN_A_SHELL = """
seen=0
trap 'seen=$((seen + 1))' USR2
for step in $(seq 20); do
    kill -USR2 $$
    echo $step $seen
    sleep 0.5
done
exit $seen
"""
WAITED_FOR = """
import signal, threading, os, sys, time
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
def send():
    for _ in range(60):
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGUSR2)
threading.Thread(target=send, daemon=True).start()
for step in range(60):
    print(step, signal.sigwait({signal.SIGUSR2}).name, flush=True)
sys.exit(3)
"""
FROM_A_CHILD = """
import os, signal, subprocess, sys, time
seen = 0
def handler(signum, frame):
    global seen
    seen += 1
signal.signal(signal.SIGUSR2, handler)
child = subprocess.Popen(["sh", "-c", f"for i in $(seq 20); do sleep 0.5; kill -USR2 {os.getpid()}; done; exit 5"])
last = 0
while child.poll() is None or seen > last:
    if seen > last:
        last += 1
        print(last, flush=True)
    time.sleep(0.01)
sys.exit(child.returncode)
"""
HANDLES_OURS = f"""
import signal, time
signal.signal({CHECKPOINT_SIGNAL}, lambda *_: None)
for step in range(600):
    print(step, flush=True)
    time.sleep(0.1)
"""
MASKS = """
#include <pthread.h>
#include <signal.h>
#include <string.h>

static int others;

static void *look(void *wanted)
{
    sigset_t mine;
    volatile char stack[20000];
    pthread_sigmask(SIG_BLOCK, NULL, &mine);
    others += memcmp(&mine, wanted, sizeof(long)) != 0;
    memset((char *)stack, 0xff, sizeof stack); /* what the next thread finds on it */
    return NULL;
}

int main(void)
{
    sigset_t blocked;
    pthread_t thread;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGRTMIN + 3);
    sigaddset(&blocked, SIGIO);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    for (int i = 0; i < 20; i++) {
        pthread_create(&thread, NULL, look, &blocked);
        pthread_join(thread, NULL);
    }
    return others ? 1 : 3;
}
"""
PROGRAMS: dict[str, Callable[[Workbench], list[str]]] = {
    "a handler in Python": lambda bench: bench.python("usr2.py", IN_PYTHON),
    "a trap in a shell": lambda _bench: [shutil.which("bash") or "", "-c", IN_A_SHELL],
    "a thread that waits for it": lambda bench: bench.python("waits.py", WAITED_FOR),
    "a child that sends it": lambda bench: bench.python("child.py", FROM_A_CHILD),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_that_uses_sigusr2_gets_each_of_them(bench: Workbench, engine: EngineHere, program: str) -> None:
    if engine.name == "dmtcp" and built("signals") is None:
        pytest.skip("there was no C compiler at the installation")
    words = PROGRAMS[program](bench)
    line = ["-i", "1", "--stdout", "out.txt", *words]
    plain = bench.start_plain(*words)
    process = bench.start(*line)
    bench.wait_generations(1, process)
    bench.wait_lines(2, process)
    kill_all(process)
    assert bench.start(*line).wait(LONG_S) == plain.wait(LONG_S)
    bench.assert_same("out.txt")


def test_a_program_that_handles_the_signal_that_dmtcp_was_given_is_stopped_by_name(
    bench: Workbench, one_engine: EngineHere
) -> None:
    if one_engine.name != "dmtcp" or built("signals") is None:
        pytest.skip("it is DMTCP that is given a signal, by a part in C")
    done = bench.run("-i", "1", "--engine", "dmtcp", *bench.python("ours.py", HANDLES_OURS))
    assert done.returncode == 125
    assert "handles the real-time signal that DMTCP uses for checkpoints" in done.stderr
    assert done.stdout.startswith("0\n")


def test_dmtcp_says_nothing_on_the_programs_streams_about_its_signal(bench: Workbench, engine: EngineHere) -> None:
    del engine
    text = "import signal\nfor one in signal.valid_signals():\n    signal.getsignal(one)\nprint('done')\n"
    done = bench.run("-q", "--stderr", "err.txt", "--stdout", "out.txt", *bench.python("asks.py", text))
    assert done.returncode == 0, done.stderr
    assert (bench.folder / "err.txt").read_text() == ""


def test_threads_block_the_signals_that_their_maker_blocks(bench: Workbench, engine: EngineHere) -> None:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    assert engine
    source, program = bench.folder.parent / "masks.c", bench.folder.parent / "masks"
    source.write_text(MASKS)
    subprocess.run(["cc", "-pthread", "-o", program, source], check=True, timeout=LONG_S)
    assert bench.run("-i", "0", program).returncode == 3
