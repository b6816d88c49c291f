"""Two jobs never write one file of --stdout or --stderr, and a job whose output another program changed is refused."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kit.processes import kill_all
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere


@pytest.mark.usefixtures("one_engine")
@pytest.mark.parametrize("directory", [".dmtcp-run", "another"])
def test_a_file_into_which_a_job_writes_is_no_other_jobs_output(bench: Workbench, directory: str) -> None:
    program = bench.counting(40)
    line = ["--job", "first", "-i", "1", "--stdout", "out.txt", *program]
    plain, process = bench.start_plain(*program), bench.start(*line)
    bench.wait_generations(1, process)
    second = bench.run("--dir", directory, "--job", "second", "--stderr", "out.txt", "true")
    assert second.returncode == 2
    assert "out.txt is the output of" in second.stderr
    assert "name another file with --stderr" in second.stderr
    assert process.wait(LONG_S) == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")
    assert bench.run("--dir", directory, "--job", "second", "--stderr", "out.txt", "true").returncode == 0
    assert (bench.folder / "out.txt").read_bytes() == b""


@pytest.mark.usefixtures("one_engine")
def test_an_attempt_that_is_stopped_by_another_one_leaves_an_empty_output_to_it(bench: Workbench) -> None:
    process = bench.start("-i", "0", "--job", "mine", "--stderr", "err.txt", *bench.counting(600))
    wait_until((bench.folder / "err.txt").exists)
    lock = bench.jobs / "mine/lock"
    wait_until(lock.read_bytes)
    lock.write_bytes(lock.read_bytes().replace(b'"host": "', b'"host": "another-'))
    assert process.wait(LONG_S) == 11, bench.said()
    assert (bench.folder / "err.txt").read_bytes() == b""


@pytest.mark.usefixtures("one_engine")
def test_of_jobs_that_start_at_the_same_moment_one_has_the_output(bench: Workbench) -> None:
    programs = [bench.counting(20, status=number) for number in (3, 4, 5)]
    running = [
        bench.start("--job", f"job{number}", "--stdout", "out.txt", *program) for number, program in enumerate(programs)
    ]
    statuses = [process.wait(LONG_S) for process in running]
    assert sorted(statuses)[:2] == [2, 2]
    assert max(statuses) in (3, 4, 5)
    assert bench.said().count("out.txt is the output of") == 2
    bench.assert_counted(20)


@pytest.mark.usefixtures("one_engine")
@pytest.mark.parametrize("option", ["--stdout", "--stderr"])
def test_a_file_that_the_command_line_names_is_not_emptied(bench: Workbench, option: str) -> None:
    script = bench.folder / "script.sh"
    script.write_text("cat numbers.txt\n")
    (bench.folder / "numbers.txt").write_text("1\n")
    for name in ("script.sh", "numbers.txt"):
        done = bench.run(option, name, "sh", "script.sh", "./numbers.txt")
        assert done.returncode == 2
        assert f"{name} is a file that the command line names" in done.stderr
    assert script.read_text() == "cat numbers.txt\n"
    assert (bench.folder / "numbers.txt").read_text() == "1\n"


def test_what_others_appended_to_an_output_is_set_aside(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    program = bench.counting(60, append="kept.txt")
    line = ["-i", "1", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    bench.crash(line)
    for name in ("out.txt", "kept.txt"):
        with (bench.folder / name).open("a") as file:
            file.write("a note of mine\n")
    resumed = bench.run(*line)
    assert resumed.returncode == 0
    aside = bench.job / "set-aside"
    assert f"cut off what was written to 2 files after the checkpoint; it is in {aside}" in resumed.stderr
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt", "kept.txt")
    for name in ("out.txt", "kept.txt"):
        assert (bench.job / "set-aside" / f"end-of-{name}").read_text().endswith("a note of mine\n")


@pytest.mark.usefixtures("one_engine")
def test_the_output_of_an_unfinished_job_is_not_emptied(bench: Workbench) -> None:
    program = bench.counting(40)
    line = ["--job", "first", "-i", "1", "--stdout", "out.txt", *program]
    plain, process = bench.start_plain(*program), bench.start(*line)
    bench.wait_generations(1, process)
    kill_all(process)
    second = bench.run("--job", "second", "--stdout", "out.txt", "true")
    assert second.returncode == 2
    assert "out.txt is the output of job first, which is unfinished" in second.stderr
    assert bench.start(*line).wait(LONG_S) == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")


_READING = """\
import sys, time
import numbers_of_mine
log, data = open("log.csv", "a"), open("data.txt")
for step in range(int(sys.argv[1])):
    print(step, file=log, flush=True)
    print(step, data.read(1), numbers_of_mine.ONE, flush=True)
    time.sleep(0.1)
