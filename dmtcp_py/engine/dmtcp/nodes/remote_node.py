"""One other node of a computation as its supervisor sees it: the agent there, and what it answers."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dmtcp_py.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from dmtcp_py.engine.dmtcp.nodes.link import Link
    from dmtcp_py.system.child import Child

ANSWER_S = 60.0
_LAST_LINES = 5


@dataclass
class RemoteNode:
    """Another node: its agent, and what that told of itself."""

    index: int
    name: str
    child: Child
    log: Path
    link: Link | None = None
    folder: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, do: str, **values: Any) -> dict[str, Any]:
        """Return the agent's answer. Raises EngineError with what went wrong there, or where it does not answer."""
        with self.lock:
            link = self.link
            if link is None:
                raise EngineError(f"node {self.name} of the computation answers no more")
            try:
                link.send({"do": do, **values})
                answer = link.receive(ANSWER_S)
            except OSError as error:
                # what comes later would be taken for the answer to something else
                link.close()
                self.link = None
                raise EngineError(f"node {self.name} of the computation does not answer: {error}") from error
        if "error" in answer:
            raise EngineError(f"on node {self.name}: {answer['error']}", answer.get("hint", ""))
        return answer

    @property
    def said(self) -> str:
        """The last lines that came from there."""
        with suppress(OSError):
            return " ".join(self.log.read_text(errors="replace").split("\n")[-_LAST_LINES:]).strip()
        return ""
