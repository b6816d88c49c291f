"""Two steps of the journal of changed files that belong together, with a SIGKILL between them: at each system call."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.native import built
from kit import killed_at_each_call

if TYPE_CHECKING:
    from pathlib import Path

LONG_S = 240.0
pytestmark = [
    pytest.mark.skipif(built("files") is None, reason="built without a C compiler"),
    pytest.mark.timeout(2 * LONG_S),
]


@pytest.fixture(scope="session")
def killer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killer")
    (folder / "killer.c").write_text(killed_at_each_call.C_TEXT)
    argv = ["cc", "-shared", "-fPIC", "-O1", "-o", folder / "killer.so", folder / "killer.c"]
    subprocess.run(argv, check=True, timeout=LONG_S)
    return folder / "killer.so"


@pytest.mark.parametrize("scenario", killed_at_each_call.SCENARIOS)
def test_a_line_that_is_killed_at_any_system_call_resumes_when_typed_again(
    killer: Path, tmp_path: Path, scenario: str
) -> None:
    """And the files are those of the generation, with nothing said that is not true."""
    argv = [sys.executable, killed_at_each_call.__file__, scenario, str(tmp_path)]
    environ = {**os.environ, "LD_PRELOAD": str(killer), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(argv, check=False, timeout=LONG_S, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 10
