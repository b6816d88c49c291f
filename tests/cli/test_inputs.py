"""What somebody changes between two runs of the same line: files that the program reads, its script, the program."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dmtcp_py import native
from kit.processes import kill_all, program_of
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere

COMPILER = shutil.which("cc")
READS = """
import sys, time
with open("lines.txt") as lines:
    for line in lines:
        print(line, end="", flush=True)
        time.sleep(0.1)
"""
WRITES_WHAT_IT_READS = """
import time
with open("log.txt", "rb") as log:
    for step in range(60):
        with open("log.txt", "r+b") as writing:
            writing.seek(1 << 20)
            writing.write(b"%02d" % step)
        log.seek(1 << 20)
        print(log.read(2).decode(), flush=True)
        time.sleep(0.1)
"""
SCRIPT = "".join(f"echo line {n}; sleep 0.1\n" for n in range(60))
COUNTS = r"""
#include <stdio.h>
#include <unistd.h>
int main(void)
{
    for (int n = 0; n < 60; n++) {
        printf("%s %%d\n", n);
        fflush(stdout);
        usleep(100000);
    }
    return 0;
}
"""


def _replace(path: Path, content: bytes) -> None:
    """Replace the file at PATH by another with CONTENT, as editors do."""
    new = path.with_name("new")
    new.write_bytes(content)
    new.replace(path)


def _inputs(bench: Workbench, name: str, text: str) -> tuple[Path, bytes]:
    """Write TEXT to file NAME of both runs."""
    for folder in (bench.folder, bench.plain):
        (folder / name).write_text(text)
    return bench.folder / name, text.encode()


def _build(program: Path, word: str, *words: object) -> None:
    """Build a program that prints WORD with each number, with WORDS for the compiler."""
    assert COMPILER
    source = program.with_suffix(".c")
    source.write_text(COUNTS % word)
    subprocess.run([COMPILER, "-o", program, source, *map(str, words)], check=True, timeout=LONG_S)


def _build_with_library(program: Path, library: Path, word: str) -> None:
    """Build a program that prints WORD with each number and waits in LIBRARY."""
    assert COMPILER
    source = library.with_suffix(".c")
    source.write_text(
        f'#include <unistd.h>\nchar library_word[] = "{word}";\nint wait_a_little(void) {{ return usleep(100000); }}\n'
    )
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", library, source], check=True, timeout=LONG_S)
    _build(program, word, "-Dusleep(n)=wait_a_little()", library)


@pytest.mark.parametrize("way", ["replaced", "edited", "emptied", "removed"])
def test_a_shell_script_that_was_edited_is_refused_until_it_is_back(
    bench: Workbench, engine: EngineHere, way: str
) -> None:
    """A shell reads its script as it goes on: from where it was it would read something else."""
    assert engine
    script, text = _inputs(bench, "run.sh", SCRIPT)
    line = ["-i", "1", "--stdout", "out.txt", "bash", "run.sh"]
    plain = bench.start_plain("bash", "run.sh")
    bench.crash(line)
    if way == "replaced":
        _replace(script, text.replace(b"line", b"another line"))
    elif way == "edited":
        script.write_bytes(text.replace(b"line", b"LINE"))
    elif way == "emptied":
        script.write_bytes(b"")
    else:
        script.unlink()
    refused = bench.run(*line)
    assert refused.returncode == 125
    assert f"{script}, which the program was reading, " in refused.stderr
    assert "nothing was started and nothing deleted" in refused.stderr.splitlines()[-1]
    assert f"{script}, which the program was reading, " in bench.ctl("doctor", bench.job.name).stdout
    script.write_bytes(text)
    assert bench.start(*line).wait(LONG_S) == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")


def test_a_refusal_gives_no_generation_up(bench: Workbench, engine: EngineHere) -> None:
    """Going back to the one before would undo what the newest needs."""
    assert engine
    path, _ = _inputs(bench, "lines.txt", "".join(f"line {n:02}\n" for n in range(90)))
    program = bench.python("reads.py", READS.replace("print(line", 'open("log", "a").write(line); print(line'))
    line = ["-i", "1", "--stdout", "out.txt", *program]
    plain, process = bench.start_plain(*program), bench.start(*line)
    bench.wait_generations(2, process)
    bench.wait_beyond_checkpoint(process)
    kill_all(process)
    newest = bench.newest
    path.rename(path.with_name("elsewhere"))
    refused = bench.run(*line)
    assert refused.returncode == 125
    assert "trying the one before" not in refused.stderr
    assert f"cannot be resumed from generation {newest}: {path}, which the program was reading, is" in refused.stderr
    path.with_name("elsewhere").rename(path)
    assert bench.start(*line).wait(LONG_S) == 0
    assert [one["generation"] for one in bench.history if one["event"] == "resumed"] == [newest]
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt", "log")


@pytest.mark.usefixtures("one_engine")
def test_an_input_that_was_changed_is_read_on_when_that_is_accepted(bench: Workbench) -> None:
    lines = "".join(f"line {n:02}\n" for n in range(60))
    path, text = _inputs(bench, "lines.txt", lines)
    line = ["-i", "1", "--stdout", "out.txt", *bench.python("reads.py", READS)]
    bench.crash(line)
    path.write_bytes(text.replace(b"line", b"LINE"))
    assert bench.run(*line).returncode == 125
    accepted = bench.run("--accept-changed-files", *line)
    assert accepted.returncode == 0
    assert "has changed since then: the program goes on with it as it is now" in accepted.stderr


@pytest.mark.parametrize("way", ["shortened", "appended to"])
def test_an_input_of_another_size_is_refused_before_anything_is_restored_and_no_option_that_fails_is_offered(
    bench: Workbench, criu: EngineHere, way: str
) -> None:
    assert criu
    path, text = _inputs(bench, "lines.txt", "".join(f"line {n:02}\n" for n in range(60)))
    program = bench.python("reads.py", READS.replace("print(line", 'open("log", "a").write(line); print(line'))
    line = ["-i", "1", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    bench.crash(line, progress="log")
    path.write_bytes(text[:-8] if way == "shortened" else text + b"one more\n")
    log = (bench.folder / "log").read_bytes()
    for options in ([], ["--accept-changed-files"]):
        refused = bench.run(*options, *line)
        assert refused.returncode == 125
        said = f"{path}, which the program was reading, had {len(text)} bytes and now has {path.stat().st_size}"
        assert said in refused.stderr
        assert "put it back as it was (same size and content)" in refused.stderr
        assert "--accept-changed-files" not in refused.stderr
        assert "goes on with it" not in refused.stderr
        assert "restored" not in refused.stderr
    assert (bench.folder / "log").read_bytes() == log
    path.write_bytes(text)
    resumed = bench.run(*line)
    assert resumed.returncode == 0
    assert "restored what changed since the checkpoint" in resumed.stderr
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt", "log")


def test_an_input_that_only_grew_or_was_copied_is_no_reason_to_refuse(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    lines = "".join(f"line {n:02}\n" for n in range(60))
    path, text = _inputs(bench, "lines.txt", lines)
    program = bench.python("reads.py", READS)
    line = ["-i", "1", "--stdout", "out.txt", *program]
    bench.crash(line)
    _replace(path, text)
    bench.crash(line)
    if engine.name == "dmtcp":
        # CRIU resumes a file that is open for reading only with the size that it had
        with path.open("ab") as file:
            file.write(b"one more\n")
        (bench.plain / "lines.txt").write_bytes(path.read_bytes())
    plain = bench.start_plain(*program)
    resumed = bench.run(*line)
    assert resumed.returncode == 0
    assert "lines.txt" not in resumed.stderr
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")


def test_a_large_input_with_another_time_is_warned_of(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    path, _ = _inputs(bench, "lines.txt", "".join(f"line {n:02}\n" for n in range(60)))
    os.truncate(path, 3 << 20)
    program = bench.python("reads.py", READS.replace('end=""', "len(line)"))
    line = ["-i", "1", "--stdout", "out.txt", *program]
    bench.crash(line)
    os.utime(path)
    resumed = bench.run(*line)
    assert resumed.returncode == 0
    assert f"{path}, which the program was reading, was written to since then, or replaced" in resumed.stderr


def test_what_the_program_itself_writes_into_a_large_input_is_no_change(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    path, _ = _inputs(bench, "log.txt", "log\n")
    for folder in (bench.folder, bench.plain):
        os.truncate(folder / "log.txt", 3 << 20)
    program = bench.python("writes.py", WRITES_WHAT_IT_READS)
    bench.assert_survives(program, "log.txt")
    assert f"{path}, which the program was reading" not in bench.said()


@pytest.mark.usefixtures("one_engine")
def test_an_edited_script_or_input_is_named_at_the_resume(bench: Workbench) -> None:
    program = bench.counting(60)
    script = bench.folder / "count.py"
    shutil.copy(program[1], script)
    settings = bench.folder / "settings.cfg"
    settings.write_text("steps = 60\n")
    line = ["-i", "1", "--stdout", "out.txt", program[0], "count.py", program[2], settings, *program[3:]]
    bench.crash(line)
    script.write_text(script.read_text() + "\n# one more line\n")
    settings.write_text("steps = 70\n")
    resumed = bench.run(*line)
    assert resumed.returncode == 0
    assert f"{script} has changed since the job started, and the resumed program is the old one" in resumed.stderr
    assert f"{settings} has changed since the job started, and the program may have read it before" in resumed.stderr
    bench.assert_counted(60)


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler on this machine")
def test_a_program_that_was_built_again_goes_on_as_the_old_one_and_says_so(
    bench: Workbench, engine: EngineHere
) -> None:
    assert engine
    program = bench.folder / "counts"
    _build(program, "old")
    line = ["-i", "1", "--stdout", "out.txt", program]
    bench.crash(line)
    _build(program, "new")
    doctor = bench.ctl("doctor", bench.job.name).stdout
    again = bench.run(*line)
    assert again.stderr.count(f"{program} has changed since the job started, and the resumed program is the old") == 1
    assert "--fresh starts over with the new one" in again.stderr
    assert "which the program runs" not in again.stderr
    assert "has changed since the job started" in doctor
    assert "problem" not in doctor
    assert again.returncode == 0
    assert (bench.folder / "out.txt").read_text() == "".join(f"old {n}\n" for n in range(60))


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler on this machine")
def test_a_program_that_is_gone_goes_on_as_the_old_one_until_its_end(bench: Workbench, engine: EngineHere) -> None:
    assert engine
    program = bench.folder / "counts"
    _build(program, "old")
    line = ["-i", "1", "--stdout", "out.txt", "./counts"]
    bench.crash(line)
    program.unlink()
    assert bench.run("--fresh", *line).returncode == 127
    again = bench.run(*line)
    assert again.stderr.count(f"{program} is gone; the resumed program is the old one\n") == 1
    assert again.stderr.count("is gone") == 1
    assert again.returncode == 0
    assert (bench.folder / "out.txt").read_text() == "".join(f"old {n}\n" for n in range(60))
    assert bench.run(*line).returncode == 127


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler on this machine")
@pytest.mark.parametrize("change", ["built again", "gone"])
def test_a_mirror_has_what_the_program_was(bench: Workbench, criu: EngineHere, tmp_path: Path, change: str) -> None:
    assert criu
    program = bench.folder / "counts"
    _build(program, "old")
    line = ["-i", "1", "--stdout", "out.txt", "--mirror", f"file:{tmp_path / 'mirror'}", "./counts"]
    process = bench.start(*line)
    wait_until(lambda: any((tmp_path / "mirror").glob("*/generations/*/manifest.json")))
    kill_all(process)
    shutil.rmtree(bench.jobs)
    if change == "gone":
        program.unlink()
    else:
        _build(program, "new")
    again = bench.run(*line)
    assert f"{program} {'is gone' if change == 'gone' else 'has changed'}" in again.stderr
    assert again.returncode == 0
    assert (bench.folder / "out.txt").read_text() == "".join(f"old {n}\n" for n in range(60))


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler on this machine")
def test_a_program_goes_on_though_it_and_its_library_are_built_again_in_each_life(
    bench: Workbench, criu: EngineHere
) -> None:
    assert criu
    program, library = bench.folder / "counts", bench.folder / "libword.so"
    _build_with_library(program, library, "old")
    line = ["-i", "1", "--stdout", "out.txt", program]
    bench.crash(line)
    _build_with_library(program, library, "new")
    process = bench.start(*line)
    bench.wait_generations(len(bench.generations) + 1, process)
    _build_with_library(program, library, "newer")
    library.unlink()
    bench.wait_beyond_checkpoint(process)
    kill_all(process)
    again = bench.run(*line)
    assert f"{library}, which the program runs, has changed or is gone: the resumed program runs a copy" in bench.said()
    assert again.returncode == 0
    assert (bench.folder / "out.txt").read_text() == "".join(f"old {n}\n" for n in range(60))


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler on this machine")
def test_a_program_is_not_resumed_with_a_damaged_copy_of_what_it_was(bench: Workbench, criu: EngineHere) -> None:
    assert criu
    program = bench.folder / "counts"
    _build(program, "old")
    old = program.read_bytes()
    line = ["-i", "1", "--stdout", "out.txt", program]
    bench.crash(line)
    (copy,) = (bench.job / "programs").glob("*/counts")
    copy.write_bytes(old[:-1] + b"x")
    _build(program, "new")
    refused = bench.run(*line)
    assert refused.returncode == 125
    assert f"{program}, which the program runs, has changed since then; put it back as it was" in refused.stderr
    assert f"{program}, which the program runs, has changed since then" in bench.ctl("doctor", bench.job.name).stdout
    program.write_bytes(old)
    assert bench.run(*line).returncode == 0
    assert (bench.folder / "out.txt").read_text() == "".join(f"old {n}\n" for n in range(60))


def test_what_an_upgrade_replaces_is_not_loaded_into_programs(bench: Workbench, engine: EngineHere) -> None:
    """CRIU's images refer to the libraries that were loaded: an upgrade of dmtcp-py must not replace those."""
    if engine.name != "criu" or native.built("files") is None:
        pytest.skip("DMTCP's images contain the libraries")
    process = bench.start("-i", "1", "--stdout", "out.txt", *bench.counting(30))
    bench.wait_generations(1, process)
    program = program_of(process)
    assert program is not None
    mapped = [Path(one.path) for one in program.memory_maps()]
    assert process.wait(LONG_S) == 0
    package = Path(native.__file__).parent
    assert {path.name for path in mapped} >= {path.name for path in package.glob("files.*so")}
    assert not [path for path in mapped if path.is_relative_to(package)]
