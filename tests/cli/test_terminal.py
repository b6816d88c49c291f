"""What a person types and presses, on a real terminal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pexpect
import psutil
import pytest

from kit.bench import counted
from kit.places import CTL, RUN
from kit.processes import descendants, needed_for_checkpoints
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kit.bench import Workbench
    from kit.engines import EngineHere

    Type = Callable[..., "pexpect.spawn[str]"]

FLOOD = """
import os, time
for number in range(1, 1501):
    try:
        os.write(1, b"step %d\\n" % number)
    except OSError:
        os._exit(1)
    time.sleep(0.002)
"""
"""Writes so often that a closed terminal ends it long before a checkpoint can."""
ASK = """
import os, sys
print("terminal:", *(os.isatty(fd) for fd in range(3)), flush=True)
for question in ("first?", "second?"):
    print(question, end=" ", flush=True)
    print("answered", sys.stdin.readline().strip(), flush=True)
"""
SIZE = """
import os, signal
def show(*_):
    # a print that a signal interrupts in its last moments cannot be entered again
    os.write(1, b"size %d %d\\n" % os.get_terminal_size())
signal.signal(signal.SIGWINCH, show)
show()
while True:
    signal.pause()
"""
SIGNALS = """
import time
for number in range(25):
    with open("/proc/self/status") as status:
        print(*(line.split()[1] for line in status if line.startswith(("SigIgn", "SigBlk", "SigCgt"))), flush=True)
    time.sleep(0.1)
"""


def step(number: int | str = r"(\d+)") -> str:
    """Return a pattern of the line that the program that counts prints at step NUMBER."""
    return rf"\b{number} \d+\r\n"


@pytest.fixture
def typed(bench: Workbench) -> Iterator[Type]:
    """Type a line on a terminal of its own; what still runs at the end is killed."""
    children: list[pexpect.spawn[str]] = []

    def start(argv: list[str], **options: Any) -> pexpect.spawn[str]:
        options = {"cwd": str(bench.folder), "env": bench.environ, "timeout": LONG_S, "dimensions": (24, 200)} | options
        child = pexpect.spawn(argv[0], argv[1:], encoding="utf-8", **options)
        children.append(child)
        return child

    yield start
    for child in children:
        with suppress(psutil.NoSuchProcess):
            if child.isalive():
                for one in [*descendants(child.pid), psutil.Process(child.pid)]:
                    one.kill()
        if not child.closed:
            child.close(force=True)


def is_restart(one: psutil.Process) -> bool:
    """Whether a process is an engine's that brings a program up again."""
    with suppress(psutil.NoSuchProcess):
        return one.name().startswith(("dmtcp_restart", "mtcp_restart")) or "--restore-detached" in one.cmdline()
    return False


def ended(child: pexpect.spawn[str]) -> tuple[int | None, list[str]]:
    """Read CHILD to its end; return its exit status and the lines since what was expected last."""
    child.expect(pexpect.EOF)
    child.wait()
    return child.exitstatus, child.before.replace("\r", "").splitlines()


HOLDS_MEMORY = """
import os, time
held = [os.urandom(1 << 20) for _ in range(200)]
for number in range(100):
    print(number, flush=True)
    time.sleep(0.1)
"""


@pytest.mark.parametrize("is_verbose", [True, False])
def test_a_bar_shows_how_much_of_a_checkpoint_is_written_to_who_wants_to_know(
    bench: Workbench, one_of_each: EngineHere, typed: Type, *, is_verbose: bool
) -> None:
    assert one_of_each
    words = ["-v"] if is_verbose else []
    child = typed(bench.line("-i", "1", "--stdout", "out.txt", *words, *bench.python("holds.py", HOLDS_MEMORY)))
    bar = re.compile(r"\d/\d+\.\d MB")
    # of the first one it is not known how much there will be
    child.expect("generation 1 committed")
    if is_verbose:
        child.expect(bar)
        child.expect("generation 2 committed")
    status, lines = ended(child)
    assert status == 0
    assert is_verbose or not bar.search("\n".join(lines))


