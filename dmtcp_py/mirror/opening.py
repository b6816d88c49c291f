"""From an address to a connected place."""

# ruff: noqa: PLC0415 - only the module and the libraries of one kind of place are imported

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dmtcp_py.mirror.address import COMMAND, FILE, ROOT, S3, SFTP
from dmtcp_py.mirror.errors import reported

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dmtcp_py.mirror.address import Address
    from dmtcp_py.mirror.place import Place


def open_place(address: Address, owner: Path | None = None) -> Place:
    """Return the place at ADDRESS, connected; raise MirrorError if that cannot be, with the reason in words.

    Temporary files are in directories of OWNER, a job, whose next attempt removes those that a kill left.
    """
    with reported(address):
        return _connecting(address.scheme, owner)(address)


def _connecting(scheme: str, owner: Path | None) -> Callable[[Address], Place]:
    """Return what connects to places of SCHEME for OWNER."""
    if scheme == COMMAND:
        from dmtcp_py.mirror.command_place import connect_for

        return partial(connect_for, owner)
    if scheme == FILE:
        from dmtcp_py.mirror.file_place import connect
    elif scheme == SFTP:
        from dmtcp_py.mirror.sftp_place import connect
    elif scheme == ROOT:
        from dmtcp_py.mirror.xrootd_place import connect
    elif scheme == S3:
        from dmtcp_py.mirror.s3_place import connect
    else:
        from dmtcp_py.mirror.fsspec_place import connect
    return connect
