"""That the page of programs is what was measured, and that what it says of the cheap ones is still so."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.engine.quirks import QUIRKS
from kit.program_list import PROGRAMS
from kit.programs import Places, Program, build
from zoo import finding, measure, page
from zoo.life import Lives, Terms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.bench import Workbench
    from kit.engines import EngineHere

QUICK = [program for program in PROGRAMS if program.quick]
STEPS_FOR_ONE_KILL = 0.65
SURE = {
    finding.WORKS: (finding.WORKS,),
    finding.NEEDS_SETTING: (finding.WORKS,),
    # it may end before it was tried often enough
    finding.REFUSED: (finding.REFUSED, finding.NO_GENERATION),
}
"""The states that one run shows again, and how."""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder for what is compiled."""
    return tmp_path_factory.mktemp("zoo")


@pytest.fixture
def short() -> Iterator[Path]:
    """Give a folder with a name so short that sockets can be in it."""
    with tempfile.TemporaryDirectory(prefix="z") as name:
        yield Path(name)


def test_the_page_is_what_was_measured() -> None:
    assert page.PAGE.read_text() == page.text(measure.load(page.ZOO)), "write it anew: make zoo-page"


def test_every_setting_that_a_program_may_need_is_one_that_dmtcp_run_makes() -> None:
    named = {name for program in PROGRAMS for name in program.quirks}
    assert [name for name in named if not any(quirk.setting.startswith(name) for quirk in QUIRKS)] == []


@pytest.mark.parametrize("program", QUICK, ids=[program.name for program in QUICK])
def test_what_the_page_says_of_a_cheap_program_is_so(
    bench: Workbench, one_of_each: EngineHere, built: Path, short: Path, program: Program
) -> None:
    cell = measure.load(page.ZOO)["cells"].get(program.name, {}).get(str(one_of_each), {"state": finding.NOT_RUN})
    if cell["state"] not in SURE:
        pytest.skip(f"the page says '{cell['state']}', which one run does not show again")
    if why_not := build([program], built).get(program.name):
        pytest.skip(why_not)
    bench.engine = replace(one_of_each, options=("--engine", one_of_each.name))
    places = Places(built, short, int(program.steps * STEPS_FOR_ONE_KILL))
    found = Lives(bench, program, places, Terms(kills=1)).find()
    assert found.state in SURE[cell["state"]], found.detail
