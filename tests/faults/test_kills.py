"""A job that is killed ends as if it had not been; so does one whose disk is full for a while."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from faults import full, kills
from faults.figures import table, wrong

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere

pytestmark = pytest.mark.timeout(600)


def test_a_job_survives_the_death_of_any_of_its_processes(bench: Workbench, one_of_each: EngineHere) -> None:
    assert one_of_each
    trials = list(kills.campaign(bench, range(3)))
    assert wrong(trials) == [], table(trials)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="only root can mount a small disk")
def test_a_job_survives_full_disks_and_is_not_talkative(bench: Workbench, one_of_each: EngineHere) -> None:
    assert one_of_each
    trials = list(full.campaign(bench, range(3)))
    assert wrong(trials) == [], table(trials)
