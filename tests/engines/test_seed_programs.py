"""What people run, without checkpoint code: training and molecular dynamics end as if nothing had happened.

Needs torch, Keras or GROMACS; what is not there is skipped with the reason.
"""

from __future__ import annotations

import importlib.util
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.native import built
from kit.long_form import HOW, IS_ASKED, NO_LONG_TESTS
from kit.places import REPOSITORY
from kit.processes import kill_all
from kit.waits import LONG_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

    Uninterrupted = Callable[["Program"], Path]

LONGER_S = 3 * LONG_S
"""A bound like LONG_S: torch alone takes half a minute to load on a machine that has much else to do."""
pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Program:
    """A LINE, in which BUILD is where the examples were built, and the FILES that it makes."""

    line: tuple[str, ...]
    files: tuple[str, ...]
    needs: str
    """A module of this Python; a command where the line is no Python's."""

    @property
    def why_not(self) -> str | None:
        """Why it cannot run here."""
        if self.line[0] == "gmx":
            return None if shutil.which("gmx") else "gmx is not on this machine"
        return None if importlib.util.find_spec(self.needs) else f"{self.needs} is not installed for this Python"


def _python(name: str, steps: int) -> tuple[str, ...]:
    return (sys.executable, str(REPOSITORY / "examples" / name), str(steps))


def _mdrun(threads: int, steps: int) -> tuple[str, ...]:
    same = ("-reprod", "-ntmpi", "1", "-ntomp", str(threads), "-pin", "off", "-cpt", "-1")
    return ("gmx", "mdrun", "-s", "BUILD/water.tpr", "-deffnm", "water", *same, "-nsteps", str(steps))


_MD_FILES = ("water.gro", "water.edr", "water.xtc")
PYTORCH = Program(_python("classify_torch.py", 20), ("out.txt", "weights.pt"), "torch")
KERAS = Program(_python("classify_keras.py", 16), ("out.txt", "classifier.weights.h5"), "keras")
DISTRIBUTED = Program(_python("classify_ddp.py", 20), ("out.txt", "weights.pt"), "torch")
GROMACS = Program(_mdrun(1, 8000), _MD_FILES, "gmx")
# two threads wait for each other by spinning, which takes long where others want the processors too
GROMACS_THREADS = Program(_mdrun(2, 4000), _MD_FILES, "gmx")
_EPOCHS = 3
"""After so many the program is in the middle of its training."""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Uninterrupted:
    """Return what gives the folder in which a program has run without dmtcp-run; each runs once."""
    folders: dict[Program, Path] = {}

    def folder_of(program: Program) -> Path:
        if program.why_not:
            pytest.skip(program.why_not)
        if program not in folders:
            folder = tmp_path_factory.mktemp("uninterrupted")
            with (folder / "out.txt").open("wb") as out:
                streams = {"stdout": out, "stderr": subprocess.DEVNULL}
                subprocess.run(_words(program, examples), cwd=folder, timeout=LONGER_S, check=True, **streams)
            folders[program] = folder
        return folders[program]

    return folder_of


def _words(program: Program, examples: Path) -> list[str]:
    return [word.replace("BUILD", str(examples)) for word in program.line]


@pytest.fixture(autouse=True)
def _caches_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what torch makes below TMPDIR and leaves there apart from what dmtcp-run would leave."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "torch"))


def _line(program: Program, examples: Path, interval: str = "0") -> list[str]:
    return ["-i", interval, "--stdout", "out.txt", "--stderr", "err.txt", *_words(program, examples)]


def _assert_same(bench: Workbench, program: Program, plain: Path) -> None:
    shutil.copytree(plain, bench.plain, dirs_exist_ok=True)
    bench.assert_same(*program.files)
    assert bench.events.count("started") == 1


def _die_in_training(bench: Workbench, line: list[str]) -> None:
    """Start LINE, have a checkpoint taken in the middle, and kill all some epochs later."""
    process = bench.start(*line)
    bench.wait_lines(_EPOCHS, process)
    done = bench.ctl("checkpoint", bench.job.name)
    assert done.returncode == 0, done.stderr
    bench.wait_lines(1, process)
    kill_all(process)


def test_training_that_was_killed_ends_with_the_same_weights(
    bench: Workbench, engine: EngineHere, examples: Path, uninterrupted: Uninterrupted
) -> None:
    del engine
    _trains(bench, PYTORCH, examples, uninterrupted(PYTORCH))


