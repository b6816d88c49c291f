"""What both commands share: types of options, and the one translation of errors into text and status."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from dmtcp_py.errors import DmtcpRunError, UsageError
from dmtcp_py.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

BUG_STATUS = 125


class Interval(click.ParamType):
    """A duration, ``auto`` (a negative number) or ``0`` (None)."""

    name = "T"

    def convert(self, value: object, _param: object, _ctx: object) -> float | None:
        """Return seconds as `dmtcp_py.outcome.RunOptions` wants them."""
        if not isinstance(value, str):
            return value  # type: ignore[return-value]
        if value == "auto":
            return -1.0
        try:
            return parse_duration(value) or None
        except UsageError as error:
            self.fail(f"{error}; or auto, or 0 for none")


directory_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=True),
    envvar="DMTCP_RUN_DIR",
    default=Path(".dmtcp-run"),
    metavar="PATH",
    help="Where jobs are kept (DMTCP_RUN_DIR).  [default: .dmtcp-run here]",
)


def leave(command: Callable[[], int], prefix: str) -> NoReturn:
    """Exit with what COMMAND returns, or with its error's status after one line on stderr."""
    try:
        status = command()
    except DmtcpRunError as error:
        hint = f"; {error.hint}" if error.hint else ""
        print(f"{prefix}: {error.what}{hint}", file=sys.stderr)  # noqa: T201 - the one place
        status = error.status
    except KeyboardInterrupt:
        status = 130
    except Exception:
        import traceback  # noqa: PLC0415 - only for bugs

        traceback.print_exc()
        print(f"{prefix}: this is a bug in dmtcp-py; please report it with the lines above", file=sys.stderr)  # noqa: T201
        status = BUG_STATUS
    sys.exit(status)
