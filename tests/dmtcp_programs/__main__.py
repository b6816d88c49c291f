"""The commands of DMTCP's own test programs."""

from __future__ import annotations

import sys

from dmtcp_programs import page
from dmtcp_programs.program_list import PROGRAMS, VARIABLE
from zoo import commands

if __name__ == "__main__":
    if not PROGRAMS.programs and sys.argv[1:2] != ["page"]:
        sys.exit(f"{VARIABLE} has to name a folder with DMTCP's test programs")
    commands.main(PROGRAMS, page.write)
