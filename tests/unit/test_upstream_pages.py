"""The pages for upstream: each is in the list, and the program in it can be compiled."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from kit.places import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

DOCS = REPOSITORY / "docs"
PAGES = sorted(DOCS.glob("upstream-*.md"))
PROGRAM = re.compile(r"```c\n(.*?)```", re.DOTALL)


def test_the_list_has_all_pages() -> None:
    assert sorted(re.findall(r"\((upstream-[^)]+)\)", (DOCS / "upstream.md").read_text())) == [
        path.name for path in PAGES
    ]


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_the_programs_compile() -> None:
    assert [path.name for path in PAGES if not compiles(path)] == []


def compiles(path: Path) -> bool:
    """Return whether the programs in a page are correct C."""
    line = ["cc", "-fsyntax-only", "-Werror", "-x", "c", "-"]
    return all(
        subprocess.run(line, input=text, text=True, capture_output=True, timeout=60, check=False).returncode == 0
        for text in PROGRAM.findall(path.read_text())
    )
