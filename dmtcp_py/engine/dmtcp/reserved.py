"""Address space that a process has reserved and not touched: far more than the memory of the machine.

DMTCP 3.2 reads all of it at a checkpoint, which takes minutes. Later versions leave out what was not touched, but map
it at a restart so that the kernel refuses it, unless the plugin `state` has changed how.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.engine.dmtcp.obstacles import USE_CRIU, Obstacle
from dmtcp_py.native import built
from dmtcp_py.system.proc import name_of, process_tree

if TYPE_CHECKING:
    from dmtcp_py.engine.dmtcp.installation import Installation

_MOST_BYTES = 32 << 30
_READS_ALL = ("2.", "3.")


def reservation(dmtcp: Installation, pid: int) -> Obstacle | None:
    """Find a process of the program whose first process is PID with a reservation that DMTCP cannot checkpoint."""
    if not dmtcp.version.startswith(_READS_ALL) and built("state") is not None:
        return None
    for member, _ in process_tree(pid):
        with suppress(OSError, ValueError):
            pages, resident, *_rest = map(int, Path(f"/proc/{member}/statm").read_text(encoding="ascii").split())
            size = (pages - resident) * os.sysconf("SC_PAGE_SIZE")
            if size > _MOST_BYTES:
                return Obstacle(
                    f"process {member} ({name_of(member)}) has reserved {size >> 30} GB of address space, which DMTCP "
                    f"{dmtcp.version} cannot checkpoint",
                    f"{USE_CRIU}, and so can DMTCP 4.2",
                )
    return None
