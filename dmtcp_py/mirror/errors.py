"""What goes wrong at mirrors, in words and without the secrets of their addresses."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dmtcp_py.errors import DmtcpRunError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dmtcp_py.mirror.address import Address

_MOST_CHARS = 300
_EXTRAS = {"root": "xrootd", "s3": "s3"}


class MirrorError(DmtcpRunError):
    """A mirror cannot be reached, refuses, or has not what is looked for."""


class DamagedError(MirrorError):
    """A file at the mirror differs from what was sent, or from what was recorded when it was copied."""


@contextmanager
def reported(address: Address) -> Iterator[None]:
    """Turn whatever a library raises into a MirrorError that names the mirror."""
    try:
        yield
    except DmtcpRunError:
        raise
    except ImportError as error:
        extra = _EXTRAS.get(address.scheme, "mirror")
        raise MirrorError(
            f"mirror {address.shown} needs a package that is not installed ({error.name})",
            f"install dmtcp-py[{extra}]",
        ) from None
    except Exception as error:
        # from None: the text of what it was raised from may hold a password
        raise MirrorError(f"mirror {address.shown}: {address.redacted(_text(error))}") from None


def _text(error: BaseException) -> str:
    """Return what ERROR says, on one line; libraries raise errors whose text is empty, or that only wrap another."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno and error.strerror and not isinstance(error.strerror, int):
        name = f"{error.filename}: " if error.filename else ""
        text = f"{name}{error.strerror}"
    if not text and isinstance(error, OSError) and error.errno:
        text = os.strerror(error.errno)
    return f"{text or type(error).__name__}"[:_MOST_CHARS]
