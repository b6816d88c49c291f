"""``dmtcp-ctl config``."""

from __future__ import annotations

import os
import shlex
from typing import Any

import click

from dmtcp_py.cli.config import settings, site_file, user_file
from dmtcp_py.cli.ctl.common import json_option, show
from dmtcp_py.cli.run import command as run
from dmtcp_py.mirror.address import address_of

_EXAMPLES = """\
\b
Examples:
  dmtcp-ctl config
  dmtcp-ctl config --json
  DMTCP_RUN_KEEP=3 dmtcp-ctl config
"""


_WORDS = {"True": "yes", "False": "no"}


@click.command("config", epilog=_EXAMPLES)
@json_option
def command(*, as_json: bool) -> None:
    """Show the options that are set for every dmtcp-run, and where.

    A site sets options in /etc/dmtcp-py/config.toml (DMTCP_RUN_CONFIG names another file), a user in
    ~/.config/dmtcp-py/config.toml, with lines such as keep = 3 or interval = "15m". A variable such as DMTCP_RUN_KEEP
    comes before both, and the command line before all.
    """
    found = settings(run, os.environ)
    options = [one for one in run.params if isinstance(one, click.Option) and not one.hidden and one.name != "version"]
    rows = []
    for option in options:
        setting = found.get(option.name or "")
        value = setting.value if setting is not None else _default(option)
        value = _without_passwords(value) if option.name == "mirrors" else value
        source = setting.source if setting is not None else "default"
        rows.append({"option": max(option.opts, key=len), "value": value, "from": source})
    if as_json:
        show(rows, as_json=True)
    else:
        show([{**row, "value": _WORDS.get(str(row["value"]), row["value"])} for row in rows], as_json=False)
        for path in (site_file(os.environ), user_file(os.environ)):
            click.echo(f"{path}: {'read' if path.exists() else 'there is no such file'}", err=True)


def _without_passwords(urls: Any) -> str | None:
    return shlex.join(address_of(url).shown for url in urls) if urls else None


def _default(option: click.Option) -> object:
    default = option.to_info_dict()["default"]
    is_plain = isinstance(default, bool | int | float | str)
    return default if is_plain else None if default is None else str(default)
