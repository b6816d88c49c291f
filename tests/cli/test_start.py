"""How a program is started: without a detour that costs time at each start."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from kit.waits import LONG_S

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere


STARTS_WITH = {"click", "msgspec", "xxhash"}
"""The packages that a start needs; all others are for commands and situations that most lines never meet."""
TOO_SLOW = {"asyncio", "concurrent.futures", "email", "http", "logging", "multiprocessing", "tarfile", "urllib.request"}


def test_a_start_imports_nothing_that_it_does_not_use(bench: Workbench, engine: EngineHere) -> None:
    """What has to be asked of a tool is remembered: sh alone takes as long to import as all the rest of a start."""
    del engine
    bench.run("-i", "0", "true")
    line = [sys.executable, "-X", "importtime", *bench.line("-i", "0", "true")]
    done = subprocess.run(
        line, cwd=bench.folder, env=bench.environ, capture_output=True, text=True, timeout=LONG_S, check=False
    )
    rows = [row.rpartition("|")[2].strip() for row in done.stderr.splitlines() if row.startswith("import time:")]
    # what comes before is the interpreter's, and that of packages with a file of their own in site-packages
    imported = set(rows[rows.index("site") + 1 :])
    # Python's own `copy` tries to import org.python, of Jython
    packages = {name.partition(".")[0] for name in imported} - {"dmtcp_py", "org"}
    assert done.returncode == 0
    assert packages - sys.stdlib_module_names <= STARTS_WITH | {"typing_extensions"}
    assert not imported & TOO_SLOW
