"""A job of which a checkpoint or a restart never ends comes to its end, and what is stuck is named."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from faults import hangs
from faults.figures import table, wrong

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler"),
    pytest.mark.timeout(600),
]


@pytest.mark.parametrize("kind", hangs.KINDS)
def test_a_job_goes_on_whatever_hangs(bench: Workbench, one_of_each: EngineHere, kind: str) -> None:
    if kind in hangs.OF_DMTCP and one_of_each.name != "dmtcp":
        pytest.skip("only DMTCP's coordinator says whether a program runs on")
    trials = list(hangs.campaign(bench, [hangs.KINDS.index(kind)]))
    assert wrong(trials) == [], table(trials)
    if kind == hangs.LEFT:
        said = (bench.folder / f"{hangs.KINDS.index(kind)}/work/stderr.txt").read_text()
        assert "the program has not run on since the last checkpoint (processes: 1): python" in said


def test_after_three_checkpoints_that_hang_the_job_goes_on_without_and_says_so(
    bench: Workbench, one_dmtcp: EngineHere
) -> None:
    assert one_dmtcp
    trials = list(hangs.campaign(bench, [hangs.KINDS.index(hangs.STUCK)]))
    assert wrong(trials) == [], table(trials)
    said = (bench.folder / "0/work/stderr.txt").read_text()
    assert said.count("a checkpoint hung, nothing was written for 4 s: python") >= 3
    assert "kernel_clone" in said
    assert "3 checkpoints in a row hung: the job goes on without interval ones" in said
