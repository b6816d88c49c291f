"""What is done while all processes are frozen, at the end of a dump: clocks, what must not be in it, then the files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.engine.criu.inside import clocks, post_dump, refusals, terminals
from dmtcp_py.engine.criu.inside.refusal import Refusal, write
from dmtcp_py.system.proc import processes_below

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHANGED = Refusal(
    "criu changed data in a pseudo-terminal that were not read yet when the checkpoint began", has_changed=True
)


def main(words: Sequence[str]) -> None:
    """Record what the images lack.

    WORDS: the names of what is refused, with commas; whether the program is to run on; then those of `post_dump`.
    """
    names, runs_on, *others = words
    images = Path(os.environ["CRTOOLS_IMAGE_DIR"])
    clocks.record(images)
    pids = processes_below(int(os.environ["CRTOOLS_INIT_PID"]))
    # typed between the look from outside and the freeze, and already put back as something else
    is_kept = terminals.keep(images, pids, runs_on=runs_on == "1")
    refusal = refusals.first(pids, [name for name in names.split(",") if name]) if is_kept else _CHANGED
    if refusal is not None:
        write(images, refusal)
        # a dump whose script fails lets the program run on
        sys.exit(refusal.what)
    post_dump.main(others)
