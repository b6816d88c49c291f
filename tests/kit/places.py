"""Where things are: this repository, its commands and the programs that tests run."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TESTS = REPOSITORY / "tests"
PROGRAM_FILES = TESTS / "programs"
EXAMPLES = REPOSITORY / "examples"
RUN = str(Path(sys.executable).with_name("dmtcp-run"))
CTL = str(Path(sys.executable).with_name("dmtcp-ctl"))
WITHOUT = (sys.executable, str(Path(__file__).with_name("without.py")))
"""Followed by the beginning of a setting: dmtcp-run, which leaves that setting out."""
BARE = (sys.executable, str(Path(__file__).with_name("bare.py")))
"""dmtcp-run, which leaves out its plugins and what it puts back itself."""
