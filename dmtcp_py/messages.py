"""The lines that a running attempt prints on stderr: one event a line, with its values."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TextIO

QUIET, NORMAL, VERBOSE = -1, 0, 1


@dataclass(frozen=True)
class Report:
    """Prints the lines of dmtcp-run: which ones, in which form, and to which stream (None is sys.stderr)."""

    verbosity: int = NORMAL
    as_json: bool = False
    stream: TextIO | None = None

    def say(self, text: str, *, level: int = NORMAL, event: str = "note", **values: object) -> None:
        """Print one event: TEXT, or with ``as_json`` an object of EVENT, TEXT and VALUES. Silent below LEVEL."""
        if level > self.verbosity:
            return
        line = json.dumps({"event": event, "text": text, **values}, default=str) if self.as_json else one_line(text)
        stream = self.stream or sys.stderr
        if stream is None:
            # stderr was closed before dmtcp-run started
            return
        try:
            stream.write(f"{line}\n" if self.as_json else f"dmtcp-run: {line}\n")
            stream.flush()
        except OSError:
            # nobody reads our stderr any more, which must not end the program
            return

    def warn(self, text: str, **values: object) -> None:
        """Print a line that is shown even with -q."""
        self.say(text, level=QUIET, event="warning", **values)


def one_line(text: str) -> str:
    """Return TEXT with characters that are not printable as escapes: file names may contain any byte."""
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").encode("unicode_escape").decode()
