"""How a program is started: without a detour that costs time at each start."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from kit.waits import LONG_S

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere


def test_nothing_on_the_way_to_the_program_imports_sh(bench: Workbench, engine: EngineHere) -> None:
    """What has to be asked of a tool is remembered: sh takes as long to import as all the rest of a start."""
    del engine
    bench.run("-i", "0", "true")
    line = [sys.executable, "-X", "importtime", *bench.line("-i", "0", "true")]
    done = subprocess.run(
        line, cwd=bench.folder, env=bench.environ, capture_output=True, text=True, timeout=LONG_S, check=False
    )
    imported = {row.rpartition("|")[2].strip() for row in done.stderr.splitlines() if row.startswith("import time:")}
    assert done.returncode == 0
    assert "msgspec" in imported
    assert "sh" not in imported
