"""Hook of mkdocs: the page commands.md is made from the commands themselves, as their --help and manual pages are."""

from __future__ import annotations

import re
from inspect import cleandoc
from typing import TYPE_CHECKING

import click
from mkdocs.structure.files import File

from dmtcp_py.cli.man import COMMANDS
from dmtcp_py.cli.sections import records_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

_HEAD = """\
# Command reference

What `--help` and the manual pages say, too. Each option of dmtcp-run can also be set [for all
runs](administrators.md#set-options-for-all-users).
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, "commands.md", content=page()))
    return files


def page() -> str:
    """Return the text of the page."""
    return "\n".join([_HEAD, *(line for name, command in COMMANDS.items() for line in _command(name, command, None))])


def _command(name: str, command: click.Command, above: click.Context | None) -> Iterator[str]:
    """Yield the lines about COMMAND, then those about its own commands."""
    context = click.Context(command, info_name=name, parent=above, **command.context_settings)
    yield f"{'##' if above is None else '###'} {context.command_path}\n"
    yield f"```\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    yield f"{_plain(command.help or '')}\n"
    for title, records in _sections(command, context):
        yield f"**{title}**\n"
        yield from (f"`{option}`\n:   {_plain(text)}\n" for option, text in records)
    for block in (command.epilog or "").split("\b\n")[1:]:
        title, *lines = block.strip().splitlines()
        yield f"**{title.rstrip(':')}**\n\n```\n" + "\n".join(line.removeprefix("  ") for line in lines) + "\n```\n"
    if isinstance(command, click.Group):
        for _, names in getattr(command, "sections", ()):
            for one in names:
                yield from _command(one, command.commands[one], context)


def _sections(command: click.Command, context: click.Context) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield each section of options: its title, and of each option how it is written and what it does."""
    if isinstance(command, click.Group):
        yield "Options", [one for one in (p.get_help_record(context) for p in command.params) if one]
    else:
        yield from records_of(command, context)


def _plain(text: str) -> str:
    """Return TEXT, which is no Markdown, so that Markdown leaves it as it is."""
    return re.sub(r"([\\`*_<>|#\[\]])", r"\\\1", cleandoc(text))
