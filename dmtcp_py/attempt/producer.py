"""The pipe on our standard input, and the comparison of what it delivers once more with what it delivered before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dmtcp_py.errors import DmtcpRunError
from dmtcp_py.store.kept_input import Comparison
from dmtcp_py.system.pipes import PeekingPipe, become_stdin, can_read

if TYPE_CHECKING:
    from dmtcp_py.store.kept_input import KeptInput

_BLOCK = 1 << 16
_HINT = (
    "run the line with the same input; --accept-changed-files continues with this input after what came before; "
    "--fresh starts over; --job NAME is for another job"
)


class Producer:
    """Whatever writes to our standard input. It begins with what is KEPT already, unless it CONTINUES after that."""

    def __init__(self, kept: KeptInput, *, continues: bool) -> None:
        self._kept = kept
        self._comparison = None if continues or not (kept.end or kept.is_complete) else Comparison(kept)
        self.fileno = os.dup(0)
        become_stdin(os.open(os.devnull, os.O_RDONLY))
        self._peeking = PeekingPipe(self.fileno)
        self._is_open = True

    @property
    def can_compare(self) -> bool:
        """Whether some of what was kept was not delivered again so far."""
        return self._is_open and self._comparison is not None

    @property
    def position(self) -> int:
        """Up to where the input was taken out of the pipe."""
        return self._comparison.position if self._comparison is not None else self._kept.end

    @property
    def is_ready(self) -> bool:
        """Whether there is something to read, or the end of the input."""
        return self._is_open and can_read(self.fileno)

    def compare(self) -> None:
        """Take what was kept already out of the pipe, as far as it is there; raise DmtcpRunError if it differs."""
        comparison = self._comparison
        if comparison is None:
            return
        left = self._kept.end - comparison.position
        if left:
            self._compare(comparison, os.read(self.fileno, min(left, _BLOCK)))
        elif not self._kept.is_complete:
            pass
        elif self._peeking.peek(1):
            raise _changed(f"goes on after byte {self._kept.end}, where it ended before")
        else:
            self.close()
        if comparison.position == self._kept.end and not self._kept.is_complete:
            self._comparison = None

    def peek(self, most: int) -> bytes | None:
        """Return what comes next, see `PeekingPipe`."""
        if not self._is_open:
            raise DmtcpRunError(
                "the program needs more of its standard input, which it had closed before", "run the same line again"
            )
        return self._peeking.peek(most)

    def take_out(self, data: bytes) -> None:
        """Take DATA, which comes next, out of the pipe."""
        if not self._is_open:
            return
        found = b""
        while len(found) < len(data) and self.is_ready and (block := os.read(self.fileno, len(data) - len(found))):
            found += block
        if found != data:
            raise DmtcpRunError(
                "another program reads from the same standard input", "give the program one of its own, with '< FILE'"
            )

    def close(self) -> None:
        """Read nothing more, so that a producer that writes gets SIGPIPE."""
        if self._is_open:
            self._is_open = False
            os.close(self.fileno)
            self._peeking.close()

    def give_back(self) -> None:
        """Give the pipe, with what is left in it, back to standard input."""
        if self._is_open:
            become_stdin(os.dup(self.fileno))
            self.close()

    def _compare(self, comparison: Comparison, data: bytes) -> None:
        if not data and not self._kept.is_complete:
            raise _changed(f"ended after byte {comparison.position}, and {self._kept.end} bytes had come before")
        if not data:
            self.close()
        elif not comparison.add(data):
            raise _changed(f"differs in its first {comparison.position + len(data)} bytes from what came before")


def _changed(how: str) -> DmtcpRunError:
    return DmtcpRunError(f"standard input {how}", _HINT)
