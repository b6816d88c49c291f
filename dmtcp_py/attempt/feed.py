"""What comes from a pipe on our standard input is passed on to the program, and kept for resumes.

The program reads from our pipe, which is filled with what is in the pipe on our standard input, without taking
it out there. Once the program has read some, that is taken out, and ours is filled again: what the program does not
read stays for whoever reads next, as it would without dmtcp-run, and a producer waits as it would. For a checkpoint our
pipe is emptied, so that the position in the input is exact.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.errors import CheckpointFailedError, StoreError
from dmtcp_py.system.pipes import become_stdin, can_write, fill, take_back

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dmtcp_py.attempt.producer import Producer
    from dmtcp_py.store.kept_input import KeptInput
    from dmtcp_py.store.records import Manifest

_BLOCK = 1 << 16
_ENDS_WITHIN_S = 1.0
"""How long after a program has closed its standard input its end is noticed."""


class InputFailed(Struct, frozen=True):
    """The event that the program cannot be given its input any more."""

    error: BaseException


class Feed:
    """Gives the programs of one attempt their standard input, one program after another.

    KEPT is what earlier attempts took in; the rest comes from PRODUCER, if there is one. POST is called with
    `InputFailed`.
    """

    def __init__(self, kept: KeptInput, producer: Producer | None, post: Callable[[InputFailed], None]) -> None:
        self._kept, self._producer, self._post = kept, producer, post
        self._lock = threading.Lock()
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)
        self._thread: threading.Thread | None = None
        self._writer: int | None = None
        self._position = 0
        self._given = b""
        """What is in our pipe, except for what the program has read since."""
        self._is_held = self._is_over = False
        self._closed_at: float | None = None
        """When the program was seen to have closed its standard input, in monotonic seconds."""

    @property
    def can_start_over(self) -> bool:
        """Whether a program can be given all of the input again."""
        with self._lock:
            return self._kept.content_end(0) == self._kept.end

    @contextmanager
    def of_program(self, start: Manifest | None) -> Iterator[None]:
        """Put a pipe in the place of standard input, for a program that is started or is resumed from START.

        Raises DmtcpRunError if START needs input that is gone, or if what the producer has delivered already differs
        from what the program has read before.
        """
        self.stop()
        self._begin_at(start)
        if self._producer is not None:
            while self._producer.can_compare and self._producer.is_ready:
                self._producer.compare()
        reader, self._writer = os.pipe()
        become_stdin(reader)
        try:
            yield
        except BaseException:
            os.close(self._writer)
            self._writer = None
            raise
        finally:
            # the program alone is to have the reading end
            become_stdin(os.open(os.devnull, os.O_RDONLY))
        self._is_over, self._closed_at = False, None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @contextmanager
    def held(self) -> Iterator[int]:
        """Let the program read nothing, and yield how much of the input it has read. Raises CheckpointFailedError."""
        with self._lock:
            self._is_held = True
        try:
            with self._lock:
                self._settle()
                self._close_segment()
            yield self._position
        finally:
            with self._lock:
                self._is_held = False
            self._wake()

    def let_producer_go(self) -> None:
        """Close our standard input if the program, which must be alive, has closed its own: the producer gets SIGPIPE.

        A program that is about to end closes it too, and may be resumed and need more: that is why this waits.
        """
        if self._closed_at is not None and time.monotonic() - self._closed_at > _ENDS_WITHIN_S:
            with self._lock:
                if self._producer is not None and not self._producer.can_compare:
                    self._producer.close()

    def forget_before(self, position: int) -> None:
        """Remove what only a resume before POSITION needs."""
        with self._lock:
            self._kept.forget_before(position)

    def stop(self) -> None:
        """Take back what the program has not read, once it has ended."""
        if self._thread is None:
            return
        with self._lock:
            self._is_over = True
        self._wake()
        self._thread.join()
        self._thread = None
        try:
            self._settle()
        finally:
            self._close_writer()

    def close(self) -> None:
        """Stop, and give our standard input back to this process."""
        self.stop()
        self._kept.close()
        if self._producer is not None:
            self._producer.give_back()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def _begin_at(self, start: Manifest | None) -> None:
        position = (start.stdin_bytes or 0) if start is not None else 0
        end = self._kept.content_end(position)
        if end < self._kept.end and (end < self._read_by_us or not self._kept.cut(end)):
            raise StoreError(
                f"what came from standard input from byte {end} on was not kept", "run the same line again"
            )
        if self._kept.end < position:
            raise StoreError(
                f"the record of the first {position} bytes of standard input is gone", "use --fresh to start over"
            )
        self._position = position

    @property
    def _read_by_us(self) -> int:
        return self._producer.position if self._producer is not None else 0

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
        try:
            while self._advance():
                self._wait()
        except BaseException as error:
            self._post(InputFailed(error))

    def _advance(self) -> bool:
        """Do what can be done without waiting; return False once there is nothing more to do."""
        with self._lock:
            if self._is_over:
                return False
            if not self._is_held:
                if self._producer is not None and self._producer.can_compare and self._producer.is_ready:
                    self._producer.compare()
                self._give()
            return self._writer is not None or (self._producer is not None and self._producer.can_compare)

    def _give(self) -> None:
        """Fill our pipe again if the program has read some of what was in it."""
        if self._writer is None or (self._given and not can_write(self._writer)):
            return
        self._settle()
        data = self._next()
        if data is None:
            return
        if not data:
            self._end()
            return
        try:
            self._given = data[: fill(self._writer, data)]
        except BrokenPipeError:
            self._abandon()

    def _next(self) -> bytes | None:
        """Return what comes next; nothing at the end of the input, None if nothing has come yet."""
        if self._position < self._kept.end:
            return self._kept.read(self._position, _BLOCK)
        if self._kept.is_complete or self._producer is None:
            return b""
        return None if self._producer.can_compare else self._producer.peek(_BLOCK)

    def _settle(self) -> None:
        """Empty our pipe, and note what the program has read."""
        if not self._given or self._writer is None:
            return
        read = self._given[: len(self._given) - len(take_back(self._writer))]
        self._given = b""
        if read and self._position >= self._kept.end:
            if self._producer is not None:
                self._producer.take_out(read)
            self._kept.append(read)
        self._position += len(read)

    def _close_segment(self) -> None:
        try:
            self._kept.close_segment()
        except OSError as error:
            raise CheckpointFailedError(
                f"what came from standard input cannot be kept: {error.strerror}", program_lives=True
            ) from error

    def _end(self) -> None:
        """Let the program see the end of its input."""
        if self._kept.end and not self._kept.is_complete and self._producer is not None:
            # if this is not on disk, a resume finds the end again
            with suppress(OSError):
                self._kept.close_segment(is_last=True)
        self._close_writer()

    def _abandon(self) -> None:
        """Deliver nothing more to a program that has closed its standard input."""
        self._closed_at = time.monotonic()
        self._settle()
        self._close_writer()

    def _close_writer(self) -> None:
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None

    def _wait(self) -> None:
        """Wait until there may be something to do."""
        poller = select.poll()
        poller.register(self._wake_reader, select.POLLIN)
        with self._lock:
            if not self._is_held:
                self._watch(poller)
            writer = self._writer
        events = dict(poller.poll())
        if self._wake_reader in events:
            os.read(self._wake_reader, 1)
        if writer is not None and events.get(writer, 0) & select.POLLERR:
            with self._lock:
                if not self._is_held and writer == self._writer:
                    self._abandon()

    def _watch(self, poller: select.poll) -> None:
        if self._writer is not None:
            poller.register(self._writer, select.POLLOUT if self._given else 0)
        producer = self._producer
        if producer is not None and (producer.can_compare or (not self._given and self._writer is not None)):
            poller.register(producer.fileno, select.POLLIN)

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._wake_writer, b"\0")
