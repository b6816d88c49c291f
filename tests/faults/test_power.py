"""A power cut loses nothing that was committed, and no resume after it is silently wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults import disk, power, sealed_power
from faults.figures import table, wrong
from kit.long_form import NO_LONG_TESTS

if TYPE_CHECKING:
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

pytestmark = [
    pytest.mark.skipif(bool(disk.why_not()), reason=disk.why_not() or "can be tried"),
    pytest.mark.timeout(600),
]


@pytest.mark.parametrize("is_sealed", [False, pytest.param(True, marks=NO_LONG_TESTS)])
def test_what_was_committed_is_whole_after_a_power_cut_and_is_resumed(
    bench: Workbench, one_of_each: EngineHere, *, is_sealed: bool
) -> None:
    assert one_of_each
    trials = list(power.campaign(bench, range(11), is_sealed=is_sealed))
    assert wrong(trials) == [], table(trials)


def test_what_was_committed_is_whole_after_a_power_cut_while_it_is_sealed(tmp_path: Path) -> None:
    trials = list(sealed_power.campaign(tmp_path, range(40)))
    assert wrong(trials) == [], table(trials)
    assert len({trial.kind for trial in trials}) > 1
