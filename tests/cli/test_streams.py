"""Standard streams pass untouched and unbuffered, and what cannot be resumed exactly is said."""

from __future__ import annotations

import os
import re
import selectors
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import pytest

from kit.bench import counted
from kit.processes import kill_all
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

OURS = b"dmtcp-run: "

READ = """
import sys, time
while line := sys.stdin.buffer.readline():
    sys.stdout.buffer.write(line.upper()); sys.stdout.buffer.flush()
    time.sleep(0.1)
"""
"""Hands its input on in capitals, ten lines a second."""


def of_the_program(said: bytes) -> bytes:
    """Return what is not ours of a stderr."""
    return b"".join(line for line in said.splitlines(keepends=True) if not line.startswith(OURS))


def read_line(stream: IO[bytes] | None) -> bytes:
    """Return the next line from a pipe whose writer lives on; fail where none comes."""
    assert stream is not None
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            assert selector.select(LONG_S), f"nothing came but {line!r}"
            byte = os.read(stream.fileno(), 1)
            assert byte, f"the stream ended after {line!r}"
            line += byte
    return line


def numbers(data: bytes, prefix: str = "") -> list[int]:
    """Return the steps that the program that counts printed, in lines that begin with PREFIX."""
    return [int(number) for number in re.findall(rf"^{prefix}(\d+) \d+$", data.decode(), re.MULTILINE)]


def kill_after_a_generation(bench: Workbench, process: subprocess.Popen[bytes]) -> None:
    """Wait for a generation and for some lines in ``out`` after it; SIGKILL all of it."""
    bench.wait_generations(1, process)
    bench.wait_lines(3, process, "out")
    kill_all(process)


# ------------------------------------------------------------------------------------------- passing through


