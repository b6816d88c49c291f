"""A few random programs on every engine; `make random` runs many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from random_programs import generate, known, remains
from random_programs.campaign import Campaign
from random_programs.generate import Program, Step, of_kinds, program, text, usable
from random_programs.kind import Kind, Text
from random_programs.kinds import BY_NAME, KINDS
from random_programs.life import Life, Outcome, Result
from random_programs.plans import Moment, Plan, among, divided, held_plan, holding_plan
from random_programs.reduce import Budget, reduce

if TYPE_CHECKING:
    from pathlib import Path

    from kit.engines import EngineHere


SEEDS = range(6)
FORGOTTEN_BY_DMTCP = (
    "groups",
    "CPU clock",
    "rename over another",
    "directory stream",
    "sbrk",
    "child that waits for a record lock",
    "child that waits for the other end of a FIFO",
    "semaphore that is undone at the end",
    "/proc/self/stat",
    "descriptor of /proc/self",
)
MAPPED_WITHOUT_A_NAME = (
    Step("shared mapping of a file", 0, 1001),
    Step("write at the end", 0, 64000),
    Step("rename over another", 0, 0),
    Step("shared mapping of a file", 0, 99001),
    Step("overwrite in place", 0, 164001),
)
FIRST_OF_TWO_NAMES_REMOVED = tuple(
    Step(kind, 1, n)
    for kind, n in (
        ("unlink while open", 989737240),
        ("second name", 997413602),
        ("unlink while open", 2092140514),
        ("second name", 91395135),
        ("write at the end", 2092140514),
    )
)
OPTIONS_SET_WITH_A_CHILD = (
    *(Step("TCP options", 0, n) for n in (0, 1, 2)),
    Step("child that waits in read", 0, 5),
    *(Step("TCP options", 0, n) for n in (4, 5, 6, 7)),
)
OF_SYSTEM_V = tuple(
    Step(f"System V {kind}", actor, n)
    for n in (88, 91)
    for kind in ("memory", "messages", "semaphores")
    for actor in (0, 1)
)
SHARED_BY_A_KEY_OR_A_NAME = (
    "System V messages",
    "System V semaphores",
    "System V memory",
    "POSIX messages",
    "POSIX shared memory",
    "POSIX semaphore with a name",
)
HELD = {
    "one of two names of an empty file replaced": (
        Step("second name", 1, 913823163),
        Step("second name", 1, 439312566),
        Step("rename over another", 1, 1826822011),
    ),
    "one of two names removed": (
        Step("write at the end", 0, 6400),
        Step("second name", 0, 8),
        Step("unlink while open", 0, 8),
    ),
    "a second name made": (Step("write at the end", 0, 6400), Step("umask", 0, 8), Step("second name", 0, 8)),
}
RUNNING_ON = {
    "a file that is mapped and has no name": MAPPED_WITHOUT_A_NAME,
    "a file whose first name was removed": FIRST_OF_TWO_NAMES_REMOVED,
    "objects of System V that a process and its child have": OF_SYSTEM_V,
    "options of a socket that a child inherited before they were set": OPTIONS_SET_WITH_A_CHILD,
}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_program_is_right_after_kills(tmp_path: Path, one_of_each: EngineHere, seed: int) -> None:
    finding = Campaign(one_of_each, reduce_s=20, within=tmp_path).finding(seed)
    assert finding.result.outcome in (Outcome.RIGHT, Outcome.REFUSED), str(finding)


def test_what_dmtcp_forgets_is_kept(tmp_path: Path, one_dmtcp: EngineHere) -> None:
    wanted = of_kinds([BY_NAME[name] for name in FORGOTTEN_BY_DMTCP], is_c=True)
    result = Life(wanted, tmp_path / "one", one_dmtcp).run(holding_plan(wanted))
    assert result == Result(Outcome.RIGHT, lives=1)


def test_clocks_of_the_processor_do_not_go_back(tmp_path: Path, one_of_each: EngineHere) -> None:
    wanted = of_kinds([BY_NAME[name] for name in ("CPU clock", "CPU clock of a thread")], is_c=True)
    assert Life(wanted, tmp_path / "one", one_of_each).run(holding_plan(wanted)) == Result(Outcome.RIGHT, lives=1)


@pytest.mark.parametrize("name", RUNNING_ON)
def test_what_a_program_goes_on_with_is_right(tmp_path: Path, one_of_each: EngineHere, name: str) -> None:
    """It goes on after the checkpoint too, and is killed only then."""
    wanted = Program(RUNNING_ON[name], is_c=True)
    count = len(wanted.steps)
    plan = Plan((Moment(count - 2, 0, 1), Moment(count - 1, 0, 0)), hold=count)
    result = Life(wanted, tmp_path / "one", one_of_each, *one_of_each.to_itself).run(plan)
    assert result == Result(Outcome.RIGHT, lives=2)


@pytest.mark.parametrize("name", HELD)
def test_files_have_the_names_that_they_had(tmp_path: Path, one_of_each: EngineHere, name: str) -> None:
    """The last step is done after the checkpoint, undone, and done once more."""
    result = Life(Program(HELD[name], is_c=True), tmp_path / "one", one_of_each).run(held_plan([Moment(1, 0, 1)]))
    assert result == Result(Outcome.RIGHT, lives=1)


def test_what_a_program_makes_after_a_checkpoint_is_new_when_it_makes_it_again(
    tmp_path: Path, one_of_each: EngineHere
) -> None:
    """The kernel keeps objects that a killed program has made."""
    made = [Step(kind, actor, 7) for kind in SHARED_BY_A_KEY_OR_A_NAME for actor in (0, 1)]
    wanted = Program((Step("umask", 0, 1), *made), is_c=True)
    result = Life(wanted, tmp_path / "one", one_of_each).run(held_plan([Moment(0, 0, len(made))]))
    assert result == Result(Outcome.RIGHT, lives=1)


def test_moments_stay_between_the_same_steps() -> None:
    steps = program(3).steps
    assert among([Moment(4, 0, 3)], steps, (steps[1], steps[4], steps[6], steps[20])) == (Moment(1, 0, 1),)
    assert among([Moment(4, 0, 3)], steps, steps[6:]) == (Moment(-1, 0, 2),)


def test_moments_are_read_as_they_are_written() -> None:
    words = ["umask/0/8", str(Moment(-1, 0, 2)), str(Moment(4, 0.25, 3, is_torn=True))]
    assert divided(words) == (["umask/0/8"], [Moment(-1, 0, 2), Moment(4, 0.25, 3, is_torn=True)])


def test_what_differs_after_a_resume_is_found(
    tmp_path: Path, one_engine: EngineHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the program waits for comes after the resume only."""
    kind = Kind("absence", Text("", "", 'same("whether it is there", access(go_file, F_OK) == 0, 0);'))
    monkeypatch.setattr(generate, "KINDS", (kind,))
    monkeypatch.setattr(generate, "BY_NAME", {kind.name: kind})
    wanted = Program((Step("absence", 0, 1),), is_c=True)
    result = Life(wanted, tmp_path / "one", one_engine).run(holding_plan(wanted))
    assert result == Result(
        outcome=Outcome.WRONG,
        detail="DIFFERS main: absence: whether it is there is 1, not 0",
        lives=1,
        differing=frozenset({"absence"}),
    )


