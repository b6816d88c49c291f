"""Help in sections: what people need first comes first. Both commands, and their manual pages, are made from these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Section = tuple[str, tuple[str, ...]]
_OTHER = "Other options"
_ELSEWHERE = {"rm": "remove", "delete": "remove", "ls": "list"}
"""Names that other tools have for commands."""
_RESUMES = ("resume", "start", "run", "restart", "continue")


class SectionedCommand(click.Command):
    """A command whose options are listed in SECTIONS: a title, and the names of options."""

    def __init__(self, *args: Any, sections: Sequence[Section], **values: Any) -> None:
        super().__init__(*args, **values)
        self.sections = tuple(sections)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse ARGS; of ``-stdout``, which would be the option ``-s``, say that it has two dashes."""
        words = [word.partition("=")[0] for word in args]
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            options = {name for option in self.params for name in option.opts}
            near = next((word for word in words if f"-{word}" in options), None)
            if near is None or error.option_name.startswith("--"):
                raise
            raise click.NoSuchOption(near, possibilities=[f"-{near}"], ctx=ctx) from error

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        for title, records in records_of(self, ctx):
            with formatter.section(title):
                formatter.write_dl(records)


class SectionedGroup(click.Group):
    """A group whose commands are listed in SECTIONS: a title, and the names of commands."""

    def __init__(self, *args: Any, sections: Sequence[Section] = (), **values: Any) -> None:
        super().__init__(*args, **values)
        self.sections = tuple(sections)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, also by the names that other tools have for it."""
        return super().get_command(ctx, _ELSEWHERE.get(cmd_name, cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that ARGS begin with, its name, and the other arguments."""
        if args[0] in _RESUMES:
            raise click.UsageError(f"there is no command {args[0]}: type the same dmtcp-run line again")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the commands, section by section, in the order of the sections."""
        for title, names in self.sections:
            width = formatter.width - 6 - max(map(len, names))
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(width)) for name in names])


def records_of(command: click.Command, context: click.Context) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield each section of COMMAND's options: its title, and of each option how it is written and what it does."""
    found: dict[str, tuple[str, str]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None:
            found[parameter.name or ""] = record
    for title, names in getattr(command, "sections", ()):
        yield title, [found.pop(name) for name in names if name in found]
    if found:
        yield (_OTHER if getattr(command, "sections", ()) else "Options"), list(found.values())
