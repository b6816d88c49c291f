"""The example programs of every language, unchanged: stopped, killed, and resumed by the same line.

Every program runs against every engine on this machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kit.places import EXAMPLES
from kit.processes import kill_all
from kit.program_list import PROGRAMS, SHELL
from kit.programs import Places, Program, build
from kit.waits import LONG_S, run_on

if TYPE_CHECKING:
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

HERE = [program for program in PROGRAMS if program.every_engine]


@pytest.mark.parametrize("program", HERE, ids=[program.name for program in HERE])
def test_a_program_that_was_killed_and_stopped_ends_as_if_nothing_had_happened(
    bench: Workbench, engine: EngineHere, examples: Path, program: Program
) -> None:
    """The line is typed once more if it ends in an error, which only DMTCP 3.2 and scripts are known for."""
    if why_not := build([program], examples).get(program.name):
        pytest.skip(why_not)
    errors = {125} if engine.version == "3.2.0" and program.group == SHELL else set()
    # without the settings of the zoo: output is kept in a buffer where a user's is
    words = Places(examples, bench.folder.parent, program.every_engine).words(program.command)
    line = ["-i", "1", "--stdout", "out.txt", *words]
    plain = bench.start_plain(*words)
    process = bench.start(*line)
    bench.wait_generations(1, process)
    while process.poll() in errors:
        process = bench.start(*line)
        bench.wait_generations(1, process)
    bench.wait_beyond_checkpoint(process, by=None)
    kill_all(process)

    process = bench.start(*line)
    bench.wait_said("resumed generation", process)
    bench.wait_beyond_checkpoint(process, by=None)
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