def test_a_program_that_is_wrong_undisturbed_is_not_the_engines_fault(tmp_path: Path, one_engine: EngineHere) -> None:
    wanted = Program((Step("umask", 0, 1),), is_c=True)
    life = Life(wanted, tmp_path / "one", one_engine)
    life._words = lambda *_: ["false"]  # type: ignore[method-assign]
    assert life.run(holding_plan(wanted)).outcome is Outcome.BROKEN


def test_a_trial_that_stands_still_is_shown_and_ended(
    tmp_path: Path, one_engine: EngineHere, capfd: pytest.CaptureFixture[str]
) -> None:
    wanted = Program((Step("umask", 0, 1),), is_c=True)
    life = Life(wanted, tmp_path / "one", one_engine)
    life._words = lambda *_: ["sleep", "1000"]  # type: ignore[method-assign]
    result = life.run(holding_plan(wanted), bound_s=15)
    assert (result.outcome, result.detail) == (Outcome.STUCK, "not over after 15 s")
    assert "(sleep)" in capfd.readouterr().err


def test_a_program_is_undisturbed_as_the_user_whom_it_is_tried_as(
    tmp_path: Path, one_of_each: EngineHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what only root may do would count as the engine's fault."""
    kind = Kind("privilege", Text("", 'same("whether / can be changed", access("/", W_OK) == 0, 1);'))
    monkeypatch.setattr(generate, "KINDS", (kind,))
    monkeypatch.setattr(generate, "BY_NAME", {kind.name: kind})
    wanted = Program((Step("privilege", 0, 1),), is_c=True)
    outcome = Life(wanted, tmp_path / "one", one_of_each).run(holding_plan(wanted)).outcome
    is_root = one_of_each.user is None and one_of_each.has_privileges
    assert outcome is (Outcome.RIGHT if is_root else Outcome.BROKEN)


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
