"""``dmtcp-ctl doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmtcp_py.cli.ctl.common import job_argument, json_option, one_job, show

if TYPE_CHECKING:
    from pathlib import Path


_EXAMPLES = """\
\b
Examples:
  dmtcp-ctl doctor
  dmtcp-ctl doctor sim
  dmtcp-ctl doctor --json
"""


@click.command("doctor", epilog=_EXAMPLES)
@job_argument
@json_option
@click.pass_obj
def command(directory: Path, job: str | None, *, as_json: bool) -> int:
    """Check this machine; with JOB, whether that can be resumed here.

    Of the machine: engines, privileges, file locks, space, scheduler. Of a job: its images, directory, engine,
    processor, kernel, C library, files and space. Each line is ok, a warning or a problem, with the reason and what to
    type. Exit status 1 if there is a problem.
    """
    from dmtcp_py.report.doctor import examine, is_fit  # noqa: PLC0415 - the other commands need no engine
    from dmtcp_py.report.job_doctor import examine_job  # noqa: PLC0415

    findings = examine(directory) if job is None else examine_job(one_job(directory, job))
    if as_json:
        rows = [
            {"about": one.about, "level": one.level.value, "finding": one.finding, "hint": one.hint or None}
            for one in findings
        ]
        show(rows, as_json=True)
    else:
        show([{"is": one.level.value, "about": one.about, "finding": one.text} for one in findings], as_json=False)
    return int(not is_fit(findings))
