"""The group of commands that make up ``dmtcp-ctl``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmtcp_py import __version__
from dmtcp_py.cli.common import directory_option, leave
from dmtcp_py.cli.ctl import checkpoint, doctor, list_, prune, setup, status, stop, verify

if TYPE_CHECKING:
    from pathlib import Path

_STATUSES = """\
\b
Exit status: 0; 1 a problem was found; 2 wrong usage; 10 no such job or
generation; 11 the job is running; 130 interrupted.
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_STATUSES)
@directory_option
@click.version_option(__version__, prog_name="dmtcp-ctl")
@click.pass_context
def command(context: click.Context, directory: Path) -> None:
    """Show the jobs of dmtcp-run and control them."""
    context.obj = directory


for module in (status, list_, verify, prune, checkpoint, stop, doctor, setup):
    command.add_command(module.command)


def main() -> None:
    """Run the command line."""
    leave(lambda: command.main(prog_name="dmtcp-ctl", standalone_mode=False), "dmtcp-ctl", failed_status=1)
