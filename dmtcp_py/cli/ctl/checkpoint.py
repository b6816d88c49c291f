"""``dmtcp-ctl checkpoint``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmtcp_py.cli.ctl.common import answer_timeout_option, order_and_show

if TYPE_CHECKING:
    from pathlib import Path


@click.command("checkpoint")
@click.argument("job")
@answer_timeout_option
@click.pass_obj
def command(directory: Path, job: str, timeout_s: float) -> int:
    """Have a running job commit a generation now and run on."""
    return order_and_show(directory, job, "checkpoint", timeout_s)