def test_training_with_keras_that_was_killed_ends_with_the_same_weights(
    bench: Workbench,
    engine: EngineHere,
    engines_here: list[EngineHere],
    examples: Path,
    uninterrupted: Uninterrupted,
) -> None:
    if engine.name == "dmtcp" and engine != engines_here[0] and not IS_ASKED:
        pytest.skip(f"PyTorch below it is tested with this engine; {HOW}")
    _trains(bench, KERAS, examples, uninterrupted(KERAS))


def _trains(bench: Workbench, program: Program, examples: Path, plain: Path) -> None:
    _die_in_training(bench, _line(program, examples))
    assert bench.start(*_line(program, examples)).wait(LONGER_S) == 0
    assert bench.events.count("resumed") == 1
    _assert_same(bench, program, plain)


def test_training_that_is_preempted_by_signals_ends_with_the_same_weights(
    bench: Workbench, one_engine: EngineHere, examples: Path, uninterrupted: Uninterrupted
) -> None:
    """No handler in the program, and nothing computed twice: the output needs no file that belongs to the job."""
    del one_engine
    plain = uninterrupted(PYTORCH)
    line = ["-i", "0", *_words(PYTORCH, examples)]
    with (bench.folder / "out.txt").open("ab") as out:
        for signum in (signal.SIGTERM, signal.SIGUSR1):
            process = bench.start(*line, stdout=out)
            bench.wait_lines(_EPOCHS, process)
            process.send_signal(signum)
            assert process.wait(LONGER_S) == 85
        assert bench.start(*line, stdout=out).wait(LONGER_S) == 0
    _assert_same(bench, PYTORCH, plain)


@pytest.mark.parametrize("launched", ["mp.spawn", "torchrun"])
def test_distributed_training_that_was_killed_ends_with_the_same_weights(
    bench: Workbench, criu: EngineHere, examples: Path, uninterrupted: Uninterrupted, launched: str
) -> None:
    del criu
    plain = uninterrupted(DISTRIBUTED)
    program = DISTRIBUTED
    if launched == "torchrun":
        if built("uring") is None:
            pytest.skip("there was no compiler at the installation")
        # where torchrun is killed, its folder for logs stays
        run = ("env", f"TMPDIR={bench.folder}", sys.executable, "-m", "torch.distributed.run")
        line = (*run, "--standalone", "--nproc-per-node", "2", *DISTRIBUTED.line[1:])
        program = Program(line, DISTRIBUTED.files, DISTRIBUTED.needs)
    _trains(bench, program, examples, plain)


def test_distributed_training_is_refused_by_dmtcp_before_a_checkpoint_hangs(
    bench: Workbench, one_engine: EngineHere, examples: Path
) -> None:
    if one_engine.name != "dmtcp":
        pytest.skip("CRIU takes it")
    if DISTRIBUTED.why_not:
        pytest.skip(DISTRIBUTED.why_not)
    bench.engine = one_engine.by_name
    process = bench.start(*_line(DISTRIBUTED, examples))
    bench.wait_lines(1, process)
    done = bench.ctl("checkpoint", bench.job.name)
    assert done.returncode != 0
    assert "--engine criu" in done.stdout + done.stderr
    assert process.wait(LONGER_S) == 0
    assert bench.generations == []


def test_molecular_dynamics_that_was_killed_ends_with_the_same_files(
    bench: Workbench, engine: EngineHere, examples: Path, uninterrupted: Uninterrupted
) -> None:
    del engine
    _mdrun_dies(bench, GROMACS, examples, uninterrupted(GROMACS))


@NO_LONG_TESTS
def test_molecular_dynamics_in_two_threads_ends_with_the_same_files(
    bench: Workbench, one_engine: EngineHere, examples: Path, uninterrupted: Uninterrupted
) -> None:
    del one_engine
    _mdrun_dies(bench, GROMACS_THREADS, examples, uninterrupted(GROMACS_THREADS))


def _mdrun_dies(bench: Workbench, program: Program, examples: Path, plain: Path) -> None:
    bench.crash(_line(program, examples, "1"), progress=None)
    assert bench.start(*_line(program, examples)).wait(LONGER_S) == 0
    assert bench.events.count("resumed") == 1
    _assert_same(bench, program, plain)
