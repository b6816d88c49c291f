"""The job directory of an ordinary user on NFS, for which root is nobody: in a virtual machine that serves it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import CRIU
from kit import machine, squashed
from kit.long_form import NO_LONG_TESTS
from kit.places import REPOSITORY, RUN

if TYPE_CHECKING:
    from kit.bench import Workbench

STEPS = 40


@NO_LONG_TESTS
@pytest.mark.timeout(1800)
def test_a_job_on_nfs_with_root_squash_goes_on_with_the_files_of_its_groups(bench: Workbench) -> None:
    if reason := machine.why_not():
        pytest.skip(reason)
    if not CRIU:
        pytest.skip("CRIU does not work here")
    criu = CRIU[0].environ["DMTCP_RUN_CRIU"]
    words = [sys.executable, squashed.__file__, RUN, criu, STEPS, REPOSITORY, sys.prefix, Path(criu).parent]
    found = [
        line.split("\t") for line in machine.run_with_nfs(bench.folder, list(map(str, words)), squash="root_squash")
    ]
    assert [(kind, problem) for kind, _, problem in found] == [("NFS 4", ""), ("NFS 3", "")]
