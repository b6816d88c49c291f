"""Pipes: looking at what is in one without taking it out, and putting one in the place of our standard input."""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import select
import stat
import termios
from contextlib import suppress

F_SETPIPE_SZ, F_GETPIPE_SZ = 1031, 1032
"""Of linux/fcntl.h; Python 3.10 on some systems lacks the names."""
_SPLICE_F_NONBLOCK = 2
_MOST_BYTES = 1 << 20
_NOTHING_YET = (errno.EAGAIN, errno.EINTR)
_LIBC = ctypes.CDLL(None, use_errno=True)


def is_readable_pipe(fd: int) -> bool:
    """Whether descriptor FD is open and reads from a pipe or a FIFO."""
    with suppress(OSError):
        return stat.S_ISFIFO(os.fstat(fd).st_mode) and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY
    return False


def make_one_page(pipe: int) -> int:
    """Have PIPE hold one page at most, and return the size of that in bytes.

    Such a pipe can be written to if and only if it is empty, so that poll() shows when all was read. Does nothing if
    the pipe holds more at the moment.
    """
    with suppress(OSError):
        fcntl.fcntl(pipe, F_SETPIPE_SZ, os.sysconf("SC_PAGESIZE"))
    return min(fcntl.fcntl(pipe, F_GETPIPE_SZ), os.sysconf("SC_PAGESIZE"))


def unread_bytes(pipe: int) -> int:
    """Return how many bytes are in PIPE, seen from either end; 0 if that cannot be told."""
    waiting = array.array("i", [0])
    with suppress(OSError):
        fcntl.ioctl(pipe, termios.FIONREAD, waiting)
    return waiting[0]


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
    poller = select.poll()
    poller.register(fd, select.POLLIN)
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
