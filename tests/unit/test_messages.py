"""Every sentence that a user may read, in one file, and how it is printed."""

from __future__ import annotations

import io

import pytest

from dmtcp_py.messages import VERBOSE, Report
from kit import sentences


class Terminal(io.StringIO):
    """A stream that a person reads."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_the_sentences_are_those_in_the_file() -> None:
    assert sentences.page() == sentences.PAGE.read_text(encoding="utf-8"), "'make messages' writes the file"


@pytest.mark.parametrize(
    ("stream", "environ", "has_colour"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
    ],
    ids=["a terminal", "NO_COLOR", "a dumb terminal", "a file"],
)
def test_only_a_warning_on_a_terminal_has_a_colour(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, environ: dict[str, str], *, has_colour: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    report = Report(VERBOSE, stream=stream)
    report.say("started")
    report.warn("a checkpoint failed")
    said, warned = stream.getvalue().splitlines()
    assert said == "dmtcp-run: started"
    prefix = "\x1b[33mdmtcp-run:\x1b[0m" if has_colour else "dmtcp-run:"
    assert warned == f"{prefix} a checkpoint failed"