def test_bytes_pass_in_both_directions_while_the_program_runs(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    program = ["sh", "-c", 'echo ready; while read -r line; do echo "got $line"; done; echo end; exit 5']
    with bench.start("-q", *program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert read_line(process.stdout) == b"ready\n"
        for word in (b"one", b"two"):
            process.stdin.write(word + b"\n")
            process.stdin.flush()
            assert read_line(process.stdout) == b"got " + word + b"\n"
        process.stdin.close()
        assert read_line(process.stdout) == b"end\n"
        assert process.wait(LONG_S) == 5


def test_an_unfinished_line_passes_at_once(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    program = ["sh", "-c", "printf half; read -r line; echo; exit 0"]
    with bench.start(*program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdin
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            assert selector.select(LONG_S)
        assert os.read(process.stdout.fileno(), 100) == b"half"
        process.stdin.close()
        assert process.wait(LONG_S) == 0


def test_binary_bytes_pass_unchanged_and_nothing_is_added(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    data = bytes(range(256)) * 400 + os.urandom(100_000) + b"no newline at the end"
    done = subprocess.run(
        bench.line("tee", "/dev/stderr"),
        input=data,
        capture_output=True,
        timeout=LONG_S,
        check=False,
        cwd=bench.folder,
        env=bench.environ,
    )
    assert done.returncode == 0
    assert done.stdout == data
    assert re.sub(rb"dmtcp-run: .*\n", b"", done.stderr) == data


def test_only_lines_with_our_prefix_are_added_to_stderr(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    done = bench.run("sh", "-c", "echo oops >&2; echo answer; exit 3")
    assert (done.returncode, done.stdout) == (3, "answer\n")
    assert of_the_program(done.stderr.encode()) == b"oops\n"
    assert OURS in done.stderr.encode()


def test_quiet_leaves_the_programs_own_lines_only(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    done = bench.run("-q", "sh", "-c", "echo oops >&2; echo answer; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, "answer\n", "oops\n")


def test_a_reader_that_leaves_early_ends_the_program_as_without_us(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    with bench.start("yes", stdout=subprocess.PIPE) as process:
        assert read_line(process.stdout) == b"y\n"
        assert process.stdout
        process.stdout.close()
        assert process.wait(LONG_S) == 141
    said = (bench.folder / "stderr.txt").read_text()
    assert "Traceback" not in said
    assert "killed by signal 13" in said


def test_a_reader_of_our_lines_that_leaves_does_not_end_the_program(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = bench.run("-i", "1", *bench.counting(20), stderr=writer)
    finally:
        os.close(writer)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("done 20 ")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["sh", "-c", "exit 3"], 3),
        (["missing-program"], 127),
        (["/"], 126),
        (["--nonsense"], 2),
        (["--job", "../x", "true"], 2),
    ],
)
def test_lines_that_cannot_be_written_change_no_status(
    bench: Workbench, one_engine: EngineHere, words: list[str], status: int
) -> None:
    assert one_engine
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        assert bench.run(*words, stdout=full, stderr=full).returncode == status


def test_a_device_that_takes_nothing_does_not_keep_the_program_from_its_end(
    bench: Workbench, engine: EngineHere
) -> None:
    assert engine
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        assert bench.run("sh", "-c", "echo text; exit 7", stdout=full, timeout_s=30).returncode == 7


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_streams_that_are_closed_do_no_harm(bench: Workbench, one_engine: EngineHere, closed: tuple[int, ...]) -> None:
    assert one_engine
    (bench.folder / "in").write_text("text\n")
    program = ["sh", "-c", "read -r line; echo answer; echo oops >&2; echo ran >trace; exit 4"]
    closing = {0: "<&-", 1: ">&-", 2: "2>&-"}
    line = ["sh", "-c", f'exec "$@" {" ".join(closing[fd] for fd in closed)}', "sh", *bench.line("-v", *program)]
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=LONG_S, check=False, cwd=bench.folder, env=bench.environ, stdin=0
    )
    assert done.returncode == 4, done.stderr
    assert (bench.folder / "trace").exists()
    assert done.stdout == ("" if 1 in closed else "answer\n")
    assert "Traceback" not in done.stderr
    assert ("oops\n" in done.stderr) == (2 not in closed)
    assert str(bench.job) not in done.stderr


# ------------------------------------------------------------------------------------------------- stdin


@pytest.fixture
def letters(bench: Workbench) -> bytes:
    """Write ``in``, 40 numbered lines, and return it."""
    data = b"".join(b"line %d\n" % number for number in range(40))
    (bench.folder / "in").write_bytes(data)
    return data


def test_a_file_on_stdin_goes_on_exactly_after_a_kill(bench: Workbench, engine: EngineHere, letters: bytes) -> None:
    assert engine
    words = ["-i", "1", "--stdout", "out", *bench.python("read.py", READ)]
    with (bench.folder / "in").open("rb") as stream:
        process = bench.start(*words, stdin=stream)
    kill_after_a_generation(bench, process)
    with (bench.folder / "in").open("rb") as stream:
        assert bench.run(*words, stdin=stream).returncode == 0
    assert "resumed" in bench.events
    assert (bench.folder / "out").read_bytes() == letters.upper()


def test_a_file_on_stdin_that_was_partly_read_goes_on_from_there(
    bench: Workbench, engine: EngineHere, letters: bytes
) -> None:
    assert engine
    words = ["-i", "1", "--stdout", "out", *bench.python("read.py", READ)]

    def partly_read() -> int:
        stream = os.open(bench.folder / "in", os.O_RDONLY)
        assert os.read(stream, 14) == b"line 0\nline 1\n"
        return stream

    stream = partly_read()
    process = bench.start(*words, stdin=stream)
    os.close(stream)
    kill_after_a_generation(bench, process)
    stream = partly_read()
    assert bench.run(*words, stdin=stream).returncode == 0
    os.close(stream)
    assert "resumed" in bench.events
    assert (bench.folder / "out").read_bytes() == letters[14:].upper()


def test_a_here_document_goes_on_exactly_after_a_kill(bench: Workbench, engine: EngineHere, letters: bytes) -> None:
    assert engine
    words = ["-i", "1", "--stdout", "out", *bench.python("read.py", READ)]
    for attempt in range(2):
        with tempfile.TemporaryFile(dir=bench.folder) as stream:
            stream.write(letters)
            stream.seek(0)
            process = bench.start(*words, stdin=stream)
            if attempt == 0:
                kill_after_a_generation(bench, process)
            else:
                assert process.wait(LONG_S) == 0
    assert "resumed" in bench.events
    assert (bench.folder / "out").read_bytes() == letters.upper()


def test_an_input_file_named_by_an_option_does_not_need_our_stdin(
    bench: Workbench, one_engine: EngineHere, letters: bytes
) -> None:
    assert one_engine
    words = ["-q", "--stdin", "in", "--stdout", "out", "tr", "a-z", "A-Z"]
    done = subprocess.run(
        bench.line(*words),
        input=b"",
        capture_output=True,
        timeout=LONG_S,
        check=False,
        cwd=bench.folder,
        env=bench.environ,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (bench.folder / "out").read_bytes() == letters.upper()


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_a_socket_on_stdin_is_warned_of_with_what_to_do_instead(
    bench: Workbench, one_engine: EngineHere, quiet: Sequence[str]
) -> None:
    assert one_engine
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"text\n")
        ours.shutdown(socket.SHUT_WR)
        done = bench.run(*quiet, "cat", stdin=theirs)
    assert (done.returncode, done.stdout) == (0, "text\n")
    (line,) = [line for line in done.stderr.splitlines() if "socket" in line]
    assert line.startswith("dmtcp-run: ")
    assert "--stdin" in line


def test_the_null_device_on_stdin_needs_no_warning(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    assert "stdin" not in bench.run("cat", stdin=subprocess.DEVNULL).stderr


# -------------------------------------------------------------------------------------- stdout and stderr


@pytest.mark.parametrize("second", ["both", "./both", "folder/../both"])
def test_both_outputs_in_one_file_keep_their_order(bench: Workbench, one_engine: EngineHere, second: str) -> None:
    assert one_engine
    (bench.folder / "folder").mkdir()
    program = ["sh", "-c", "echo 1; echo 2 >&2; echo 3; echo 4 >&2"]
    done = bench.run("-q", "--stdout", "both", "--stderr", second, *program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (bench.folder / "both").read_text() == "1\n2\n3\n4\n"


def test_both_outputs_in_one_file_are_exact_after_a_kill(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    words = ["-i", "1", "--stdout", "out", "--stderr", "out", *bench.counting(40, stderr=True)]
    kill_after_a_generation(bench, bench.start(*words))
    assert bench.run(*words).returncode == 0
    assert "resumed" in bench.events
    *steps, done = counted(40).decode().splitlines()
    expected = [line for step in steps for line in (step, f"err {step}")]
    assert (bench.folder / "out").read_text().splitlines() == [*expected, done]


def test_our_lines_do_not_get_into_the_programs_files(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    done = bench.run("-v", "--stdout", "out", "--stderr", "err", "sh", "-c", "echo answer; echo oops >&2")
    assert done.returncode == 0
    assert (bench.folder / "out").read_text() == "answer\n"
    assert (bench.folder / "err").read_text() == "oops\n"
    assert all(line.startswith("dmtcp-run: ") for line in done.stderr.splitlines())


def count(bench: Workbench, *, out: Path, err: Path, flags: int) -> subprocess.Popen[bytes]:
    """Start the program that counts with OUT and ERR inherited, opened as a shell opens them with FLAGS."""
    fds = [os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644) for path in (out, err)]
    try:
        words = ["-i", "1", *bench.counting(40, stderr=True)]
        return bench.start(*words, stdout=fds[0], stderr=fds[1])
    finally:
        for fd in fds:
            os.close(fd)


@pytest.mark.parametrize("first", [os.O_TRUNC, os.O_APPEND], ids=["truncated", "appended"])
def test_appending_after_a_kill_loses_nothing_and_repeats_what_came_after_the_checkpoint(
    bench: Workbench, engine: EngineHere, first: int
) -> None:
    assert engine
    out, err = bench.folder / "out", bench.folder / "err"
    kill_after_a_generation(bench, count(bench, out=out, err=err, flags=first))
    before = out.read_bytes(), err.read_bytes()
    process = count(bench, out=out, err=err, flags=os.O_APPEND)
    assert process.wait(LONG_S) == 0
    for path, prefix, earlier in ((out, "", before[0]), (err, "err ", before[1])):
        data = path.read_bytes()
        assert data.startswith(earlier), f"{path.name} was damaged:\n{data.decode()}"
        again = numbers(data[len(earlier) :], prefix)
        assert again == list(range(again[0], 41))
        assert 1 < again[0] <= numbers(earlier, prefix)[-1] + 1
    assert b"will be repeated" in err.read_bytes()


def test_another_file_after_a_kill_leaves_the_first_as_it_was(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    out, err = bench.folder / "out", bench.folder / "err"
    kill_after_a_generation(bench, count(bench, out=out, err=err, flags=os.O_TRUNC))
    before = out.read_bytes(), err.read_bytes()
    second, second_err = bench.folder / "out.2", bench.folder / "err.2"
    assert count(bench, out=second, err=second_err, flags=os.O_TRUNC).wait(LONG_S) == 0
    assert (out.read_bytes(), err.read_bytes()) == before
    again = numbers(second.read_bytes())
    assert again == list(range(again[0], 41))
    assert 1 < again[0] <= numbers(before[0])[-1] + 1


def test_an_output_that_the_shell_emptied_before_a_resume_is_said(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    out, err = bench.folder / "out", bench.folder / "err"
    process = count(bench, out=out, err=err, flags=os.O_TRUNC)
    wait_until(lambda: process.poll() is not None or (b"stdout is" in err.read_bytes()))
    warnings = [line for line in err.read_bytes().splitlines() if b"stdout is" in line]
    assert b"'>' empties" in warnings[0]
    assert b"--stdout" in warnings[0]
    kill_after_a_generation(bench, process)
    assert count(bench, out=out, err=bench.folder / "err.2", flags=os.O_TRUNC).wait(LONG_S) == 0
    said = (bench.folder / "err.2").read_text()
    assert said.count("dmtcp-run: stdout lacks what the program wrote before generation ") == 1
    assert "--stdout" in said
    assert "will be repeated" not in said
    rest = out.read_bytes()
    assert numbers(rest, "")[-1] == 40
    assert b"\0" not in rest


@pytest.mark.parametrize("mode", ["wb", "ab"], ids=["emptied", "appended"])
def test_a_file_without_lines_of_the_program_lacks_and_repeats_nothing(
    bench: Workbench, engine: EngineHere, mode: str
) -> None:
    assert engine
    log = bench.folder / "log"
    for life in ("first", "second"):
        with log.open(mode) as err:
            if life == "second":
                # as bash does in a script, with the number of the line
                err.write(b"job.sh: line 3:  4711 Killed                  dmtcp-run -i 1 ./count\n")
                err.flush()
            process = bench.start("-i", "1", "--stdout", "out", *bench.counting(40), stderr=err)
        if life == "first":
            kill_after_a_generation(bench, process)
    assert process.wait(LONG_S) == 0
    said = log.read_text()
    assert "resumed generation" in said
    assert "lacks" not in said
    assert "repeated" not in said


@contextmanager
def tee_of(bench: Workbench, option: str) -> Iterator[IO[bytes]]:
    """Yield what leads to ``tee OPTION log``, which ends when nobody has it any more."""
    tee = subprocess.Popen(
        ["sh", "-c", f"exec tee {option} log >/dev/null"],
        stdin=subprocess.PIPE,
        cwd=bench.folder,
        start_new_session=True,
    )
    bench.started.append(tee)
    assert tee.stdin
    with tee.stdin:
        yield tee.stdin


@pytest.mark.parametrize("option", ["", "-a"])
@pytest.mark.parametrize("is_crash", [True, False], ids=["crash", "stop"])
def test_what_the_reader_of_a_pipe_gets_after_a_resume_is_said_and_true(
    bench: Workbench, engine: EngineHere, option: str, *, is_crash: bool
) -> None:
    assert engine
    log = bench.folder / "log"
    with tee_of(bench, option) as stdin:
        process = bench.start("-i", "1", *bench.counting(60), stdout=stdin)
    bench.wait_generations(1, process)
    bench.wait_lines(3, process, "log")
    if is_crash:
        kill_all(process)
    else:
        process.terminate()
        assert process.wait(LONG_S) == 85
    wait_until(lambda: numbers(log.read_bytes()))
    before = numbers(log.read_bytes())
    with tee_of(bench, option) as stdin:
        process = bench.start("-i", "1", *bench.counting(60), stdout=stdin)
    assert process.wait(LONG_S) == 0
    wait_until(lambda: b"done" in log.read_bytes())
    after = numbers(log.read_bytes())
    again = after[len(before) :] if option else after
    assert after[: len(before)] == before or not option
    assert again == list(range(again[0], 61))
    assert (again[0] == before[-1] + 1) if not is_crash else (1 < again[0] <= before[-1] + 1)
    line = bench.said_with("stdout is a pipe")
    assert "and nothing from before" in line
    assert "'tee' without -a empties its file" in line
    assert ("comes once more" in line) == is_crash


@pytest.mark.plain_user_too
def test_streams_may_be_files_that_only_the_one_who_opened_them_can_reach(
    bench: Workbench, criu: EngineHere, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if not criu.is_an_ordinary_users:
        pytest.skip("root can reach all files")
    folder = tmp_path_factory.mktemp("others")
    (folder / "in").write_text("".join(f"{n} 0\n" for n in range(1, 61)))
    line = ["-i", "1", *bench.python("read.py", READ)]
    with (folder / "in").open("rb") as stdin, (folder / "out").open("ab") as out:
        folder.chmod(0)
        try:
            bench.crash(line, progress=lambda: os.fstat(out.fileno()).st_size, stdin=stdin, stdout=out)
            stdin.seek(0)
            process = bench.start(*line, stdin=stdin, stdout=out)
            assert process.wait(LONG_S) == 0, bench.said()
        finally:
            folder.chmod(0o700)
    assert "failed" not in bench.said()
    assert bench.events.count("resumed") == 1
    assert sorted({*numbers((folder / "out").read_bytes())}) == list(range(1, 61))
