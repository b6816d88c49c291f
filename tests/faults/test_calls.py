"""Commits, pruning, locks, records and rollbacks come through a fault in any of their system calls; some are tried."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.native import built
from faults import calls
from faults.figures import table, wrong

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None or built("files") is None, reason="there is no C compiler"),
    pytest.mark.timeout(600),
]


@pytest.mark.parametrize("scenario", calls.STORE)
def test_what_was_committed_stays_whole_whatever_call_fails(tmp_path: Path, scenario: str) -> None:
    trials = list(calls.in_scenario(scenario, tmp_path / "lab", each=5, first=0))
    assert wrong(trials) == [], table(trials)
    assert len(trials) > 10


@pytest.mark.parametrize("scenario", calls.UNDO)
def test_files_go_back_with_the_next_run_whatever_call_of_a_rollback_fails(tmp_path: Path, scenario: str) -> None:
    trials = list(calls.in_scenario(scenario, tmp_path / "lab", each=18, first=4))
    assert wrong(trials) == [], table(trials)
    assert len(trials) > 5
