"""A commit, pruning, the lock and records come through a fault in any of their system calls; one in three is tried."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from faults import calls
from kit.killed_at_each_call import C_TEXT
from kit.places import TESTS
from kit.waits import LONG_S

if TYPE_CHECKING:
    from pathlib import Path

_EACH = 3


@pytest.mark.parametrize("scenario", calls.STORE)
def test_what_was_committed_stays_whole_whatever_call_fails(tmp_path: Path, scenario: str) -> None:
    (tmp_path / "killer.c").write_text(C_TEXT)
    built = subprocess.run(
        ["cc", "-w", "-shared", "-fPIC", "-O1", "-o", "killer.so", "killer.c"], cwd=tmp_path, check=False
    )
    if built.returncode:
        pytest.skip("there is no C compiler")
    environ = {**os.environ, "LD_PRELOAD": str(tmp_path / "killer.so"), "PYTHONPATH": str(TESTS)}
    argv = [sys.executable, calls.__file__, scenario, str(tmp_path / "jobs"), str(_EACH), "0"]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=LONG_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 10
