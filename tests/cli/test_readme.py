"""The session at the top of the README: typed here, it prints the same lines."""

from __future__ import annotations

import os
import re
import select
import sys
from typing import TYPE_CHECKING

from kit.places import REPOSITORY
from kit.processes import kill_all
from kit.waits import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.bench import Workbench
    from kit.engines import EngineHere

_README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
_SIMULATE = f"""#!{sys.executable} -u
import time
for step in range(120):
    print(step)
    time.sleep(0.1)
"""
_CHANGES = (
    (re.compile(r"simulate-[0-9a-f]{8}"), "JOB"),
    (re.compile(r"(?<= )/\S*/"), "DIR/"),
    (re.compile(r"\b(?:dmtcp|criu) [0-9.]+"), "ENGINE"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "DATE"),
    (re.compile(r"[0-9.]+ [kMG]?B\b"), "SIZE"),
    (re.compile(r"\b[0-9.]+[sm]\b|\b\d+:\d\d\b"), "TIME"),
    (re.compile(r"\d+"), "N"),
    (re.compile(r" {2,}"), "  "),
)
"""What is another one in each session."""


def session() -> Iterator[tuple[str, list[str]]]:
    """Yield each line that the README types, and what is printed."""
    (block,) = [one for one in re.findall(r"```\n(.*?)```", _README, re.DOTALL) if "\nKilled\n" in one]
    for part in block.removeprefix("$ ").split("\n$ "):
        typed, *printed = part.strip().splitlines()
        yield typed, printed


def form(line: str) -> str:
    """Return LINE without what is another one in each session."""
    for pattern, word in _CHANGES:
        line = pattern.sub(word, line)
    return line.strip()


class Terminal:
    """A terminal to which a line prints, as for one who types the README's."""

    def __init__(self) -> None:
        self._screen, self.end = os.openpty()
        self._seen = ""

    @property
    def lines(self) -> list[str]:
        """What dmtcp-run has printed, each line once."""
        while select.select([self._screen], [], [], 0)[0]:
            self._seen += os.read(self._screen, 4096).decode()
        return list(dict.fromkeys(form(line) for line in self._seen.splitlines()))


def test_the_session_of_the_readme_is_what_is_printed(bench: Workbench, one_engine: EngineHere) -> None:
    del one_engine
    (start, first), (look, seen), (again, then) = session()
    assert start == again
    assert [first.pop(), look] == ["Killed", "dmtcp-ctl status"]
    program = bench.folder / "simulate"
    program.write_text(_SIMULATE)
    program.chmod(0o755)
    words, environ = start.split()[1:], {**bench.environ, "DMTCP_RUN_INTERVAL": "2"}
    terminal = Terminal()
    process = bench.start(*words, env=environ, stderr=terminal.end)
    wait_until(lambda: any("committed" in line for line in terminal.lines))
    bench.wait_beyond_checkpoint(process)
    kill_all(process)
    assert terminal.lines == [form(line) for line in first]
    table = bench.ctl("status").stdout
    assert [form(line) for line in table.splitlines()] == [form(line) for line in seen]
    terminal = Terminal()
    assert bench.run(*words, env=environ, stderr=terminal.end).returncode == 0
    assert terminal.lines == [form(line) for line in then]
    assert (bench.folder / "out.txt").read_text() == "".join(f"{step}\n" for step in range(120))
