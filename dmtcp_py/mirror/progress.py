"""What a process that copies is doing, for its own watch and for ``dmtcp-ctl status``."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import msgspec

from dmtcp_py.store.mirrored import MirrorState, encode
from dmtcp_py.store.records import utc_now
from dmtcp_py.system.files import make_private_dir, write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dmtcp_py.store.records import Manifest

STALL_S = 60.0
"""How long nothing may move before a mirror counts as one that does not answer."""


class Progress:
    """The state of one mirror, of which `write` makes a file at PATH. Called by two threads."""

    def __init__(self, path: Path, url: str, epoch: int) -> None:
        self._path, self._lock = path, threading.Lock()
        self._state = MirrorState(url=url, epoch=epoch, updated=utc_now())
        self._written: MirrorState | None = None
        self._busy_until: float | None = None

    def there(self, manifests: Mapping[int, Manifest | None]) -> None:
        """Note which generations the mirror has."""
        found = [one for one in manifests.values() if one is not None]
        self._set(
            generations=sorted(manifests),
            oldest_part=min((one.undo_part for one in found if one.undo_part), default=None),
            least_stdin_bytes=min((one.stdin_bytes or 0 for one in found), default=None),
        )

    def copying(self, number: int | None, size: int) -> None:
        """Note that generation NUMBER of SIZE is being copied, or none; on disk at once, so that it is not pruned."""
        self._set(copying=number, done=0, size=size)
        self.write()

    def moved(self, size: int, patience_s: float) -> None:
        """Note that SIZE more bytes were sent; what follows may take PATIENCE_S longer than usual."""
        self._busy_until = time.monotonic() + STALL_S + patience_s
        if size:
            with self._lock:
                self._state = msgspec.structs.replace(self._state, done=self._state.done + size)

    def begin(self) -> None:
        """Note that something is expected of the mirror."""
        self.moved(0, 0)

    def rest(self) -> None:
        """Note that nothing is expected of the mirror."""
        self._busy_until = None

    @property
    def is_stalled(self) -> bool:
        """Whether the mirror has not answered for too long."""
        until = self._busy_until
        return until is not None and time.monotonic() > until

    def problem(self, text: str | None) -> bool:
        """Note the PROBLEM of the mirror, None if there is none; return whether that is new."""
        before = self._state.problem
        since = None if text is None else self._state.failing_since or utc_now()
        self._set(problem=text, failing_since=since)
        return before != text

    def write(self) -> None:
        """Write the file, if anything has changed."""
        with self._lock:
            if self._written is not None and self._state == self._written:
                return
            self._state = self._written = msgspec.structs.replace(self._state, updated=utc_now())
            try:
                make_private_dir(self._path.parent)
                write_atomic(self._path, encode(self._state), durable=False)
            except OSError:
                # a full disk is reported by the supervisor
                self._written = None

    def _set(self, **fields: object) -> None:
        with self._lock:
            self._state = msgspec.structs.replace(self._state, **fields)
