"""A pipe on standard input: what the program has read is kept, and a resume gives it the rest, byte for byte."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from kit.jobs import manifest_of
from kit.processes import coordinator_of, is_alive, kill_all, needed_for_checkpoints
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

PRINT_LINES = """
import os, time
line = b""
while byte := os.read(0, 1):
    line += byte
    if byte == b"\\n":
        os.write(1, line.upper())
        line = b""
        time.sleep(0.05)
os.write(1, b"end\\n")
"""
"""Hands its input on in capitals, line by line, reading no byte more than it needs."""

OPEN_BY_NAME = f"""
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
if sys.argv[1] == "open":
    fd = os.open("/dev/stdin", os.O_RDONLY)
else:
    fd = libc.fileno(ctypes.c_void_p(libc.fopen(b"/dev/stdin", b"r")))
assert fd > 2
{PRINT_LINES.replace("os.read(0", "os.read(fd")}
"""
"""Does so through another descriptor."""

READ_ALL = """
import sys, time
text = sys.stdin.read()
print("read", flush=True)
for line in text.splitlines():
    print(line.upper(), flush=True)
    time.sleep(0.05)
"""
"""Reads its input to the end first."""

READ_PIECES = """
import hashlib, os, random, time
digest, total, size = hashlib.sha256(), 0, random.Random(7)
while block := os.read(0, size.choice((1, 100, 4096, 5000, 70000))):
    digest.update(block)
    if total // 100_000 != (total + len(block)) // 100_000:
        os.write(1, f"{(total + len(block)) // 100_000}\\n".encode())
        time.sleep(0.02)
    total += len(block)
