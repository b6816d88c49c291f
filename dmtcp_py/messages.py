"""The lines that a running attempt prints on stderr: one event a line, with its values."""

from __future__ import annotations

import json
import os
import sys
from typing import TextIO

from msgspec import Struct

QUIET, NORMAL, VERBOSE = -1, 0, 1


class Report(Struct, frozen=True):
    """Prints the lines of the command PREFIX: which ones, in which form, and to which stream (None is sys.stderr)."""

    verbosity: int = NORMAL
    as_json: bool = False
    stream: TextIO | None = None
    prefix: str = "dmtcp-run"

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
            prefix = "" if self.as_json else prefix_on(stream, f"{self.prefix}:", is_warning=level == QUIET) + " "
            stream.write(f"{prefix}{line}\n")
            stream.flush()
        except OSError:
            # nobody reads our stderr any more, which must not end the program
            return

    def warn(self, text: str, **values: object) -> None:
        """Print a line that is shown even with -q."""
        self.say(text, level=QUIET, event="warning", **values)


def prefix_on(stream: TextIO, prefix: str, *, is_warning: bool = True) -> str:
    """Return PREFIX, in yellow for a warning on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in (None, "dumb") or not stream.isatty()
    return f"\x1b[33m{prefix}\x1b[0m" if is_warning and not is_plain else prefix


def one_line(text: str) -> str:
    """Return TEXT with characters that are not printable as escapes: file names may contain any byte."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").encode("unicode_escape").decode()
