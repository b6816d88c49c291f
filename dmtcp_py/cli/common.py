"""What both commands share: option types, and the only place that turns errors into text and an exit status."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import click.core

from dmtcp_py.errors import FAILED_STATUS, DmtcpRunError, UnusableProgramError, UsageError
from dmtcp_py.messages import one_line, prefix_on
from dmtcp_py.mirror.address import address_of
from dmtcp_py.system.units import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dmtcp_py.mirror.address import Address

INTERRUPTED_STATUS = 130
BROKEN_PIPE_STATUS = 141
_OF_THE_MACHINE = {
    errno.ENOSPC: "free space there and run the same line again",
    errno.EDQUOT: "free space there, or ask for more quota, and run the same line again",
    errno.EROFS: "it has to be on a file system that can be written",
    errno.EIO: "the file system or its disk has a fault; run the same line again once it is repaired",
    errno.ESTALE: "the file server has forgotten it; run the same line again once it is mounted again",
}
"""Errors of which no line of this program is the cause, and what to do then."""


def interval_s(_context: click.Context, _option: click.Parameter, value: str) -> float | None:
    """Return VALUE as seconds in the form of `dmtcp_py.options.RunOptions`: negative for ``auto``, None for ``0``."""
    if value == "auto":
        return -1.0
    try:
        return parse_duration(value) or None
    except UsageError as error:
        raise click.BadParameter(f"{error}; also allowed: auto, and 0 for no interval checkpoints") from error


def duration_s(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """Return VALUE as seconds; None if the option is not used."""
    try:
        return None if value is None else parse_duration(value)
    except UsageError as error:
        raise click.BadParameter(str(error)) from error


def bytes_a_second(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """Return VALUE, such as ``50M``, as bytes; None if the option is not used."""
    try:
        return None if value is None else parse_size(value)
    except UsageError as error:
        raise click.BadParameter(str(error)) from error


class MirrorOption(click.Option):
    """An option that names mirrors; on the command line without passwords, which ps(1) would show to everybody."""

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, click.core.ParameterSource]:
        """Return the mirrors and where they are named. A callback is not told the latter by every release of click."""
        values, source = super().consume_value(ctx, opts)
        for address in _addresses(values) if source is click.core.ParameterSource.COMMANDLINE else ():
            if address.has_password:
                raise click.BadParameter(
                    f"{address.shown}: every user of this machine can read a password on a command line; set "
                    "DMTCP_RUN_MIRROR, or mirror in ~/.config/dmtcp-py/config.toml",
                    param=self,
                )
        return values, source

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Return VALUE; refuse what names no place."""
        values = super().process_value(ctx, value)
        _addresses(values)
        return values


def _addresses(values: tuple[str, ...]) -> list[Address]:
    try:
        return [address_of(value) for value in values if value != "-"]
    except UsageError as error:
        raise click.BadParameter(str(error)) from error


directory_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=True),
    envvar="DMTCP_RUN_DIR",
    default=Path(".dmtcp-run"),
    metavar="PATH",
    help="Directory of the jobs (DMTCP_RUN_DIR).  [default: .dmtcp-run in the current directory]",
)


@contextmanager
def naming_the_line(prefix: str, command: Sequence[str]) -> Iterator[None]:
    """Have what is to be run instead of COMMAND named with the options that stand before that on this command line."""
    try:
        yield
    except UnusableProgramError as error:
        error.be_typed_after([prefix, *typed_before(command)])
        raise


def typed_before(command: Sequence[str]) -> list[str]:
    """Return the words of this command line that stand before COMMAND."""
    return sys.argv[1 : len(sys.argv) - len(command)]


def run_and_exit(command: Callable[[], int | None], prefix: str, *, failed_status: int = FAILED_STATUS) -> NoReturn:
    """Call COMMAND and exit with the status that it returns; after an error print one line and exit with its status.

    FAILED_STATUS is the exit status of errors that have no status of their own.
    """
    _open_closed_streams()
    _escape_unencodable()
    try:
        status = command() or 0
    except DmtcpRunError as error:
        _print(prefix, str(error))
        status = failed_status if error.status == FAILED_STATUS else error.status
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        status = error.exit_code
    except click.ClickException as error:
        _print(prefix, f"{error.format_message().removesuffix('.').replace('?.', '?')}; see '{prefix} --help'")
        status = error.exit_code
    except click.exceptions.Exit as error:
        status = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        status = INTERRUPTED_STATUS
    except Exception as error:
        status = _report_unexpected(error, prefix, failed_status)
    _flush()
    # nothing is left to be done: everything was closed by its owner, and to take an interpreter apart needs 20 ms
    os._exit(status)


def _report_unexpected(error: Exception, prefix: str, failed_status: int) -> int:
    """Report an error that is not meant for users, and return the exit status: unwritable output, or a bug."""
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE_STATUS
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
        _print(prefix, f"the output cannot be written: {error.strerror}; free space where it goes")
        return failed_status
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        _print(prefix, f"{error.filename or error.filename2}: {error.strerror}; {_OF_THE_MACHINE[error.errno]}")
        return failed_status
    import traceback  # noqa: PLC0415 - only needed for bugs

    with suppress(OSError):
        traceback.print_exception(error)
    _print(prefix, "this is a bug in dmtcp-py; please report it with the lines above")
    return FAILED_STATUS


def _flush() -> None:
    """Write buffered output; a stream that cannot be written does not change our exit status."""
    for name in ("stdout", "stderr"):
        try:
            if (stream := getattr(sys, name)) is not None:
                stream.flush()
        except (OSError, ValueError):
            setattr(sys, name, None)


def _open_closed_streams() -> None:
    """Open standard streams that the caller closed; otherwise the next file that we open would get their number."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _escape_unencodable() -> None:
    """Print characters that the locale cannot encode as escapes on standard output, as on standard error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _print(prefix: str, line: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError):
            print(prefix_on(sys.stderr, f"{prefix}:"), one_line(line), file=sys.stderr)  # noqa: T201 - the only place that prints errors
