"""Manual pages and completions, made from the commands: ``python -m dmtcp_py.cli.man share`` writes them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmtcp_py import __version__
from dmtcp_py.cli.completion import script
from dmtcp_py.cli.ctl.main import command as ctl
from dmtcp_py.cli.run import command as run
from dmtcp_py.cli.sections import records_of

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = {"dmtcp-run": run, "dmtcp-ctl": ctl}
_COMPLETIONS = {
    "bash": "bash-completion/completions/{name}",
    "zsh": "zsh/site-functions/_{name}",
    "fish": "fish/vendor_completions.d/{name}.fish",
}
"""Where the shells look for completions, below ``share``."""


def files() -> Iterator[tuple[str, str]]:
    """Yield the path below ``share`` and the text of each manual page and completion."""
    for name, command in COMMANDS.items():
        yield f"man/man1/{name}.1", page(name, command)
        for shell, path in _COMPLETIONS.items():
            yield path.format(name=name), script(name, command, shell)


def page(name: str, command: click.Command) -> str:
    """Return the manual page of COMMAND, which is typed as NAME; a group's page has all of its commands."""
    context = click.Context(command, info_name=name, **command.context_settings)
    lines = [f'.TH {name.upper()} 1 "" "dmtcp-py {__version__}"', ".SH NAME"]
    lines.append(rf"{_text(name)} \- {_text(command.get_short_help_str(200).rstrip('.'))}")
    lines += [".SH SYNOPSIS", *_usage(context), ".SH DESCRIPTION", *_paragraphs(command.help or "")]
    lines += _options(command, context, ".SH")
    for title, names in getattr(command, "sections", ()) if isinstance(command, click.Group) else ():
        lines.append(f".SH {title.upper()}")
        for one in names:
            lines += _subcommand(command, context, one)
    return "\n".join([*lines, *_blocks(command.epilog or "", ".SH")]) + "\n"


def _subcommand(group: click.Command, above: click.Context, name: str) -> Iterator[str]:
    command = group.commands[name] if isinstance(group, click.Group) else group
    context = click.Context(command, info_name=name, parent=above, **command.context_settings)
    yield f".SS {_text(name)}"
    yield from _usage(context)
    yield from [".PP", *_paragraphs(command.help or "")]
    yield from _options(command, context, None)
    yield from _blocks(command.epilog or "", None)


def _usage(context: click.Context) -> list[str]:
    words = context.command.collect_usage_pieces(context)
    return [rf"\fB{_text(context.command_path)}\fR {_text(' '.join(words))}"]


def _options(command: click.Command, context: click.Context, heading: str | None) -> Iterator[str]:
    if isinstance(command, click.Group):
        sections = [("Options", [one for one in (p.get_help_record(context) for p in command.params) if one])]
    else:
        sections = list(records_of(command, context))
    for title, records in sections:
        if heading is not None:
            yield f"{heading} {title.upper()}"
        for option, text in records:
            yield from [".TP", rf"\fB{_text(option)}\fR", _text(text)]


def _paragraphs(text: str) -> list[str]:
    found: list[str] = []
    for paragraph in text.strip().split("\n\n"):
        found += [_text(" ".join(paragraph.split())), ".PP"]
    return found[:-1]


def _blocks(text: str, heading: str | None) -> Iterator[str]:
    """Yield the blocks of an epilog, each with its title, as they stand."""
    for block in text.split("\b\n")[1:]:
        title, *lines = [line for line in block.splitlines() if line.strip()]
        yield f"{heading} {title.rstrip(':').upper()}" if heading else f".PP\n{_text(title)}"
        yield from [".nf", *map(_text, lines), ".fi"]


def _text(text: str) -> str:
    """Return TEXT with what troff would understand as its own escaped."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return re.sub(r"(?m)^([.'])", r"\\&\1", escaped)


def main() -> None:
    """Write all files below the folder that is named."""
    for name, text in files():
        path = Path(sys.argv[1], name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
