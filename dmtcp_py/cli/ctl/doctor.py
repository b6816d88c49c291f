"""``dmtcp-ctl doctor``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from dmtcp_py.cli.ctl.common import json_option, show

if TYPE_CHECKING:
    from pathlib import Path


@click.command("doctor")
@json_option
@click.pass_obj
def command(directory: Path, *, as_json: bool) -> int:
    """Check this machine: whether the engines work, privileges, file locks, free space, scheduler."""
    from dmtcp_py.report.doctor import examine, is_fit  # noqa: PLC0415 - the other commands need no engine

    findings = examine(directory)
    show([asdict(finding) for finding in findings], as_json=as_json)
    return int(not is_fit(findings))
