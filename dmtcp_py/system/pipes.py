"""Pipes: looking at what is in one without taking it out, and putting one in the place of our standard input."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import stat
from contextlib import suppress

F_SETPIPE_SZ, F_GETPIPE_SZ = 1031, 1032
"""Of linux/fcntl.h; Python 3.10 on some systems lacks the names."""
_SPLICE_F_NONBLOCK = 2
_MOST_BYTES = 1 << 20
_MOST_FILLED_BYTES = 1 << 16
_NOTHING_YET = (errno.EAGAIN, errno.EINTR)
_LIBC = ctypes.CDLL(None, use_errno=True)


def is_readable_pipe(fd: int) -> bool:
    """Whether descriptor FD is open and reads from a pipe or a FIFO."""
    with suppress(OSError):
        return stat.S_ISFIFO(os.fstat(fd).st_mode) and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY
    return False


def fill(writer: int, data: bytes) -> int:
    """Write as much of DATA as fills the empty pipe behind WRITER, which is made to fit; return how many bytes.

    That is one page or less, or a number of whole pages. As long as nothing of it was read, poll() does not show that
    the pipe can be written to.
    """
    page = os.sysconf("SC_PAGESIZE")
    size = page
    while size * 2 <= min(len(data), _MOST_FILLED_BYTES):
        size *= 2
    with suppress(OSError):
        fcntl.fcntl(writer, F_SETPIPE_SZ, size)
    # a user with many pipes is given small ones
    return os.write(writer, data[: min(size, fcntl.fcntl(writer, F_GETPIPE_SZ))])


def take_back(writer: int) -> bytes:
    """Empty the pipe with the writing end WRITER in one step, in spite of other readers, and return what was in it."""
    reader = os.open(f"/proc/self/fd/{writer}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        # one read() holds the lock of the pipe until it has everything
        return os.read(reader, _MOST_BYTES)
    except BlockingIOError:
        return b""
    finally:
        os.close(reader)


def can_read(fd: int) -> bool:
    """Whether a read from FD returns at once, with data or with the end of the file."""
    return _is_ready(fd, select.POLLIN)


def can_write(fd: int) -> bool:
    """Whether a write to FD returns at once, with or without an error."""
    return _is_ready(fd, select.POLLOUT)


def _is_ready(fd: int, events: int) -> bool:
    poller = select.poll()
    poller.register(fd, events)
    return bool(poller.poll(0))


class PeekingPipe:
    """A second pipe, through which what is in the pipe SOURCE is read without taking it out."""

    def __init__(self, source: int) -> None:
        self._source = source
        self._reader, self._writer = os.pipe()

    def peek(self, most: int) -> bytes | None:
        """Return the next MOST bytes at most; nothing at the end of the input, None if nothing has come yet."""
        count = _LIBC.tee(self._source, self._writer, ctypes.c_size_t(most), ctypes.c_uint(_SPLICE_F_NONBLOCK))
        if count < 0:
            error = ctypes.get_errno()
            if error in _NOTHING_YET:
                return None
            raise OSError(error, os.strerror(error))
        return os.read(self._reader, count) if count else b""

    def close(self) -> None:
        """Close it, and not the source."""
        os.close(self._reader)
        os.close(self._writer)


def become_stdin(fd: int) -> None:
    """Put descriptor FD, which is closed, in the place of standard input."""
    if fd == 0:
        os.set_inheritable(fd, True)
        return
    os.dup2(fd, 0)
    os.close(fd)
