"""What people read of a running attempt: lines on stderr, one event each, with the values."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TextIO

QUIET, NORMAL, VERBOSE = -1, 0, 1


@dataclass(frozen=True)
class Report:
    """Where our lines go, and which of them."""

    verbosity: int = NORMAL
    as_json: bool = False
    stream: TextIO | None = None

    def say(self, text: str, *, level: int = NORMAL, event: str = "note", **values: object) -> None:
        """Print one event: TEXT for people, or EVENT with VALUES as a JSON object."""
        if level > self.verbosity:
            return
        line = json.dumps({"event": event, "text": text, **values}, default=str) if self.as_json else text
        stream = self.stream or sys.stderr
        try:
            stream.write(f"{line}\n" if self.as_json else f"dmtcp-run: {line}\n")
            stream.flush()
        except OSError:
            # the reader of our stderr is gone; the program is not to die of that
            return

    def warn(self, text: str, **values: object) -> None:
        """Print a line that is shown even with -q."""
        self.say(text, level=QUIET, event="warning", **values)
