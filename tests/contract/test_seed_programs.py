"""What people run, without checkpoint code: training and molecular dynamics end as if nothing had happened.

Needs torch, Keras or GROMACS; what is not there is skipped with the reason.
"""

from __future__ import annotations

import importlib.util
import shutil
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from harness import LONG_S, REPOSITORY, EngineHere, Workbench, kill_all, run_on

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = REPOSITORY / "examples"


@dataclass(frozen=True)
class Program:
    """A LINE, the FILES that it makes besides its output, and what it NEEDS: a module or a command."""

    line: tuple[str, ...]
    files: tuple[str, ...]
    needs: str
    prints_the_same: bool = True

    def words(self, examples: Path) -> list[str]:
        """Return the words of the line; skip the test where something is missing."""
        words = [word.replace("BUILD", str(examples)) for word in self.line]
        if shutil.which(words[0]) is None:
            pytest.skip(f"{words[0]} is not on this machine")
        if words[0] == sys.executable and importlib.util.find_spec(self.needs) is None:
            pytest.skip(f"{self.needs} is not installed for this Python")
        return words


def _python(name: str, steps: int) -> tuple[str, ...]:
    return (sys.executable, str(EXAMPLES / name), str(steps))


def _mdrun(threads: int, steps: int) -> tuple[str, ...]:
    same = ("-reprod", "-ntmpi", "1", "-ntomp", str(threads), "-pin", "off", "-cpt", "-1")
    return ("gmx", "mdrun", "-s", "BUILD/water.tpr", "-deffnm", "water", *same, "-nsteps", str(steps))


pytestmark = pytest.mark.timeout(900)
LONGER_S = 3 * LONG_S
"""A bound like LONG_S: torch alone takes half a minute to load on a machine that has much else to do."""
TORCH = Program(_python("classify_torch.py", 40), ("weights.pt",), "torch")
# two threads wait for each other by spinning, which takes long where others want the processors too
PROGRAMS = {
    "PyTorch": TORCH,
    "Keras": Program(_python("classify_keras.py", 40), ("classifier.weights.h5",), "keras"),
    "GROMACS": Program(_mdrun(1, 12000), ("water.gro", "water.edr", "water.xtc"), "gmx", prints_the_same=False),
    "GROMACS, two threads": Program(_mdrun(2, 4000), ("water.gro", "water.edr", "water.xtc"), "gmx", False),
}


def _line(words: list[str], interval: str = "1") -> list[str]:
    return ["-i", interval, "--stdout", "out.txt", "--stderr", "err.txt", *words]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_seed_program_that_was_killed_twice_ends_with_the_same_numbers(
    bench: Workbench, engine: EngineHere, examples: Path, name: str
) -> None:
    del engine
    program = PROGRAMS[name]
    words = program.words(examples)
    plain = bench.start_plain(*words)
    for _ in range(2):
        process = bench.start(*_line(words))
        bench.wait_generations(1, process)
        run_on(process, 0.3)
        kill_all(process)
    process = bench.start(*_line(words, "0"))
    assert process.wait(LONGER_S) == 0
    assert plain.wait(LONGER_S) == 0
    assert bench.events.count("started") == 1
    assert bench.events.count("resumed") == 2
    bench.assert_same(*program.files, *(["out.txt"] if program.prints_the_same else []))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1], ids=lambda signum: signum.name)
def test_training_that_is_preempted_by_a_signal_ends_with_the_same_weights(
    bench: Workbench, engine: EngineHere, examples: Path, signum: signal.Signals
) -> None:
    """No handler in the program, and nothing computed twice: the output needs no file that belongs to the job."""
    del engine
    words = TORCH.words(examples)
    plain = bench.start_plain(*words)
    with (bench.folder / "out.txt").open("ab") as out:
        process = bench.start("-i", "0", *words, stdout=out)
        bench.wait_lines(8, process)
        process.send_signal(signum)
        assert process.wait(LONGER_S) == 85
        assert bench.start("-i", "0", *words, stdout=out).wait(LONGER_S) == 0
    assert plain.wait(LONGER_S) == 0
    bench.assert_same("out.txt", "weights.pt")


def test_distributed_training_in_two_processes_ends_with_the_same_weights(
    bench: Workbench, criu: EngineHere, examples: Path
) -> None:
    del criu
    program = Program(_python("classify_ddp.py", 60), ("weights.pt",), "torch")
    words = program.words(examples)
    plain = bench.start_plain(*words)
    for _ in range(2):
        process = bench.start(*_line(words))
        bench.wait_lines(3, process)
        bench.wait_generations(1, process)
        run_on(process, 0.3)
        kill_all(process)
    process = bench.start(*_line(words, "0"))
    assert process.wait(LONGER_S) == 0
    assert plain.wait(LONGER_S) == 0
    assert bench.events.count("started") == 1
    bench.assert_same("out.txt", "weights.pt")


def test_distributed_training_is_refused_where_it_would_hang_a_checkpoint(
    bench: Workbench, engine: EngineHere, examples: Path
) -> None:
    if engine.name != "dmtcp":
        pytest.skip("CRIU takes it")
    words = Program(_python("classify_ddp.py", 600), ("weights.pt",), "torch").words(examples)
    # no checkpoint before both processes are there: none has been taken when it is refused
    process = bench.start("-i", "0", "--stdout", "out.txt", *words)
    bench.wait_lines(2, process)
    process.terminate()
    bench.wait_said("--engine criu", process)
    assert process.wait(LONGER_S) not in {0, 85}
    assert bench.generations == []
