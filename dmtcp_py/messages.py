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
        line = json.dumps({"event": event, "text": text, **values}, default=str) if self.as_json else one_line(text)
        stream = self.stream or sys.stderr
        if stream is None:
            # stderr was closed before we came
            return
        try:
            stream.write(f"{line}\n" if self.as_json else f"dmtcp-run: {line}\n")
            stream.flush()
        except OSError:
            # the reader of our stderr is gone; the program is not to die of that
            return

    def warn(self, text: str, **values: object) -> None:
        """Print a line that is shown even with -q."""
        self.say(text, level=QUIET, event="warning", **values)


def one_line(text: str) -> str:
    """Return TEXT with whatever would break or garble a line as an escape: names can hold any byte."""
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").encode("unicode_escape").decode()
