"""What both commands share: option types, and the only place that turns errors into text and an exit status."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from dmtcp_py.errors import FAILED_STATUS, DmtcpRunError, UsageError
from dmtcp_py.messages import one_line
from dmtcp_py.system.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED_STATUS = 130
BROKEN_PIPE_STATUS = 141


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


directory_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=True),
    envvar="DMTCP_RUN_DIR",
    default=Path(".dmtcp-run"),
    metavar="PATH",
    help="Directory of the jobs (DMTCP_RUN_DIR).  [default: .dmtcp-run in the current directory]",
)


def run_and_exit(command: Callable[[], int | None], prefix: str, *, failed_status: int = FAILED_STATUS) -> NoReturn:
    """Call COMMAND and exit with the status that it returns; after an error print one line and exit with its status.

    FAILED_STATUS is the exit status of errors that have no status of their own.
    """
    _open_closed_streams()
    _escape_unencodable()
    try:
        status = command() or 0
    except DmtcpRunError as error:
        _print(f"{prefix}: {error}")
        status = failed_status if error.status == FAILED_STATUS else error.status
    except click.ClickException as error:
        _print(f"{prefix}: {error.format_message().rstrip('.')}. See '{prefix} --help'.")
        status = error.exit_code
    except click.exceptions.Exit as error:
        status = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        status = INTERRUPTED_STATUS
    except Exception as error:
        status = _report_unexpected(error, prefix, failed_status)
    _flush()
    sys.exit(status)


def _report_unexpected(error: Exception, prefix: str, failed_status: int) -> int:
    """Report an error that is not meant for users, and return the exit status: unwritable output, or a bug."""
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE_STATUS
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
        _print(f"{prefix}: the output cannot be written: {error.strerror}; free space where it goes")
        return failed_status
    import traceback  # noqa: PLC0415 - only needed for bugs

    with suppress(OSError):
        traceback.print_exception(error)
    _print(f"{prefix}: this is a bug in dmtcp-py; please report it with the lines above")
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


def _print(line: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError):
            print(one_line(line), file=sys.stderr)  # noqa: T201 - the only place that prints errors
