"""A mirror in a directory, on a shared file system or another disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsspec.implementations.local import LocalFileSystem

from dmtcp_py.mirror.errors import MirrorError
from dmtcp_py.mirror.fsspec_place import FsspecPlace
from dmtcp_py.system.files import fsync_path

if TYPE_CHECKING:
    from dmtcp_py.mirror.address import Address
    from dmtcp_py.mirror.place import Meter, Place

_STEP_BYTES = 1 << 20
_CANNOT = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
"""What sendfile(2) says on file systems that do not know it."""


def connect(address: Address) -> Place:
    """Return the place in the directory of ADDRESS; raise MirrorError if what it is to be made in does not exist."""
    path = Path(address.rest)
    if not path.parent.is_dir():
        # a disk that is not mounted must not be taken for an empty one
        raise MirrorError(f"mirror {address.shown}: there is no directory {path.parent}", "make it, or mount it")
    return _FilePlace(LocalFileSystem(), str(path))


class _FilePlace(FsspecPlace):
    continues = True

    def send(self, source: Path, name: str, start: int, meter: Meter) -> None:
        """Have the kernel copy SOURCE, which costs less than reading and writing it."""
        self._make_folder(name.rpartition("/")[0])
        target = Path(self.path(name))
        with source.open("rb", buffering=0) as local, target.open("r+b" if start else "wb", buffering=0) as remote:
            remote.seek(start)
            try:
                while sent := os.sendfile(remote.fileno(), local.fileno(), start, _STEP_BYTES):
                    start += sent
                    meter.sent(sent)
                os.fsync(remote.fileno())
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                super().send(source, name, start, meter)

    def _flush(self, file: Any) -> None:
        file.flush()
        os.fsync(file.fileno())

    def _replace(self, part: str, name: str) -> None:
        target = Path(self.path(name))
        Path(self.path(part)).replace(target)
        # a job's directory may be a link to another disk
        fsync_path(target.parent.resolve())
