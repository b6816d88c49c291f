"""That each case is right, or refused before there was anything to lose, but for those that are known to be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cases import page
from cases.case_list import CASES, is_right, known_wrong, note
from kit.long_form import NO_LONG_TESTS
from kit.programs import build
from zoo import finding, measure

if TYPE_CHECKING:
    from pathlib import Path

    from kit.engines import EngineHere
    from kit.programs import Program

BY_NAME = pytest.mark.parametrize("case", CASES.programs, ids=[case.name for case in CASES.programs])


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder for what is compiled."""
    return tmp_path_factory.mktemp("cases")


def test_the_page_is_what_was_measured() -> None:
    assert page.PAGE.read_text() == page.text(measure.load(CASES)), "write it anew: make cases-page"


def test_each_case_names_its_source_and_what_a_user_expects() -> None:
    names = [case.name for case in CASES.programs]
    assert [
        name for name in names if not all(word in note(name) for word in ("Source:", "Symptom:", "Expected:"))
    ] == []


def test_what_is_known_to_be_wrong_is_a_case() -> None:
    names = {case.name for case in CASES.programs}
    assert [known for known in known_wrong() if known.case not in names] == []


@BY_NAME
def test_a_case_that_is_killed_once_is_right_or_refused(case: Program, one_of_each: EngineHere, built: Path) -> None:
    _assert_right(case, one_of_each, built, kills=1)


@pytest.mark.plain_user_too
@NO_LONG_TESTS
@pytest.mark.timeout(900)
@BY_NAME
def test_a_case_that_is_killed_twice_is_right_or_refused(case: Program, engine: EngineHere, built: Path) -> None:
    _assert_right(case, engine, built, kills=2)


def _assert_right(case: Program, engine: EngineHere, built: Path, *, kills: int) -> None:
    if not (built / case.name).exists() and (why_not := build([case], built).get(case.name)):
        pytest.skip(why_not)
    found = measure.in_a_process(CASES, case, engine, built, kills=kills)
    assert found.state != finding.NOT_RUN
    known = next((one for one in known_wrong() if (one.case, one.engine) == (case.name, str(engine))), None)
    if known is None:
        assert is_right(found), f"{found.state}: {found.detail}"
    elif not known.sometimes:
        assert not is_right(found), "it is right now: remove its line from tests/cases/known-wrong"
