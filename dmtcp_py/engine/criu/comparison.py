"""What a restored program is beside what it was: read from what `inside.attributes` left, warned of or refused."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from dmtcp_py.engine.criu.inside.attributes import SERIOUS
from dmtcp_py.errors import RestartFailedError
from dmtcp_py.state import record
from dmtcp_py.state.record import Compared

if TYPE_CHECKING:
    from dmtcp_py.engine.criu.command import Tool
    from dmtcp_py.engine.protocol import Restart


def judge(tool: Tool, restart: Restart) -> None:
    """Warn of what is not as before in the program; raise RestartFailedError if that may change what it computes."""
    lost: list[str] = []
    with suppress(FileNotFoundError):
        lost = tool.lost.read_text(encoding="utf-8").splitlines()
    for text in lost:
        if text.startswith(SERIOUS) and not restart.accepts_changed_state:
            raise RestartFailedError(text.removeprefix(SERIOUS), "--accept-changed-state resumes all the same")
        restart.warn(f"not as before in the resumed program: {text.removeprefix(SERIOUS)}")
    was = record.read(restart.folder)
    differences = tuple(text.removeprefix(SERIOUS) for text in lost)
    restart.compared(Compared(processes=len(was), values=sum(map(len, was.values())), differences=differences))
