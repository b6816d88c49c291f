"""Two jobs never write one file of --stdout or --stderr, and a job whose output another program changed is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kit.processes import kill_all
from kit.waits import LONG_S

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
