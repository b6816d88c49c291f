"""From an address to a connected place."""

# ruff: noqa: PLC0415 - only the module and the libraries of one kind of place are imported

from __future__ import annotations

from typing import TYPE_CHECKING

from dmtcp_py.mirror.address import COMMAND, FILE, ROOT, S3, SFTP
from dmtcp_py.mirror.errors import reported

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.mirror.address import Address
    from dmtcp_py.mirror.place import Place


def open_place(address: Address) -> Place:
    """Return the place at ADDRESS, connected; raise MirrorError if that cannot be, with the reason in words."""
    with reported(address):
        return _connecting(address.scheme)(address)


def _connecting(scheme: str) -> Callable[[Address], Place]:
    """Return what connects to places of SCHEME."""
    if scheme == COMMAND:
        from dmtcp_py.mirror.command_place import connect
    elif scheme == FILE:
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
