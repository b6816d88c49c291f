"""``dmtcp-ctl setup``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
import msgspec

from dmtcp_py.cli.ctl.common import json_option, warn
from dmtcp_py.errors import EngineError
from dmtcp_py.store.records import json_of

if TYPE_CHECKING:
    from dmtcp_py.engine.package_managers import Offer


_EXAMPLES = """\
\b
Examples:
  dmtcp-ctl setup
  dmtcp-ctl setup --engine criu
  dmtcp-ctl setup --remove
"""


@click.command("setup", epilog=_EXAMPLES)
@click.option(
    "--engine", type=click.Choice(["dmtcp", "criu"]), help="Engine to install.  [default: whichever is available]"
)
@click.option("-y", "--yes", is_flag=True, help="Run package managers without asking.")
@click.option("--remove", is_flag=True, help="Remove the private copy of CRIU.")
@json_option
def command(*, engine: str | None, yes: bool, remove: bool, as_json: bool) -> int:
    """Install a checkpointing engine. Asks before it runs a package manager."""
    from dmtcp_py.engine import setup  # noqa: PLC0415 - the other commands need no engine

    def agree(offer: Offer) -> bool:
        return yes or (sys.stdin.isatty() and click.confirm(f"run '{offer.line}'?", err=True))

    try:
        result = setup.remove(warn) if remove else setup.set_up(engine, agree=agree, say=warn)
    except EngineError as error:
        warn(str(error))
        return 1
    if as_json:
        click.echo(msgspec.json.format(json_of(result.row), indent=2))
    else:
        for line in result.lines:
            click.echo(line)
    return int(not remove and not result.works)
