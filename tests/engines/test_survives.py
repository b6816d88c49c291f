"""What was killed goes on: the same line, any number of times, ends as an uninterrupted run ends.

Every test runs against every engine on this machine. The example programs of every language are in
``test_programs.py``.
"""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from kit.places import REPOSITORY
from kit.processes import coordinator_of, kill_all, program_of
from kit.waits import LONG_S, run_on, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

    Process = subprocess.Popen[bytes]

pytestmark = pytest.mark.plain_user_too


def _kill_supervisor(process: Process) -> None:
    process.kill()
    process.wait(LONG_S)


def _kill_program(process: Process) -> None:
    # in a restart it may be about to come up
    program = wait_until(lambda: program_of(process) or process.poll() is not None)
    assert isinstance(program, psutil.Process)
    program.kill()


def _kill_coordinator(process: Process) -> None:
    coordinator = coordinator_of(process)
    assert coordinator is not None
    coordinator.kill()


KILLS: dict[str, tuple[Callable[[Process], None], set[int]]] = {
    "dmtcp-run": (_kill_supervisor, {-signal.SIGKILL}),
    "program": (_kill_program, {128 + signal.SIGKILL, 125}),
    "coordinator": (_kill_coordinator, {125}),
    "everything": (kill_all, {-signal.SIGKILL}),
}
"""How each victim is killed, and with which statuses dmtcp-run may end of it."""


def _writes_before_its_first_generation(bench: Workbench, process: Process) -> None:
    bench.wait_lines(3, process)
    assert bench.generations == []


def _is_between_two_generations(bench: Workbench, process: Process) -> None:
    bench.wait_generations(1, process)
    bench.wait_lines(2, process)


def _takes_a_checkpoint(bench: Workbench, process: Process) -> None:
    staging = bench.job / "staging"
    wait_until(lambda: _has_unfinished(staging) or process.poll() is not None)


def _comes_up_again(_bench: Workbench, process: Process) -> None:
    wait_until(lambda: _is_restarting(program_of(process)) or process.poll() is not None)


MOMENTS = (
    _writes_before_its_first_generation,
    _is_between_two_generations,
    _takes_a_checkpoint,
    _comes_up_again,
    _takes_a_checkpoint,
)


def compiled(program: Path) -> Path:
    """Return an example PROGRAM in C; skip where there is none."""
    if not program.exists():
        pytest.skip("there is no C compiler on this machine")
    return program


def _is_restarting(program: psutil.Process | None) -> bool:
    """Whether PROGRAM is a restart: not dmtcp_launch, which is asked for its version before."""
    with suppress(psutil.NoSuchProcess):
        return program is not None and not program.name().startswith("dmtcp_launch")
    return False


def _has_unfinished(staging: Path) -> bool:
    # DMTCP names its unfinished images so, and criu writes its list of what it dumps before the rest
    return any(name.endswith((".temp", "pstree.img")) for _, _, names in os.walk(staging) for name in names)


