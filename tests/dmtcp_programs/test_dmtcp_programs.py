"""That DMTCP's own test programs run on after two kills, as the page says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dmtcp_programs.program_list import PROGRAMS, VARIABLE
from kit.long_form import NO_LONG_TESTS
from zoo import finding, measure

if TYPE_CHECKING:
    from pathlib import Path

    from kit.engines import EngineHere
    from kit.programs import Program

_NONE = pytest.param(None, id="none", marks=pytest.mark.skip(reason=f"{VARIABLE} names no folder with the programs"))
_WELL = (finding.WORKS, finding.REFUSED, finding.NOT_RUN)


@NO_LONG_TESTS
@pytest.mark.parametrize("program", [pytest.param(one, id=one.name) for one in PROGRAMS.programs] or [_NONE])
def test_a_program_that_the_page_says_runs_on_does(program: Program, one_of_each: EngineHere, tmp_path: Path) -> None:
    cell = measure.load(PROGRAMS)["cells"].get(program.name, {}).get(str(one_of_each), {"state": finding.NOT_RUN})
    if cell["state"] not in _WELL:
        pytest.skip(f"the page says '{cell['state']}'")
    found = measure.in_a_process(PROGRAMS, program, one_of_each, tmp_path, kills=2)
    assert found.state == cell["state"], found.detail
