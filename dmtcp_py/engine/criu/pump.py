"""Threads that copy bytes between our standard streams and the program's pipes and terminals."""

from __future__ import annotations

import array
import errno
import fcntl
import os
import select
import signal
import stat
import termios
import threading
import time
from contextlib import suppress

_BLOCK = 1 << 16
_PAUSE_MS = 500
_END_OF_INPUT = b"\x04"


class OutputPump:
    """Copies the program's output from SOURCE to TARGET, one of our descriptors, until SOURCE ends.

    If TARGET cannot be written any more, for example because it has no reader, SOURCE is closed, so that the program
    gets the same error as without dmtcp-run. The pump owns SOURCE. If TARGET is None, the output is discarded.
    """

    def __init__(self, source: int, target: int | None) -> None:
        self._source = source
        self._target = target
        self._changed = threading.Condition()
        self._read_bytes = 0
        self._written_bytes = 0
        self._is_over = False
        self._stop_reader, self._stop_writer = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def is_done(self, within_s: float) -> bool:
        """Wait at most WITHIN_S for the end of the source; return whether all of it was copied."""
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def is_passed_on(self, within_s: float) -> bool:
        """Wait at most WITHIN_S until what is in the pipe now has been copied; return whether it was."""
        with self._changed:
            wanted = self._read_bytes + (0 if self._is_over else _unread_bytes(self._source))
            return self._changed.wait_for(lambda: self._written_bytes >= wanted or self._is_over, within_s)

    def abandon(self) -> None:
        """Stop copying, as soon as a write to the target that is under way returns."""
        os.write(self._stop_writer, b"\0")
        self._thread.join(_PAUSE_MS / 1000)
        if not self._thread.is_alive():
            os.close(self._stop_reader)
            os.close(self._stop_writer)

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._source, select.POLLIN)
        poller.register(self._stop_reader, select.POLLIN)
        try:
            while not any(fd == self._stop_reader for fd, _ in poller.poll()):
                with self._changed:
                    block = os.read(self._source, _BLOCK)
                    self._read_bytes += len(block)
                if not block:
                    return
                self._write(block)
                with self._changed:
                    self._written_bytes += len(block)
                    self._changed.notify_all()
        except OSError:
            # the other side of the program's terminal is gone, or the reader of our stream
            return
        finally:
            with self._changed:
                self._is_over = True
                os.close(self._source)
                self._changed.notify_all()

    def _write(self, block: bytes) -> None:
        if self._target is None:
            return
        left = memoryview(block)
        while left:
            try:
                left = left[os.write(self._target, left) :]
            except BlockingIOError:
                # another process that shares the descriptor made it non-blocking
                waiter = select.poll()
                waiter.register(self._target, select.POLLOUT)
                waiter.poll(_PAUSE_MS)
            except OSError as error:
                # a full device, such as /dev/full, stays full
                if error.errno != errno.ENOSPC or not stat.S_ISREG(os.fstat(self._target).st_mode):
                    raise
                # wait for space on a full disk: the program believes that these bytes have been written
                time.sleep(_PAUSE_MS / 1000)


class InputPump:
    """Copies input from SOURCE to TARGET, a pipe or terminal of the program.

    The pump owns SOURCE, and a pipe, which it closes at the end of the input; to a terminal it sends the end-of-file
    character.
    """

    def __init__(self, source: int, target: int, *, is_terminal: bool) -> None:
        self._source = source
        self._target = target
        self._is_terminal = is_terminal
        self._stop_reader, self._stop_writer = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Read nothing more."""
        os.write(self._stop_writer, b"\0")
        self._thread.join(_PAUSE_MS / 1000)
        if not self._thread.is_alive():
            os.close(self._stop_reader)
            os.close(self._stop_writer)

    def _run(self) -> None:
        # with these blocked, reading a terminal in the background fails instead of stopping us
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTIN, signal.SIGTTOU, signal.SIGPIPE})
        with suppress(OSError):
            self._copy()
        os.close(self._source)
        if not self._is_terminal:
            os.close(self._target)

    def _copy(self) -> None:
        poller = select.poll()
        poller.register(self._source, select.POLLIN)
        poller.register(self._stop_reader, select.POLLIN)
        while not any(fd == self._stop_reader for fd, _ in poller.poll()):
            try:
                block = os.read(self._source, _BLOCK)
            except BlockingIOError:
                continue
            except OSError:
                if not os.isatty(self._source) or self._must_stop():
                    return
                continue
            if self._is_terminal:
                _write_all(self._target, block or _END_OF_INPUT)
            elif block:
                _write_all(self._target, block)
            if not block and (not os.isatty(self._source) or self._must_stop()):
                return

    def _must_stop(self) -> bool:
        return bool(select.select([self._stop_reader], [], [], _PAUSE_MS / 1000)[0])


def _write_all(fd: int, block: bytes) -> None:
    left = memoryview(block)
    while left:
        left = left[os.write(fd, left) :]


def _unread_bytes(fd: int) -> int:
    waiting = array.array("i", [0])
    with suppress(OSError):
        fcntl.ioctl(fd, termios.FIONREAD, waiting)
    return waiting[0]
