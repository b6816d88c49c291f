"""One other node of a computation, as seen from the supervisor: its agent, and the agent's answers."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from dmtcp_py.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from dmtcp_py.engine.dmtcp.nodes.link import Link
    from dmtcp_py.system.child import Child

ANSWER_S = 60.0
_LAST_LINES = 5


class RemoteNode(Struct):
    """Another node: its agent, and what the agent reported about itself."""

    index: int
    name: str
    child: Child
    log: Path
    link: Link | None = None
    for_peers: Link | None = None
    folder: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, do: str, **values: Any) -> dict[str, Any]:
        """Return the agent's answer. Raises EngineError if the request failed there, or it does not answer."""
        with self.lock:
            link = self.link
            if link is None:
                raise EngineError(f"node {self.name} of the computation no longer answers")
            try:
                link.send({"do": do, **values})
                answer = link.receive(ANSWER_S)
            except OSError as error:
                # a late answer would be mistaken for the answer to another request
                link.close()
                self.link = None
                raise EngineError(f"node {self.name} of the computation does not answer: {error}") from error
        if "error" in answer:
            raise EngineError(f"on node {self.name}: {answer['error']}", answer.get("hint", ""))
        return answer

    @property
    def last_lines(self) -> str:
        """The last lines that the agent printed."""
        with suppress(OSError):
            return " ".join(self.log.read_text(errors="replace").split("\n")[-_LAST_LINES:]).strip()
        return ""