os.write(1, f"{total} {digest.hexdigest()}\\n".encode())
"""
"""Digests its input, in pieces of all sizes."""

LINES = b"".join(b"line %d\n" % number for number in range(80))


class Producer:
    """Writes DATA to a pipe as a pipe takes it, and closes it at the end, unless that STAYS OPEN."""

    def __init__(self, data: bytes, *, stays_open: bool = False) -> None:
        self.reader, self._writer = os.pipe()
        self._data, self._stays_open = data, stays_open
        self.has_lost_its_reader = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self, bench: Workbench, *words: str | Path, **popen: Any) -> subprocess.Popen[bytes]:
        """Start ``dmtcp-run WORDS`` with this on its standard input."""
        process = bench.start(*words, stdin=self.reader, **popen)
        os.close(self.reader)
        self._thread.start()
        return process

    def end(self) -> None:
        """Close the pipe."""
        self._thread.join(LONG_S)
        with suppress(OSError):
            os.close(self._writer)

    def _run(self) -> None:
        left = memoryview(self._data)
        try:
            while left:
                left = left[os.write(self._writer, left) :]
        except BrokenPipeError:
            self.has_lost_its_reader.set()
        if not self._stays_open or self.has_lost_its_reader.is_set():
            os.close(self._writer)


def words_for(bench: Workbench, text: str = PRINT_LINES) -> list[str]:
    """Return the line of a program that reads."""
    return ["-i", "1", "--stdout", "out", *bench.python("reads.py", text)]


def crash(bench: Workbench, producer: Producer, *words: str | Path) -> None:
    """Run WORDS and SIGKILL all of it beyond a generation."""
    process = producer.start(bench, *words)
    bench.wait_generations(1, process)
    bench.wait_lines(3, process, "out")
    kill_all(process)


def out(bench: Workbench) -> bytes:
    return (bench.folder / "out").read_bytes()


@pytest.mark.parametrize("stays_open", [False, True], ids=["ended", "producing"])
def test_a_pipe_goes_on_exactly_after_each_kill(bench: Workbench, engine: EngineHere, *, stays_open: bool) -> None:
    assert engine
    words = words_for(bench)
    for _ in range(2):
        crash(bench, Producer(LINES, stays_open=stays_open), *words)
    assert Producer(LINES).start(bench, *words).wait(LONG_S) == 0
    assert bench.events.count("resumed") == 2
    assert out(bench) == LINES.upper() + b"end\n"
    assert "standard input" not in bench.said()


def test_a_here_document_that_is_a_script_goes_on_exactly(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    script = b"n=0\nwhile [ $n -lt 9 ]; do n=$((n + 1)); echo $n; sleep 2; done\necho last\nexit 3\n"
    words = ["-i", "1", "--stdout", "out", "bash", "-s", "one"]
    process = Producer(script).start(bench, *words)
    bench.wait_generations(1, process)
    bench.wait_lines(1, process, "out")
    kill_all(process)
    assert Producer(script).start(bench, *words).wait(LONG_S) == 3
    assert out(bench) == b"".join(b"%d\n" % number for number in range(1, 10)) + b"last\n"


@pytest.mark.parametrize("call", ["open", "fopen"])
def test_a_pipe_that_is_opened_by_its_name_ends_after_a_kill_too(
    bench: Workbench, engine: EngineHere, call: str
) -> None:
    assert engine
    words = [*words_for(bench, OPEN_BY_NAME), call]
    crash(bench, Producer(LINES), *words)
    assert Producer(LINES).start(bench, *words).wait(LONG_S) == 0
    assert out(bench) == LINES.upper() + b"end\n"


def test_much_input_is_exact_whatever_the_sizes_of_the_reads(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    data = random.Random(1).randbytes(12_345_678)
    words = words_for(bench, READ_PIECES)
    for _ in range(2):
        crash(bench, Producer(data), *words)
    assert Producer(data).start(bench, *words).wait(LONG_S) == 0
    plain = subprocess.run(words[4:], input=data, capture_output=True, timeout=LONG_S, check=True)
    assert out(bench) == plain.stdout


def test_input_that_was_read_to_its_end_is_not_needed_again(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    words = words_for(bench, READ_ALL)
    crash(bench, Producer(LINES), *words)
    assert bench.start(*words, stdin=subprocess.DEVNULL).wait(LONG_S) == 0
    assert "resumed" in bench.events
    assert out(bench) == b"read\n" + LINES.upper()


def test_a_stop_keeps_the_position_in_the_input(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    words = words_for(bench)
    process = Producer(LINES, stays_open=True).start(bench, *words)
    bench.wait_lines(5, process, "out")
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG_S) == 85
    assert Producer(LINES).start(bench, *words).wait(LONG_S) == 0
    assert out(bench) == LINES.upper() + b"end\n"


def test_an_engine_that_fails_loses_no_input(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    words = words_for(bench)
    producer = Producer(LINES, stays_open=True)
    process = producer.start(bench, *words)
    bench.wait_generations(1, process)
    bench.wait_lines(3, process, "out")
    victim = wait_until(lambda: coordinator_of(process) or needed_for_checkpoints(process))
    victim.kill()
    bench.wait_said("resuming the last good generation", process)
    producer.end()
    assert process.wait(LONG_S) == 0
    assert not is_alive(victim)
    assert out(bench) == LINES.upper() + b"end\n"


# ------------------------------------------------------------------------------- when something else comes


@pytest.mark.parametrize("other", [b"another\n" + LINES, LINES[:9]], ids=["differs", "ends early"])
def test_other_input_is_refused_and_the_same_goes_on(bench: Workbench, engine: EngineHere, other: bytes) -> None:
    assert engine
    words = words_for(bench)
    crash(bench, Producer(LINES), *words)
    assert Producer(other).start(bench, *words).wait(LONG_S) == 125
    said = bench.said()
    assert "from what came before" in said or "standard input ended after byte 9" in said
    assert "--accept-changed-files" in said
    assert "--fresh" in said
    assert "Traceback" not in said
    assert Producer(LINES).start(bench, *words).wait(LONG_S) == 0
    assert out(bench) == LINES.upper() + b"end\n"


def test_input_that_differs_later_stops_the_program(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    words = words_for(bench)
    crash(bench, Producer(LINES), *words)
    producer = Producer(LINES[:5], stays_open=True)
    process = producer.start(bench, *words)
    bench.wait_said("resumed generation", process)
    os.write(producer._writer, b"something else\n" * 100)
    assert process.wait(LONG_S) == 125
    assert "from what came before" in bench.said()
    assert Producer(LINES).start(bench, *words).wait(LONG_S) == 0
    assert out(bench) == LINES.upper() + b"end\n"


def test_no_input_where_there_was_some_is_refused(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    words = words_for(bench)
    crash(bench, Producer(LINES), *words)
    assert bench.start(*words, stdin=subprocess.DEVNULL).wait(LONG_S) == 125
    assert "from a pipe on standard input" in bench.said()
    assert Producer(LINES).start(bench, *words).wait(LONG_S) == 0
    assert out(bench) == LINES.upper() + b"end\n"


def test_what_cannot_come_again_is_continued_when_asked(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    words = words_for(bench)
    middle = LINES.index(b"line 40")
    process = Producer(LINES[:middle], stays_open=True).start(bench, *words)
    wait_until(lambda: (bench.folder / "out").exists() and out(bench) == LINES[:middle].upper())
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG_S) == 85
    assert Producer(LINES[middle:]).start(bench, "--accept-changed-files", *words).wait(LONG_S) == 0
    assert out(bench) == LINES.upper() + b"end\n"


def test_a_new_run_begins_with_the_new_input(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    for text in (b"one\n", b"two\n"):
        assert Producer(text).start(bench, *words_for(bench)).wait(LONG_S) == 0
        assert out(bench) == text.upper() + b"end\n"
    crash(bench, Producer(LINES), *words_for(bench))
    assert Producer(b"three\n").start(bench, "--fresh", *words_for(bench)).wait(LONG_S) == 0
    assert out(bench) == b"THREE\nend\n"


# -------------------------------------------------------------------------------- as without dmtcp-run


def shell(bench: Workbench, script: str, *words: Sequence[str | Path]) -> subprocess.CompletedProcess[bytes]:
    """Run SCRIPT, in which ``"$@"`` is dmtcp-run."""
    line = ["bash", "-c", script, "bash", *bench.line("-q", *words)]
    return subprocess.run(line, capture_output=True, timeout=LONG_S, check=False, cwd=bench.folder, env=bench.environ)


def test_what_the_program_does_not_read_is_left_to_the_next(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    done = shell(bench, """seq 5000 | { "$@" sh -c 'read one; echo $one'; cat; }""")
    assert done.stdout == b"".join(b"%d\n" % number for number in range(1, 5001))


def test_a_loop_over_a_pipe_sees_all_of_it(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    done = shell(bench, 'seq 3 | while read -r word; do "$@" echo "$word"; done')
    assert (done.returncode, done.stdout) == (0, b"1\n2\n3\n")


def test_a_producer_ends_with_its_reader(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    done = shell(bench, 'yes | "$@" head -n 1; echo "${PIPESTATUS[@]}"')
    assert done.stdout == b"y\n141 0\n"


def test_a_program_that_closes_its_input_ends_the_producer(bench: Workbench, one_dmtcp: EngineHere) -> None:
    assert one_dmtcp
    producer = Producer(b"y\n" * 1_000_000)
    process = producer.start(bench, "--stdout", "out", "sh", "-c", "read line; exec <&-; echo closed; sleep 1000")
    assert producer.has_lost_its_reader.wait(LONG_S)
    assert process.poll() is None


def test_input_that_is_not_read_is_not_taken_in(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    producer = Producer(b"y\n" * 1_000_000)
    process = producer.start(bench, "-i", "1", *bench.counting(20))
    assert process.wait(LONG_S) == 0
    assert producer.has_lost_its_reader.wait(LONG_S)
    assert sum(path.stat().st_size for path in (bench.job / "input").rglob("*") if path.is_file()) == 0


def test_the_program_sees_a_pipe_and_its_end(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    done = shell(bench, """printf 'text' | "$@" sh -c '[ -p /dev/stdin ] && ! [ -t 0 ] && cat'""")
    assert (done.returncode, done.stdout) == (0, b"text")


def test_input_that_no_generation_needs_is_removed(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    producer = Producer(LINES * 3, stays_open=True)
    process = producer.start(bench, "--keep", "1", *words_for(bench))
    bench.wait_generations(4, process)
    folder = bench.job / "input" / "000001"
    least = bench.manifest["stdin_bytes"]
    assert least > 0
    bench.wait_generations(1, process)
    assert all(int(path.name) + path.stat().st_size > least for path in folder.glob("0*") if path.stat().st_size)
    kill_all(process)
    assert Producer(LINES * 3).start(bench, "--keep", "1", *words_for(bench)).wait(LONG_S) == 0
    assert out(bench) == LINES.upper() * 3 + b"end\n"
    least = min(manifest_of(bench.job, number)["stdin_bytes"] for number in bench.generations)
    assert all(int(path.name) + path.stat().st_size > least for path in folder.glob("0*"))


def test_a_finished_program_without_a_generation_leaves_no_input_behind(
    bench: Workbench, one_engine: EngineHere
) -> None:
    assert one_engine
    assert Producer(LINES).start(bench, "cat", stdout=subprocess.DEVNULL).wait(LONG_S) == 0
    assert not list((bench.job / "input").rglob("0*/*"))


def test_a_killed_run_leaves_no_producer_behind(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    producer = Producer(b"y\n" * 1_000_000)
    process = producer.start(bench, "-i", "1", *bench.counting(1000))
    bench.wait_generations(1, process)
    process.kill()
    process.wait(LONG_S)
    assert producer.has_lost_its_reader.wait(LONG_S)
