"""A mirror behind a program of the site's: xrdcp, rclone, rsync, or whatever it has.

The program is called as ``PROGRAM [ARGS] put FILE NAME``, ``get NAME FILE``, ``list FOLDER`` (prints a name a line) and
``remove NAME``. Statuses: 0; other than for ``put`` 66 if there is no such thing (EX_NOINPUT of sysexits.h).
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.mirror.errors import MirrorError
from dmtcp_py.mirror.place import BLOCK_BYTES
from dmtcp_py.system.files import temporary_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dmtcp_py.mirror.address import Address
    from dmtcp_py.mirror.place import Digest, Meter, Place

_MISSING = 66
_MOST_CHARS = 200
_LONGEST_S = 6 * 3600


def connect_for(owner: Path | None, address: Address) -> Place:
    """Return the place that the program in ADDRESS reaches; raise MirrorError if there is no such program.

    Files that pass through a directory do so in one of OWNER's.
    """
    return _CommandPlace(address.rest, "dmtcp-run-mirror-" if owner is None else temporary_prefix(owner))


class _CommandPlace:
    """The place that the program in LINE reaches. LINE is split as a shell would, and no shell runs it."""

    continues = False
    streams = False

    def __init__(self, line: str, prefix: str) -> None:
        self._prefix = prefix
        self._words = shlex.split(line)
        if not self._words or shutil.which(self._words[0]) is None:
            raise MirrorError(f"mirror command:{line}: there is no such program", "look at its path")

    def names(self, folder: str) -> list[str]:
        """Return the names of what is in FOLDER."""
        found = self._run("list", folder)
        lines = [] if found is None else os.fsdecode(found).splitlines()
        return sorted({line.strip().strip("/").rpartition("/")[2] for line in lines if line.strip().strip("/")})

    def size(self, name: str) -> int | None:  # noqa: ARG002 - protocol
        """Return None: a partly copied file cannot be continued, so it is sent again from the beginning."""
        return None

    def read(self, name: str) -> Iterator[bytes]:
        """Yield the content of file NAME, which is fetched first."""
        with tempfile.TemporaryDirectory(prefix=self._prefix) as folder:
            path = Path(folder, "file")
            if self._run("get", name, str(path)) is None or not path.exists():
                raise FileNotFoundError(name)
            with path.open("rb", buffering=0) as file:
                while block := file.read(BLOCK_BYTES):
                    yield block

    def write(self, name: str, data: bytes) -> None:
        """Replace file NAME, and read it back: a program may report success without having stored all of it."""
        with tempfile.TemporaryDirectory(prefix=self._prefix) as folder:
            path = Path(folder, "file")
            path.write_bytes(data)
            self._run("put", str(path), name)
        try:
            is_there = b"".join(self.read(name)) == data
        except FileNotFoundError:
            is_there = False
        if not is_there:
            raise OSError(f"'put' has not stored {name} as it is")

    def send(self, source: Path, name: str, start: int, meter: Meter) -> None:  # noqa: ARG002 - protocol
        """Send file SOURCE to NAME."""
        self._run("put", str(source), name)
        meter.sent(source.stat().st_size)

    def digest(self, source: Path) -> Digest | None:  # noqa: ARG002 - protocol
        """Return None: it has to be read."""
        return None

    def has(self, name: str, digest: Digest) -> bool | None:  # noqa: ARG002 - protocol
        """Return None: it has to be read."""
        return None

    def remove(self, name: str) -> None:
        """Remove NAME."""
        self._run("remove", name)

    def _run(self, verb: str, *words: str) -> bytes | None:
        """Return what the program printed; None if it says that there is no such thing."""
        argv = [*self._words, verb, *words]
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_LONGEST_S)
        except subprocess.TimeoutExpired:
            raise OSError(f"'{verb}' did not end within {_LONGEST_S} s") from None
        if done.returncode == _MISSING and verb != "put":
            return None
        if done.returncode:
            said = " ".join(os.fsdecode(done.stderr).split())[-_MOST_CHARS:]
            raise OSError(f"'{verb}' ended with status {done.returncode}{said and ': ' + said}")
        return done.stdout
