"""``dmtcp-ctl checkpoint``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmtcp_py.cli.ctl.common import answer_timeout_option, job_argument, request_and_show

if TYPE_CHECKING:
    from pathlib import Path


_EXAMPLES = """\
\b
Examples:
  dmtcp-ctl checkpoint
  dmtcp-ctl checkpoint sim
  dmtcp-ctl checkpoint sim --timeout 3600
"""


@click.command("checkpoint", epilog=_EXAMPLES)
@job_argument
@answer_timeout_option
@click.pass_obj
def command(directory: Path, job: str | None, timeout_s: float) -> int:
    """Checkpoint a running job now. The program continues."""
    return request_and_show(directory, job, "checkpoint", timeout_s)
