"""The values of options that a site, a user or the environment sets, and where each comes from.

In this order, each before the ones after it: the command line, the environment (``DMTCP_RUN_TIME_LIMIT``), the user's
file, the site's file. Keys in the files are the long names of options without the dashes in front: ``time-limit``.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from dmtcp_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SITE = Path("/etc/dmtcp-py/config.toml")
SITE_VARIABLE = "DMTCP_RUN_CONFIG"
"""Names the site's file where it is another one, for a modulefile."""
_PREFIX = "DMTCP_RUN_"
_OF_ONE_RUN = frozenset({"job", "fresh", "resume_only", "generation"})
"""Options that can be meant for one run alone, never for all."""
_NEVER = frozenset({"help", "version", "keep_record"})
_FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class Setting(msgspec.Struct, frozen=True):
    """The VALUE of an option, and its SOURCE in words."""

    value: Any
    source: str


def user_file(environ: Mapping[str, str]) -> Path:
    """Return where the user's file is, or would be."""
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME") or "/nonexistent", ".config")  # noqa: PTH118 - HOME is text
    return Path(home, "dmtcp-py", "config.toml")


def site_file(environ: Mapping[str, str]) -> Path:
    """Return where the site's file is, or would be."""
    return Path(environ.get(SITE_VARIABLE) or SITE)


def settings(command: click.Command, environ: Mapping[str, str]) -> dict[str, Setting]:
    """Return what is set for the options of COMMAND, dmtcp-run's, by the names of its parameters.

    Raises UsageError for a file that cannot be read, a key that is no option, or a value that an option does not take.
    """
    options = {_key(one): one for one in command.params if isinstance(one, click.Option) and one.name not in _NEVER}
    found: dict[str, Setting] = {}
    for path in (site_file(environ), user_file(environ)):
        for key, value in _read(path).items():
            option = _option(options, key, path)
            found[option.name or ""] = Setting(_checked(command, option, value, f"{path}: {key}"), str(path))
    for variable, option in _variables(options, environ):
        value = _checked(command, option, environ[variable], variable)
        found[option.name or ""] = Setting(value, variable)
    return found


def defaults(command: click.Command, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings for the options of COMMAND in the form that click takes as defaults."""
    return {name: setting.value for name, setting in settings(command, environ).items()}


def _variables(options: Mapping[str, click.Option], environ: Mapping[str, str]) -> Iterator[tuple[str, click.Option]]:
    for key, option in options.items():
        variable = f"{_PREFIX}{key.replace('-', '_').upper()}"
        if environ.get(variable) and option.name not in _OF_ONE_RUN:
            yield variable, option


def _key(option: click.Option) -> str:
    """Return the long name of OPTION without its dashes."""
    return max(option.opts, key=len).lstrip("-")


def _read(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "look at its permissions, or remove it") from error
    try:
        found = msgspec.toml.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML: {error}", 'write lines such as keep = 3 or interval = "15m"') from error
    return found if isinstance(found, dict) else {}


def _option(options: Mapping[str, click.Option], key: str, path: Path) -> click.Option:
    option = options.get(key)
    if option is None:
        import difflib  # noqa: PLC0415 - only for a mistake

        close = difflib.get_close_matches(key, options, 1)
        hint = f"is {close[0]} meant? " if close else ""
        raise UsageError(f"{path}: dmtcp-run has no option --{key}", f"{hint}'dmtcp-ctl config' lists what can be set")
    if option.name in _OF_ONE_RUN:
        raise UsageError(f"{path}: --{key} is for one run, and cannot be set for all", "use it on the command line")
    return option


def _checked_list(command: click.Command, option: click.Option, value: Any, where: str) -> list[str]:
    """Return VALUE, a list or a text of words as in a shell, in the form that click accepts for OPTION."""
    try:
        values = [str(one) for one in value] if isinstance(value, list) else shlex.split(str(value))
        option.process_value(click.Context(command), values)
    except (ValueError, click.UsageError) as error:
        text = error.message if isinstance(error, click.UsageError) else str(error)
        raise UsageError(f"{where}: {text}") from error
    return values


def _checked(command: click.Command, option: click.Option, value: Any, where: str) -> Any:
    """Return VALUE in the form that click accepts for OPTION; raise UsageError if the value is not valid."""
    if option.is_flag:
        flag = value if isinstance(value, bool) else _FLAGS.get(str(value).lower())
        if flag is None:
            raise UsageError(f"{where} = {value!r} is neither true nor false", "write true or false")
        return flag
    if option.multiple:
        return _checked_list(command, option, value, where)
    if isinstance(value, bool | dict | list):
        raise UsageError(f"{where} = {value!r} is no value of --{_key(option)}", "write a number or a text")
    text = str(value)
    try:
        option.process_value(click.Context(command), text)
    except click.UsageError as error:
        raise UsageError(f"{where} = {value!r}: {error.message}") from error
    return text