def test_a_bar_shows_how_much_of_a_generation_is_verified(
    bench: Workbench, one_engine: EngineHere, typed: Type
) -> None:
    assert one_engine
    line = bench.line("-v", "-i", "0", "--stdout", "out.txt", *bench.python("holds.py", HOLDS_MEMORY))
    child = typed(line)
    out = bench.folder / "out.txt"
    wait_until(lambda: out.is_file() and out.read_text())
    child.sendintr()
    assert ended(child)[0] == 85
    child = typed(line)
    child.expect(r"\d/\d+\.\d MB")
    child.expect("resumed generation 1")
    child.sendintr()
    assert ended(child)[0] == 85


# --------------------------------------------------------------------------------------------------- pressed


def test_ctrl_c_checkpoints_stops_and_says_how_to_go_on(bench: Workbench, one_engine: EngineHere, typed: Type) -> None:
    assert one_engine
    line = bench.line("-i", "0", *bench.counting(40))
    child = typed(line)
    child.expect(step(3))
    child.sendintr()
    status, lines = ended(child)
    assert status == 85
    assert lines[-1] == "dmtcp-run: checkpointed and stopped; the same line resumes from generation 1"
    assert bench.generations == [1]

    last = max(map(int, re.findall(r"^(\d+) \d+$", "\n".join(["3 0", *lines]), re.MULTILINE)))
    child = typed(line)
    child.expect(step())
    assert int(child.match[1]) == last + 1
    status, lines = ended(child)
    assert status == 0
    assert lines[-1] == "dmtcp-run: finished with status 0"
    assert re.findall(r"^(\d+) \d+$", "\n".join(lines), re.MULTILINE) == [str(n) for n in range(last + 2, 41)]


def test_an_impatient_double_press_is_one(bench: Workbench, one_engine: EngineHere, typed: Type) -> None:
    assert one_engine
    child = typed(bench.line("-i", "0", *bench.counting(300)))
    child.delaybeforesend = None
    child.expect(step(3))
    child.sendintr()
    child.sendintr()
    assert ended(child)[0] == 85
    assert bench.generations == [1]


def test_ctrl_c_again_stops_at_once(bench: Workbench, one_engine: EngineHere, typed: Type) -> None:
    child = typed(bench.line("-i", "0", *bench.counting(6000, megabytes=700)))
    child.expect(step(1))
    if one_engine.name == "criu" and (keeper := needed_for_checkpoints(child)):
        keeper.suspend()  # CRIU could be done before the second press
    child.sendintr()
    child.expect("taking the last checkpoint")
    if one_engine.name == "dmtcp":
        wait_until(lambda: list(bench.job.glob("staging/*/*.temp")))
    time.sleep(0.6)  # a second press within half a second is the same one
    pressed = time.monotonic()
    child.sendintr()
    status, lines = ended(child)
    assert status == 130
    assert time.monotonic() - pressed < 3
    assert (
        "dmtcp-run: stopped at once; there is no generation yet, so the same line starts the program again" in lines[-1]
    )
    assert bench.generations == []
    assert bench.events[-1] == "stopped"


def test_ctrl_c_while_a_job_resumes_loses_nothing(bench: Workbench, one_engine: EngineHere, typed: Type) -> None:
    assert one_engine
    line = bench.line("-v", "-i", "0", *bench.counting(6000, megabytes=300))
    child = typed(line)
    child.expect(step(1))
    child.sendintr()
    assert ended(child)[0] == 85
    child = typed(line)
    wait_until(lambda: any(map(is_restart, descendants(child.pid))))
    child.sendintr()
    status, lines = ended(child)
    assert status == 85, "\n".join(lines)
    assert bench.generations
    assert bench.ctl("verify").returncode == 0


def test_the_programs_own_handling_of_signals_is_the_same_after_a_resume(
    bench: Workbench, engine: EngineHere, typed: Type
) -> None:
    assert engine
    words = ["-i", "0", "--stdout", "out", *bench.python("signals.py", SIGNALS)]
    process = bench.start(*words)
    bench.wait_lines(3, process, "out")
    process.send_signal(signal.SIGUSR1)
    assert process.wait(LONG_S) == 85
    assert ended(typed(bench.line(*words)))[0] == 0
    lines = (bench.folder / "out").read_text().splitlines()
    assert len(lines) == 25
    assert len(set(lines)) == 1


def test_ctrl_backslash_ends_us_and_leaves_nothing(bench: Workbench, one_engine: EngineHere, typed: Type) -> None:
    assert one_engine
    child = typed(bench.line("-i", "0", *bench.counting(300)))
    child.expect(step(3))
    child.sendcontrol("\\")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.signalstatus == signal.SIGQUIT or child.exitstatus in (85, 131)


