"""Whether the coordinator refuses connections of other users here: it is started, and its log says so."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.engine.dmtcp.coordinator import LOCALHOST, PEERS, Coordinator
from dmtcp_py.engine.dmtcp.installation import clean
from dmtcp_py.native import built

if TYPE_CHECKING:
    from dmtcp_py.engine.dmtcp.installation import Installation

_ANSWER_S = 5.0


def problem(dmtcp: Installation) -> str | None:
    """Return why DMTCP's coordinator does not refuse connections of other users; None if it does."""
    if built(PEERS) is None:
        return "dmtcp-py was installed without a C compiler, or into a path with a blank or colon"
    with tempfile.TemporaryDirectory(prefix="dmtcp-run-coordinator-") as folder:
        coordinator = Coordinator(dmtcp, clean(os.environ), Path(folder), Path(folder), host=LOCALHOST)
        try:
            coordinator.wait_for(lambda log: log.refuses_others is not None, _ANSWER_S)
        finally:
            log = coordinator.stop()
    if log.refuses_others is None:
        return f"{dmtcp.tool('dmtcp_coordinator')} does not load {built(PEERS)}"
    return None if log.refuses_others else "the kernel does not say here whose a connection is"
