"""That an engine is here: without one, whatever needs it is skipped, and that must not look like success."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere


def test_an_engine_works_on_this_machine(bench: Workbench, engines_here: list[EngineHere]) -> None:
    if not engines_here:
        rows = json.loads(bench.ctl("doctor", "--json").stdout)
        lacks = "; ".join(f"{row['about']}: {row['finding']}" for row in rows if row["about"].startswith("engine "))
        pytest.fail(f"no engine works here, and whatever needs one was skipped: {lacks}", pytrace=False)
