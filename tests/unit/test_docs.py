"""README and docs: what they say of options and messages is so, and the picture is the one that the script draws."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from dmtcp_py.cli.man import COMMANDS
from kit.places import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

README = REPOSITORY / "README.md"
DOCS = REPOSITORY / "docs"
_PAGES = [README, REPOSITORY / "examples/README.md", *sorted(DOCS.glob("*.md")), *sorted(REPOSITORY.glob("slurm/*.sh"))]
_CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
_OURS = re.compile(r"\b(dmtcp-run|dmtcp-ctl)[ \t]([^\n`]*)")
_OPTION = re.compile(r"(?<![\w-])--?[a-z][\w-]*")
_MOST_LINES = 150
_FEWEST_ENTRIES = 25
_SHORTEST_FRAGMENT = 12


def test_the_readme_is_a_page_that_people_read() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= _MOST_LINES


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_each_option_in_a_line_of_ours_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    pieces = _CODE.findall(text) if page.suffix == ".md" else [text]
    lines = [line for piece in pieces for line in _OURS.findall(piece)]
    assert [(name, word) for name, words in lines for word in unknown_options(name, words)] == []


def unknown_options(name: str, text: str) -> Iterator[str]:
    """Yield the options that TEXT gives to command NAME, which has none of these; the program's own are left out."""
    command: click.Command = COMMANDS[name]
    context = click.Context(command, **command.context_settings)
    words, known = iter(text.partition("#")[0].split()), options_of(context)
    for word in words:
        if isinstance(command, click.Group) and word in command.commands:
            command = command.commands[word]
            known |= options_of(click.Context(command, parent=context))
        elif word == "--":
            return
        elif _OPTION.fullmatch(word) and word not in known:
            yield word
        elif word in known and not known[word]:
            next(words, None)
        elif word not in known and name == "dmtcp-run":
            return


def options_of(context: click.Context) -> dict[str, bool]:
    """Return the options of a command, and whether each is a flag, which has no value."""
    options = [one for one in context.command.get_params(context) if isinstance(one, click.Option)]
    return {text: one.is_flag for one in options for text in (*one.opts, *one.secondary_opts)}


def test_the_messages_in_the_page_of_troubles_are_printed_by_the_product() -> None:
    headings = re.findall(r"^### (.*)$", (DOCS / "trouble.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(headings) >= _FEWEST_ENTRIES
    quoted = [message for heading in headings for message in re.findall(r"`([^`]+)`", heading)]
    fragments = [one.strip() for message in quoted for one in message.split("…")]
    said = sentences()
    assert [one for one in fragments if len(one) >= _SHORTEST_FRAGMENT and one not in said] == []


def sentences() -> str:
    """Return all texts in the source of the product, one a line; what is filled in is left out."""
    found = []
    for path in sorted((REPOSITORY / "dmtcp_py").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values]
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_the_picture_is_the_one_that_the_script_draws() -> None:
    """``python docs/tools/life.py`` writes it."""
    line = [sys.executable, "-c", "import life; print(life.picture(), end='')"]
    drawn = subprocess.run(line, cwd=DOCS / "tools", capture_output=True, text=True, timeout=60, check=True).stdout
    assert (DOCS / "life.svg").read_text(encoding="utf-8") == drawn
