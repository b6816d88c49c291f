"""A few random programs on every engine; `make random` runs many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from random_programs import known, remains
from random_programs.generate import Program, Step, program, text, usable
from random_programs.kinds import BY_NAME, KINDS
from random_programs.life import Life, Outcome, holding_plan
from random_programs.reduce import Budget, reduce

if TYPE_CHECKING:
    from pathlib import Path

    from kit.engines import EngineHere


def test_what_differs_after_a_resume_is_found(tmp_path: Path, one_engine: EngineHere) -> None:
    """A clock of the processor begins anew with each process, under every engine."""
    wanted = Program((Step("CPU clock", 0, 1),) * 40, is_c=True)
    result = Life(wanted, tmp_path / "one", one_engine).run(holding_plan(wanted))
    assert result.outcome is Outcome.WRONG
    assert result.detail.startswith("DIFFERS main: CPU clock")


def test_a_program_that_is_wrong_undisturbed_is_not_the_engines_fault(tmp_path: Path, one_engine: EngineHere) -> None:
    wanted = Program((Step("umask", 0, 1),), is_c=True)
    life = Life(wanted, tmp_path / "one", one_engine)
    life._words = lambda *_: ["false"]  # type: ignore[method-assign]
    assert life.run(holding_plan(wanted)).outcome is Outcome.BROKEN


def test_a_seed_stands_for_one_program() -> None:
    assert program(7) == program(7)
    assert text(program(7)) == text(program(7))
    assert program(7) != program(8)


def test_steps_are_read_as_they_are_written() -> None:
    assert Step.parse(str(Step("descriptor of /proc/self", 3, 12))) == Step("descriptor of /proc/self", 3, 12)


def test_only_the_steps_that_matter_are_left() -> None:
    steps = program(3).steps
    matter = {steps[5], steps[11]}
    assert set(reduce(steps, [steps[:4]], lambda some: matter <= set(some), Budget(60)) or ()) == matter


def test_steps_that_are_not_wrong_once_more_are_not_reduced() -> None:
    assert reduce(program(3).steps, [], lambda _: False, Budget(60)) is None


def test_what_is_known_to_be_wrong_is_left_out() -> None:
    assert "umask" in {kind.name for kind in usable((), is_c=True)}
    assert "umask" not in {step.kind for seed in range(30) for step in program(seed, {"umask"}).steps}


def test_what_is_known_names_kinds_that_there_are() -> None:
    assert {one.kind for one in known.load()} <= {kind.name for kind in KINDS}


def test_kinds_have_names_of_their_own() -> None:
    assert len(BY_NAME) == len(KINDS)


def test_files_that_differ_are_found(tmp_path: Path) -> None:
    mine, plain = tmp_path / "mine", tmp_path / "plain"
    for folder, word in ((mine, "one"), (plain, "two")):
        folder.mkdir()
        (folder / "file").write_text(word)
    assert "content of file differs from byte 0 of 3" in remains.difference(mine, plain)
    (plain / "file").unlink()
    assert remains.difference(mine, plain) == "file is there, and should not be"
    assert remains.difference(plain, mine) == "file is missing"