"""
_FILES = ("data.txt", "loop.py", "numbers_of_mine.py")


def reading(bench: Workbench, folder: Path) -> list[str]:
    """Return the line of a program in FOLDER that imports a module, reads one file and writes another."""
    for place in {folder, bench.plain}:
        place.mkdir(exist_ok=True)
        (place / "loop.py").write_text(_READING)
        (place / "numbers_of_mine.py").write_text("ONE = 1\n")
        (place / "data.txt").write_text("data\n" * 100)
    return ["--job", "first", "-i", "1", "--stdout", "out.txt", sys.executable, "loop.py", "150"]


def assert_not_emptied(bench: Workbench, path: str, said: str, **popen: Any) -> None:
    """Assert that a job with output PATH is refused with SAID."""
    folder = Path(popen.get("cwd", bench.folder))
    before = (folder / path).stat().st_size
    assert before
    refused = bench.run("--dir", "seconds", "--job", "second", "--stdout", path, "true", **popen)
    assert (refused.returncode, (folder / path).stat().st_size >= before) == (2, True), refused.stderr
    assert said in " ".join(refused.stderr.split())


def test_no_file_that_another_job_needs_is_emptied(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    line = reading(bench, bench.folder)
    plain, process = bench.start_plain(*line[-3:]), bench.start(*line)
    bench.wait_generations(1, process)
    for name in ("log.csv", *_FILES):
        assert_not_emptied(bench, name, "is needed by job first, which runs")
    bench.wait_beyond_checkpoint(process)
    kill_all(process)
    for name in ("log.csv", *_FILES):
        assert_not_emptied(bench, name, "is needed by job first, which is unfinished")
    assert_not_emptied(bench, "data.txt", "'dmtcp-ctl remove first --unfinished' gives that job up")
    assert bench.start(*line).wait(LONG_S) == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt", "log.csv")
    assert bench.run("--dir", "seconds", "--job", "second", "--stdout", "log.csv", "true").returncode == 0
    assert (bench.folder / "log.csv").read_bytes() == b""


@pytest.mark.usefixtures("one_engine")
def test_no_file_that_a_job_of_another_directory_needs_is_emptied(bench: Workbench, tmp_path: Path) -> None:
    other = bench.folder / "other"
    line = reading(bench, other)
    process = bench.start(*line, cwd=other)
    wait_until((other / ".dmtcp-run/first/generations/000001/manifest.json").exists)
    wait_until(lambda: (other / "out.txt").stat().st_size > 0)
    kill_all(process)
    said = "job first, which is unfinished"
    assert_not_emptied(bench, "other/out.txt", said)
    assert_not_emptied(bench, "other/data.txt", "dmtcp-ctl --dir other/.dmtcp-run remove first --unfinished")
    (tmp_path / "link.txt").symlink_to(other / "data.txt")
    assert_not_emptied(bench, "link.txt", said, cwd=tmp_path)
    assert bench.start(*line, cwd=other).wait(LONG_S) == 0


@pytest.mark.usefixtures("one_engine")
def test_an_unfinished_job_of_the_same_script_is_named_with_the_line_that_resumes_it(bench: Workbench) -> None:
    line = reading(bench, bench.folder)
    plain, process = bench.start_plain(*line[-3:]), bench.start(*line)
    bench.wait_generations(1, process)
    another = ["--stdout", "another.txt", sys.executable, "loop.py"]
    assert "this is a new job" not in bench.run(*another, "2").stderr
    kill_all(process)
    (bench.folder / "log.csv").rename(bench.folder / "mine.csv")
    said = " ".join(bench.run(*another, "3").stderr.split())
    (bench.folder / "mine.csv").rename(bench.folder / "log.csv")
    named = re.search(r"job first of the same script is unfinished and does not run: '(.+?)' resumes it", said)
    assert named
    assert "'dmtcp-ctl remove first --unfinished' gives it up" in said
    assert " -i 1 " in named[1]
    there = bench.ctl("--dir", bench.jobs, "doctor", "first", cwd="/")
    assert f"in {bench.folder}, type: {named[1]}" in " ".join(there.stdout.split())
    resumed = bench.run(*shlex.split(named[1])[1:])
    assert resumed.returncode == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")
    assert "this is a new job" not in bench.run(*another, "1").stderr


@pytest.mark.usefixtures("one_engine")
def test_a_start_that_fails_leaves_no_empty_file(bench: Workbench) -> None:
    failed = bench.run("--engine-plugin", "nothing:Nothing", "--engine", "nothing", "--stdout", "new.txt", "true")
    assert failed.returncode == 125
    assert not (bench.folder / "new.txt").exists()


def test_an_output_that_another_program_changed_is_seen_before_the_resume(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    out = bench.folder / "out.txt"
    program = bench.counting(60)
    line = ["-i", "1", "--stdout", "out.txt", *program]
    plain, process = bench.start_plain(*program), bench.start(*line)
    bench.wait_generations(1, process)
    kill_all(process)
    before = out.read_bytes()
    out.write_bytes(b"another line\n" * len(before))
    refused = bench.run(*line)
    assert refused.returncode == 125
    assert f"{out}, which the program had open, was changed by another program" in refused.stderr
    out.write_bytes(before)
    assert bench.start(*line).wait(LONG_S) == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")


def _insert_line(path: Path) -> None:
    """Insert a line at the top of the file at PATH, as editors do."""
    new = path.with_name("new")
    new.write_bytes(b"a note of mine\n" + path.read_bytes())
    new.replace(path)


CHANGED = {
    "removed": (Path.unlink, r"is gone \(No such file or directory\): made again, with zeros for its (\d+) bytes"),
    "emptied": (lambda path: path.write_bytes(b""), r"had (\d+) bytes and now has 0: bytes 0 to \1 are zeros now"),
    "edited": (_insert_line, "was replaced by another: left as it is"),
}


@pytest.mark.parametrize("way", CHANGED)
def test_outputs_that_somebody_changed_are_resumed_with_when_that_is_accepted(
    bench: Workbench, engine: EngineHere, way: str
) -> None:
    assert engine
    change, text = CHANGED[way]
    program = bench.counting(60, append="log.csv")
    line = ["-i", "1", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    bench.crash(line)
    files = [bench.folder / name for name in ("out.txt", "log.csv")]
    for path in files:
        change(path)
    refused = bench.run(*line)
    assert refused.returncode == 125
    assert "--accept-changed-files resumes all the same" in refused.stderr.splitlines()[-1]
    found = [path.read_bytes() if path.exists() else b"" for path in files]
    accepted = bench.run("--accept-changed-files", *line)
    assert accepted.returncode == 0, accepted.stderr
    assert plain.wait(LONG_S) == 0
    for path, before in zip(files, found, strict=True):
        assert re.search(f"{re.escape(str(path))}, which the program had open, {text}", accepted.stderr)
        now, whole = path.read_bytes(), (bench.plain / path.name).read_bytes()
        sizes = range(1, len(whole))
        assert any(now == before[:size].ljust(size, b"\0") + whole[size:] for size in sizes), now
