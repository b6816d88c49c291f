"""What both commands share: types of options, and the one translation of errors into text and status."""

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
    """Return seconds as `dmtcp_py.options.RunOptions` wants them: ``auto`` is negative, ``0`` is None."""
    if value == "auto":
        return -1.0
    try:
        return parse_duration(value) or None
    except UsageError as error:
        raise click.BadParameter(f"{error}; or auto, or 0 for none") from error


def duration_s(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """Return seconds; None where nothing was given."""
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
    help="Where jobs are kept (DMTCP_RUN_DIR).  [default: .dmtcp-run here]",
)


def leave(command: Callable[[], int | None], prefix: str, *, failed_status: int = FAILED_STATUS) -> NoReturn:
    """Exit with what COMMAND returns, or with its error's status after one line on stderr.

    FAILED_STATUS is that of an error without a status of its own.
    """
    _open_closed_streams()
    _print_any_name()
    try:
        status = command() or 0
    except DmtcpRunError as error:
        _print(f"{prefix}: {error}")
        status = failed_status if error.status == FAILED_STATUS else error.status
    except click.ClickException as error:
        _print(f"{prefix}: {error.format_message()} See '{prefix} --help'.")
        status = error.exit_code
    except click.exceptions.Exit as error:
        status = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        status = INTERRUPTED_STATUS
    except Exception as error:
        status = _unforeseen(error, prefix, failed_status)
    _flush()
    sys.exit(status)


def _unforeseen(error: Exception, prefix: str, failed_status: int) -> int:
    """Report what nobody raised for the user: our own output that cannot be written, or a bug; return the status."""
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE_STATUS
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
        _print(f"{prefix}: what is to be printed cannot be written: {error.strerror}; make room there")
        return failed_status
    import traceback  # noqa: PLC0415 - only for bugs

    with suppress(OSError):
        traceback.print_exception(error)
    _print(f"{prefix}: this is a bug in dmtcp-py; please report it with the lines above")
    return FAILED_STATUS


def _flush() -> None:
    """Give out what is buffered; a stream that cannot be written is not to change our exit status."""
    for name in ("stdout", "stderr"):
        try:
            if (stream := getattr(sys, name)) is not None:
                stream.flush()
        except (OSError, ValueError):
            setattr(sys, name, None)


def _open_closed_streams() -> None:
    """Open standard streams that the caller closed: else the next file that we open would take their place."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _print_any_name() -> None:
    """Have a locale that lacks a character print it as an escape, as standard error does."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _print(line: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError):
            print(one_line(line), file=sys.stderr)  # noqa: T201 - the one place