PROMPT = "ready> "


@pytest.fixture
def shell(typed: Type, bench: Workbench) -> pexpect.spawn[str]:
    """Open an interactive bash, with job control."""
    child = typed(["bash", "--norc", "--noprofile", "-i"], env={**bench.environ, "PS1": PROMPT, "TERM": "dumb"})
    child.expect_exact(PROMPT)
    return child


def quoted(words: list[str]) -> str:
    return " ".join(f"'{word}'" for word in words)


def states(pid: int) -> dict[str, str]:
    """Return the states of the processes of the program below a dmtcp-run."""
    found = {}
    for one in descendants(pid):
        with suppress(psutil.NoSuchProcess):
            if any(word.endswith("/count.py") for word in one.cmdline()):
                found[str(one.pid)] = one.status()
    return found


def test_ctrl_z_suspends_the_program_and_fg_goes_on(
    bench: Workbench, one_engine: EngineHere, shell: pexpect.spawn[str]
) -> None:
    assert one_engine
    out = bench.folder / "out"
    shell.sendline(quoted(bench.line("-i", "1", "--stdout", "out", *bench.counting(60))))
    shell.expect("generation 1 committed")
    shell.sendcontrol("z")
    shell.expect("Stopped")
    shell.expect_exact(PROMPT)
    wait_until(lambda: set(states(shell.pid).values()) == {psutil.STATUS_STOPPED})
    before = out.read_text()
    time.sleep(1.2)  # longer than a step and than the interval
    assert out.read_text() == before
    assert "done" not in before
    shell.sendline("fg")
    wait_until(lambda: out.read_text() != before)
    shell.expect("finished with status 0")
    shell.sendline("echo status $?")
    shell.expect("status 0\r\n")
    bench.assert_counted(60, "out")


def test_a_suspended_job_that_goes_on_in_the_background_can_be_stopped(
    bench: Workbench, one_engine: EngineHere, shell: pexpect.spawn[str]
) -> None:
    assert one_engine
    line = bench.line("-i", "0", "--stdout", "out", *bench.counting(300))
    shell.sendline(quoted(line) + " </dev/null")
    shell.expect("started with")
    bench.wait_steps(2, "out")
    shell.sendcontrol("z")
    shell.expect("Stopped")
    shell.expect_exact(PROMPT)
    shell.sendline("bg; kill -TERM %1; wait %1; echo status $?")
    shell.expect("status 85\r\n")
    assert bench.generations == [1]


def test_a_shell_sees_85_after_ctrl_c_and_0_at_the_end(
    bench: Workbench, one_engine: EngineHere, shell: pexpect.spawn[str]
) -> None:
    assert one_engine
    line = quoted(bench.line("-i", "0", *bench.counting(30)))
    shell.sendline(line)
    shell.expect(step(3))
    shell.sendintr()
    shell.expect_exact(PROMPT)
    shell.sendline(f"echo status $?; {line}; echo status $?")
    shell.expect("status 85\r\n")
    shell.expect(step(30))
    shell.expect("status 0\r\n")


# ------------------------------------------------------------------------------------------ the terminal itself


def test_the_program_sees_the_terminal_and_reads_it_before_and_after_a_resume_on_another(
    bench: Workbench, engine: EngineHere, typed: Type
) -> None:
    assert engine
    line = bench.line("-i", "0", *bench.python("ask.py", ASK))
    child = typed(line)
    child.expect("terminal: True True True")
    child.expect_exact("first? ")
    child.sendline("one")
    child.expect("answered one")
    child.expect_exact("second? ")
    child.sendintr()
    assert ended(child)[0] == 85
    child = typed(line)
    child.expect("resumed generation 1")
    child.sendline("two")
    child.expect("answered two")
    assert ended(child)[0] == 0


def test_end_of_file_from_the_keyboard_reaches_the_program(
    bench: Workbench, one_engine: EngineHere, typed: Type
) -> None:
    assert one_engine
    child = typed(bench.line("-q", "cat"))
    child.sendline("text")
    child.expect("text\r\ntext\r\n")
    child.sendeof()
    assert ended(child) == (0, [])


