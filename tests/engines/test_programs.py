"""The example programs of every language, unchanged: stopped, killed, and gone on with by the same line.

Every program runs against every engine on this machine.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kit.places import REPOSITORY
from kit.processes import kill_all
from kit.waits import LONG_S, run_on

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere

EXAMPLES = REPOSITORY / "examples"
PROGRAMS = {
    "C": ["BUILD/grow"],
    "C++, a loop": ["BUILD/exercise"],
    "C++, threads": ["BUILD/threads"],
    "C, OpenMP": ["BUILD/openmp"],
    "Fortran": ["BUILD/series"],
    "CPython": ["python3", EXAMPLES / "counter.py"],
    "numpy, threaded BLAS": [sys.executable, EXAMPLES / "blas.py"],
    "bash, pipes and children": [EXAMPLES / "stages.sh"],
    "forked workers": [sys.executable, EXAMPLES / "workers.py"],
    "Perl": ["perl", EXAMPLES / "sum.pl"],
    "R": ["Rscript", EXAMPLES / "walk.R"],
    "Octave": ["octave-cli", EXAMPLES / "iterate.m"],
    # without that option two Java programs under DMTCP, which gives both the same pid, share a file in /tmp
    "Java": ["java", "-XX:-UsePerfData", "-cp", "BUILD", "Steps"],
}
STEPS = {"bash, pipes and children": "9"}
"""About three seconds each: 30 steps, but for those whose steps are longer."""


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest, examples: Path) -> list[str]:
    """Return the words of one program's line."""
    words = [str(word).replace("BUILD", str(examples)) for word in PROGRAMS[request.param]]
    if shutil.which(words[0]) is None:
        pytest.skip(f"{Path(words[0]).name} is not on this machine")
    if "numpy" in request.param and importlib.util.find_spec("numpy") is None:
        pytest.skip("numpy is not installed for this Python")
    if request.param == "Java" and not (examples / "Steps.class").exists():
        pytest.skip("there is no Java compiler on this machine")
    return [*words, STEPS.get(request.param, "30")]


def test_a_program_that_was_killed_and_stopped_ends_as_if_nothing_had_happened(
    bench: Workbench, engine: EngineHere, program: list[str]
) -> None:
    """The line is given once more where it ends in an error, which only DMTCP 3.2 and scripts are known for."""
    errors = {125} if engine.version == "3.2.0" and program[0].endswith(".sh") else set()
    line = ["-i", "1", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    process = bench.start(*line)
    bench.wait_generations(1, process)
    while process.poll() in errors:
        process = bench.start(*line)
        bench.wait_generations(1, process)
    run_on(process, 0.5)
    kill_all(process)

    process = bench.start(*line)
    bench.wait_said("resumed generation", process)
    run_on(process, 0.3)
    process.terminate()
    assert process.wait(LONG_S) in {85, *errors}

    while (status := bench.start(*line).wait(LONG_S)) in errors:
        pass
    assert status == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")


def test_a_script_that_starts_a_process_every_hundredth_of_a_second_ends_as_if_nothing_had_happened(
    bench: Workbench, engine: EngineHere
) -> None:
    """With a generation where the engine could take one, and from the beginning where it could not."""
    del engine
    program = [EXAMPLES / "pipeline.sh", "16"]
    line = ["-i", "1", "--stdout", "out.txt", *program]
    plain = bench.start_plain(*program)
    for seconds in (1.0, 1.6):
        process = bench.start(*line)
        run_on(process, seconds)
        kill_all(process)
    assert bench.start(*line).wait(LONG_S) == 0
    assert plain.wait(LONG_S) == 0
    bench.assert_same("out.txt")
