"""What only the long form of the tests runs: ``DMTCP_RUN_LONG_TESTS=1``."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kit.engines import EngineHere

HOW = "DMTCP_RUN_LONG_TESTS=1 has it run"
IS_ASKED = bool(os.environ.get("DMTCP_RUN_LONG_TESTS"))
NO_LONG_TESTS = pytest.mark.skipif(not IS_ASKED, reason=f"takes minutes; {HOW}")


def share_out(items: Sequence[pytest.Item], engines: Sequence[EngineHere]) -> None:
    """Have each of ITEMS that takes ``engine`` run against the first DMTCP of ENGINES and against CRIU.

    Each other DMTCP runs a quarter of them. In the long form each item runs against all.
    """
    others = [engine for engine in engines if engine.name == "dmtcp"][1:]
    for item in () if IS_ASKED else items:
        engine = getattr(item, "callspec").params.get("engine") if hasattr(item, "callspec") else None  # noqa: B009
        if engine in others:
            test = item.nodeid.replace(str(engine), "")
            if zlib.crc32(test.encode()) % 4 != others.index(engine):
                item.add_marker(pytest.mark.skip(reason=f"runs against the first DMTCP; {HOW}"))