def test_a_job_taken_on_a_terminal_goes_on_without_one(bench: Workbench, engine: EngineHere, typed: Type) -> None:
    assert engine
    words = ["-i", "0", *bench.counting(20)]
    child = typed(bench.line(*words))
    child.expect(step(3))
    child.sendintr()
    assert ended(child)[0] == 85
    done = bench.run(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.encode() == counted(20)[-len(done.stdout) :]


def test_a_job_started_without_a_terminal_goes_on_on_one(bench: Workbench, engine: EngineHere, typed: Type) -> None:
    assert engine
    words = ["-i", "0", *bench.counting(20)]
    with (bench.folder / "first").open("wb") as first:
        process = bench.start(*words, stdout=first)
    bench.wait_lines(3, process, "first")
    process.send_signal(signal.SIGUSR1)
    assert process.wait(LONG_S) == 85
    last = len((bench.folder / "first").read_text().splitlines())
    child = typed(bench.line(*words))
    child.expect(step(last + 1))
    child.expect(step(20))
    assert ended(child)[0] == 0


def test_a_change_of_the_windows_size_reaches_the_program(
    bench: Workbench, one_engine: EngineHere, typed: Type
) -> None:
    assert one_engine
    child = typed(bench.line("-i", "0", *bench.python("size.py", SIZE)))
    child.expect("size 200 24\r\n")
    child.setwinsize(40, 100)
    child.expect("size 100 40\r\n")
    child.sendintr()
    assert ended(child)[0] == 85


def hang_up(child: pexpect.spawn[str]) -> int:
    """Close the terminal of CHILD as a lost connection does; return its exit status."""
    os.close(child.child_fd)
    wait_until(lambda: not child.isalive())
    child.closed = True
    return child.exitstatus


def test_a_closed_terminal_is_a_last_checkpoint(bench: Workbench, one_engine: EngineHere, typed: Type) -> None:
    assert one_engine
    words = ["-i", "0", "--stdout", "out", *bench.counting(30)]
    child = typed(bench.line(*words))
    bench.wait_steps(3, "out")
    assert hang_up(child) == 85
    assert bench.generations == [1]
    child = typed(bench.line(*words))
    assert ended(child)[0] == 0
    bench.assert_counted(30, "out")


def test_a_program_that_dies_of_its_closed_terminal_has_not_finished(
    bench: Workbench, one_engine: EngineHere, typed: Type
) -> None:
    assert one_engine
    line = bench.line("-i", "1", *bench.python("flood.py", FLOOD))
    child = typed(line, searchwindowsize=4096)
    child.expect("generation 1 committed")
    child.expect("step")
    hang_up(child)
    assert bench.events[-1] != "finished", bench.history
    child = typed(line, searchwindowsize=4096)
    child.expect("resumed generation")
    child.expect("step 1500\r\n")
    assert ended(child)[0] == 0


# ------------------------------------------------------------------------------------------------------ typed


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_states_every_exit_status(option: str) -> None:
    text = subprocess.run([RUN, option], capture_output=True, text=True, timeout=60, check=True).stdout
    statuses = text.partition("Exit status")[2]
    for status in ("the program's own", "128+n", "85", "125", "126, 127", "11", "2 "):
        assert status in statuses
    assert "--stdout" in text
    assert max(map(len, text.splitlines())) <= 80


def test_help_of_the_other_command_states_its_exit_statuses() -> None:
    text = subprocess.run([CTL, "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
    statuses = " ".join(text.partition("Exit status")[2].split())
    for status in ("0 success", "1 a problem", "2 wrong usage", "10 no such", "11 ", "130 interrupted"):
        assert status in statuses


@pytest.mark.parametrize("command", [RUN, CTL])
def test_the_version_is_told(command: str) -> None:
    done = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert re.search(r"\d+\.\d+\.\d+", done.stdout)
    assert not done.stderr


def test_help_needs_no_engine_and_no_writable_folder(bench: Workbench) -> None:
    done = subprocess.run([RUN, "--help"], capture_output=True, timeout=60, check=False, cwd="/", env={"PATH": ""})
    assert done.returncode == 0
    assert not list(bench.folder.iterdir())


def test_start_up_is_one_line_and_the_end_another(bench: Workbench, one_engine: EngineHere, typed: Type) -> None:
    assert one_engine
    status, lines = ended(typed(bench.line(sys.executable, "-c", "print('hello')")))
    assert status == 0
    assert "hello" in lines
    assert sorted(line.split(":")[0] for line in lines if line != "hello") == ["dmtcp-run", "dmtcp-run"]
