"""The commands of the cases."""

from __future__ import annotations

from cases import page
from cases.case_list import CASES
from cases.engines import engines_here
from zoo import commands

if __name__ == "__main__":
    commands.main(CASES, page.write, engines_here)