@pytest.mark.parametrize("victim", KILLS)
def test_the_same_line_finishes_whoever_was_killed_at_whatever_moment(
    bench: Workbench, engine: EngineHere, victim: str
) -> None:
    """Moments: before the first generation, between two, in a checkpoint, in a restart, in a checkpoint after it."""
    if victim == "coordinator" and engine.name != "dmtcp":
        pytest.skip("only DMTCP has a coordinator")
    kill, ends_with = KILLS[victim]
    program = bench.counting(80, megabytes=64)
    # by name: what auto does if the first second goes wrong is not the matter here
    line = ["--engine", engine.name, "-i", "1", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    process = bench.start(*line)
    for reach in MOMENTS:
        reach(bench, process)
        if process.poll() in ends_with:
            # what seemed to go on was on its way to its end
            process = bench.start(*line)
            reach(bench, process)
        assert process.poll() is None, f"ended with {process.returncode} before the test could kill the {victim}"
        before = program_of(process)
        kill(process)
        wait_until(lambda process=process, before=before: _ended_or_goes_on(process, before))
        if process.poll() is not None:
            assert process.returncode in ends_with
            process = bench.start(*line)
    assert process.wait(LONG_S) == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")


def _ended_or_goes_on(process: Process, before: object) -> bool:
    now = program_of(process)
    return process.poll() is not None or (now is not None and now != before)


def test_killed_again_and_again_after_any_time_the_same_line_finishes(bench: Workbench, engine: EngineHere) -> None:
    """Time is what this is about: whatever happens to go on after so many seconds is interrupted."""
    del engine
    program = bench.counting(60, status=7, megabytes=16)
    line = ["-i", "1", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    for seconds in (0.05, 0.3, 0.7, 1.3, 1.7, 0.1, 2.1, 0.5):
        process = bench.start(*line)
        run_on(process, seconds)
        kill_all(process)
    assert bench.start(*line).wait(LONG_S) == 7
    assert plain.wait(LONG_S) == 7
    bench.assert_same("out.txt")


@pytest.mark.parametrize(
    ("status", "signum"), [(0, 0), (7, 0), (0, signal.SIGTERM)], ids=["ends with 0", "ends with 7", "ends by a signal"]
)
def test_the_program_keeps_its_own_exit_status(
    bench: Workbench, engine: EngineHere, examples: Path, status: int, signum: int
) -> None:
    del engine
    for folder in (bench.folder, bench.plain):
        (folder / "count").symlink_to(compiled(examples / "count"))
    program = ["./count", "70", str(status), str(signum)]
    line = ["-i", "1", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    process = bench.start(*line)
    bench.wait_generations(1, process)
    bench.wait_beyond_checkpoint(process, by=None)
    kill_all(process)
    assert bench.run(*line).returncode == (128 + signum if signum else status)
    assert plain.wait(LONG_S) == (-signum if signum else status)
    bench.assert_same("out.txt")


@pytest.mark.parametrize(
    ("reader", "given"),
    [("lines.py", "--stdin file"), ("lines", "< file"), ("lines.py", "< file, some lines of it read already")],
)
def test_a_large_file_on_standard_input_is_read_as_if_nothing_had_happened(
    bench: Workbench, engine: EngineHere, examples: Path, reader: str, given: str
) -> None:
    """13 MB; one reader in Python with large blocks, one in C with small ones."""
    del engine
    source = REPOSITORY / "examples" / reader
    words = [shutil.which("python3") or "", source] if reader.endswith(".py") else [compiled(examples / reader)]
    program = [*words, "50"]
    big = bench.folder / "big.txt"
    big.write_text("".join(f"{number} {number * number:>220}\n" for number in range(60_000)))
    offset = big.read_bytes().index(b"\n777 ") + 1 if "already" in given else 0

    def start(start_line: Callable[..., Process], *words: str | Path) -> Process:
        with big.open("rb", buffering=0) as file:
            file.seek(offset)
            return start_line(*words, *program, stdin=file)

    def start_again() -> Process:
        options = ["-i", "1", "--stdout", "out.txt"]
        if given.startswith("--stdin"):
            return bench.start(*options, "--stdin", big, *program)
        return start(bench.start, *options)

    plain = start(bench.start_plain)
    process = start_again()
    bench.wait_generations(1, process)
    bench.wait_beyond_checkpoint(process, by=None)
    kill_all(process)
    assert start_again().wait(LONG_S) == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")


def test_stderr_and_files_that_the_program_keeps_open_are_exact(bench: Workbench, engine: EngineHere) -> None:
    """One file appended to, one written, one read and written at moving places: ``examples/files.py``."""
    del engine
    program = [shutil.which("python3") or "", REPOSITORY / "examples" / "files.py", "70"]
    line = ["-i", "1", "--stdout", "out.txt", "--stderr", "err.txt", *program]
    plain = bench.start_plain(*program)
    bench.crash(line, times=2, progress=None)
    assert bench.start(*line).wait(LONG_S) == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt", "err.txt", "files.log", "files.out", "files.dat")


def test_a_file_that_the_program_overwrites_in_place_is_exact_or_named_in_a_warning(
    bench: Workbench, engine: EngineHere
) -> None:
    """What the program reads back may be what it wrote after the image, and not before: ``examples/ledger.py``."""
    del engine
    program = [shutil.which("python3") or "", REPOSITORY / "examples" / "ledger.py", "50"]
    line = ["-q", "-i", "1", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    bench.crash(line, progress=None)
    assert bench.start(*line).wait(LONG_S) == 0
    assert plain.wait(LONG_S) == 0
    said = (bench.folder / "stderr.txt").read_text()
    if f"not brought back: {bench.folder / 'ledger.dat'};" not in said:
        bench.assert_same("out.txt", "ledger.dat")


def test_a_file_that_was_deleted_while_it_was_open_is_still_there(bench: Workbench, engine: EngineHere) -> None:
    """As shells and compilers do with the scratch files that nobody else is to see."""
    del engine
    text = """
import os, time
with open("scratch", "w+") as scratch:
    os.unlink("scratch")
    for step in range(60):
        scratch.write(f"{step * step}\\n")
        scratch.flush()
        print(step, flush=True)
        time.sleep(0.1)
    scratch.seek(0)
    print(scratch.read())
"""
    program = bench.python("scratch.py", text)
    line = ["-i", "1", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    bench.crash(line)
    assert bench.start(*line).wait(LONG_S) == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")
    assert {path.name for path in bench.folder.iterdir()} == {".dmtcp-run", "out.txt", "stderr.txt"}
