"""Random content of what is read is refused with an error, or passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults import fuzz
from faults.figures import table, wrong

if TYPE_CHECKING:
    from pathlib import Path


def test_random_content_of_what_is_read_is_never_a_traceback(tmp_path: Path) -> None:
    trials = list(fuzz.campaign(tmp_path, range(40)))
    assert wrong(trials) == [], table(trials)
