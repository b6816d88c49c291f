"""What a job has written and closed: other jobs do not empty it, and a resume says what somebody changed."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from kit.processes import kill_all
from kit.waits import LONG_S

if TYPE_CHECKING:
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

_RESULTS = """\
import os, sys, time
log, step = open("log.csv", "a"), 0
while not os.path.exists("go"):
    if step < 3:
        with open(f"result-{step}.csv", "w") as file:
            print(step, file=file)
    print(step, file=log, flush=True)
    print(step, flush=True)
    step += 1
    time.sleep(0.1)
"""
_TURNS_FILES_OVER = """\
import os, sys, time
most, step = int(sys.argv[1]), 0
def write(name, text, mode="w"):
    with open(name, mode) as file:
        file.write(text)
while step != most and not os.path.exists("go"):
    write(f"{step}.csv", f"{step}\\n")
    write("all.csv", f"{step}\\n", "a")
    write("last.new", f"{step}\\n")
    os.rename("last.new", "last.csv")
    os.mkdir(f"run-{step}.tmp")
    write(f"run-{step}.tmp/result.csv", f"{step}\\n")
    os.rename(f"run-{step}.tmp", f"run-{step}")
    os.link(f"{step}.csv", f"link-{step}.csv")
    if step > 3:
        write(f"link-{step - 2}.csv", "more\\n", "a")
        os.remove(f"link-{step - 3}.csv")
        os.rename(f"{step - 3}.csv", f"old-{step - 3}.csv")
        write(f"run-{step - 3}/result.csv", "more\\n", "r+")
    if step > 20:
        os.remove(f"old-{step - 20}.csv")
    print(step, flush=True)
    step += 1
    time.sleep(0.05 if most < 0 else 0)
"""
_SAID = ("changed after the checkpoint", "is gone", "are gone")


def _line(bench: Workbench, text: str, *words: str) -> list[str]:
    streams = ["--stdout", "out.txt", "--stderr", "err.txt"]
    return ["--job", "first", "-i", "1", *streams, *bench.python("program.py", text), *words]


def _killed(bench: Workbench, line: list[str], *, generations: int = 2) -> None:
    """Run LINE, and kill it beyond its next GENERATIONS."""
    process = bench.start(*line)
    bench.wait_generations(generations, process)
    bench.wait_beyond_checkpoint(process)
    kill_all(process)


def _finished(bench: Workbench, line: list[str]) -> str:
    """Run LINE to its end, which is now; return what was said of files."""
    (bench.folder / "go").touch()
    done = bench.run(*line)
    assert done.returncode == 0, done.stderr
    return "".join(one for one in done.stderr.splitlines() if any(text in one for text in _SAID))


def _assert_all_once(bench: Workbench) -> None:
    steps = (bench.folder / "out.txt").read_text().split()
    assert steps == (bench.folder / "log.csv").read_text().split() == [str(step) for step in range(len(steps))]


@pytest.mark.parametrize("directory", [".dmtcp-run", "seconds"])
def test_a_result_that_an_unfinished_job_has_closed_is_not_emptied(
    bench: Workbench, engine: EngineHere, directory: str
) -> None:
    assert engine
    line = _line(bench, _RESULTS)
    _killed(bench, line)
    for name in ("result-0.csv", "result-2.csv", "log.csv"):
        other = bench.run("--dir", directory, "--job", "second", "--stdout", name, "true")
        assert other.returncode == 2, other.stderr
        assert f"{name} is needed by job first, which is unfinished" in other.stderr
    assert _finished(bench, line) == ""
    _assert_all_once(bench)
    assert [(bench.folder / f"result-{step}.csv").read_text() for step in range(3)] == ["0\n", "1\n", "2\n"]
    assert bench.run("--dir", directory, "--job", "second", "--stdout", "result-0.csv", "true").returncode == 0


def test_results_that_somebody_changed_are_named_once(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    line = _line(bench, _RESULTS)
    _killed(bench, line)
    with (bench.folder / "result-1.csv").open("a") as file:
        file.write("mine\n")
    (bench.folder / "result-2.csv").rename(bench.folder.parent / "archive.csv")
    text = "result-1.csv changed after the checkpoint, result-2.csv is gone; the program goes on with them as they are"
    assert text in " ".join(bench.ctl("doctor", "first").stdout.split())
    _killed(bench, line, generations=1)
    assert bench.said_with("changed after the checkpoint") == f"dmtcp-run: {text}"
    assert _finished(bench, line) == ""
    _assert_all_once(bench)
    assert (bench.folder / "result-1.csv").read_text() == "1\nmine\n"


def test_nothing_is_said_of_what_the_program_itself_turned_over(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    line = _line(bench, _TURNS_FILES_OVER, "-1")
    for _ in range(4):
        _killed(bench, line, generations=1)
    assert _finished(bench, line) == ""
    assert not [text for text in _SAID if text in bench.said()], bench.said()
    steps = len((bench.folder / "out.txt").read_text().split())
    subprocess.run([*line[-3:-1], str(steps)], cwd=bench.plain, check=True, timeout=LONG_S, capture_output=True)
    names = _files(bench.plain)
    assert _files(bench.folder) == names
    bench.assert_same(*names)


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in (*folder.glob("*.csv"), *folder.glob("run-*/*")))


def test_the_name_of_an_output_that_was_removed_is_not_anothers(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    line = _line(bench, _RESULTS)
    _killed(bench, line, generations=1)
    out = bench.folder / "out.txt"
    out.rename(bench.folder / "mine.txt")
    for directory in (".dmtcp-run", "seconds"):
        other = bench.run("--dir", directory, "--job", "second", "--stdout", "out.txt", "true")
        assert other.returncode == 2, other.stderr
        assert "out.txt is the output of job first, which is unfinished" in other.stderr
        assert not out.exists()
    (bench.folder / "mine.txt").rename(out)
    assert _finished(bench, line) == ""
    _assert_all_once(bench)
    out.unlink()
    assert bench.run("--job", "second", "--stdout", "out.txt", "true").returncode == 0


@pytest.mark.usefixtures("one_engine")
def test_of_a_directory_that_was_copied_with_new_times_nothing_is_said(bench: Workbench) -> None:
    line = _line(bench, _RESULTS)
    _killed(bench, line)
    copy: Path = bench.folder.with_name("copy")
    shutil.copytree(bench.folder, copy, symlinks=True, copy_function=shutil.copyfile)
    shutil.rmtree(bench.folder)
    copy.rename(bench.folder)
    with (bench.folder / "result-1.csv").open("a") as file:
        file.write("mine\n")
    text = "result-1.csv changed after the checkpoint; the program goes on with it as it is"
    assert _finished(bench, line) == f"dmtcp-run: {text}"
