"""``dmtcp-ctl rehearse``."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from dmtcp_py.cli.common import duration_s, naming_the_line
from dmtcp_py.cli.completion import complete_program
from dmtcp_py.cli.ctl.common import json_option
from dmtcp_py.messages import one_line
from dmtcp_py.store.records import json_of

if TYPE_CHECKING:
    from collections.abc import Callable

_EXAMPLES = """\
\b
Examples:
  dmtcp-ctl rehearse -- ./simulate model.cfg
  dmtcp-ctl rehearse --compare --time 10m -- python3 train.py
  dmtcp-ctl rehearse --link big.h5 -- ./analyse big.h5
"""


@click.command("rehearse", context_settings={"allow_interspersed_args": False}, epilog=_EXAMPLES)
@click.option(
    "--time",
    "time_s",
    metavar="T",
    callback=duration_s,
    default="2m",
    show_default=True,
    help="How long the rehearsal may take. A longer one sees more of the program.",
)
@click.option(
    "--every",
    "step_s",
    metavar="T",
    callback=duration_s,
    help="How long the program runs before each checkpoint, and after the resume.  [default: a share of --time]",
)
@click.option("--engine", metavar="[auto|dmtcp|criu]", default="auto", help="Engine to try.  [default: all]")
@click.option(
    "--compare",
    is_flag=True,
    help="Compare the output, and the files of a program that ends, with a run without dmtcp-run.",
)
@click.option(
    "--link",
    "links",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    metavar="PATH",
    help="Link PATH into the copy instead of copying it: large input that the program only reads.",
)
@click.option(
    "--in-place",
    is_flag=True,
    help="Run the program in this directory itself, and undo afterwards what it changed. Keep a backup.",
)
@json_option
@click.argument(
    "command",
    nargs=-1,
    type=click.UNPROCESSED,
    required=True,
    metavar="[--] PROGRAM [ARGS]...",
    shell_complete=complete_program,
)
@click.pass_obj
def command(directory: Path, /, *, as_json: bool, **values: Any) -> int:
    """Find out whether PROGRAM can be killed and resumed.

    Runs PROGRAM in a copy of this directory under each engine that is here: checkpoints it twice, kills it, resumes
    it, and compares its state, output and files with what they were. Nothing in this directory changes.

    Exit status 0: a resumed run was right. 1: none was, and a line says why.
    """
    from dmtcp_py.rehearsal import lines  # noqa: PLC0415 - the other commands need no engine
    from dmtcp_py.rehearsal.rehearse import rehearse  # noqa: PLC0415
    from dmtcp_py.rehearsal.request import Request  # noqa: PLC0415

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    say, clear = _progress()
    try:
        with naming_the_line("dmtcp-ctl", values["command"]):
            found = rehearse(Request(directory=directory.absolute(), **values), say)
    finally:
        clear()
    if as_json:
        click.echo(msgspec.json.format(json_of(lines.plain(found)), indent=2))
    else:
        rows = lines.lines(found, _columns())
        pasted = [] if found.line is None else [_to_be_pasted(rows.pop())]
        for row in (*map(one_line, rows), *pasted):
            click.echo(row)
    return int(not found.works)


def _to_be_pasted(line: str) -> str:
    """Return LINE as it can be pasted into a script: a program's text may have several lines."""
    return line if all(char.isprintable() or char in "\n\t" for char in line) else one_line(line)


def _columns() -> int | None:
    """Return the width of the terminal; None where nobody reads on one."""
    return shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None


def _progress() -> tuple[Callable[[str], None], Callable[[], None]]:
    """Return what shows on a terminal what is being done, each in the place of the one before, and what clears it."""
    if sys.stderr is None or not sys.stderr.isatty():
        return lambda _text: None, lambda: None

    def show(text: str) -> None:
        click.echo(f"\r\x1b[K{one_line(text)} … ", nl=False, err=True)

    return show, lambda: click.echo("\r\x1b[K", nl=False, err=True)
