"""That what a process sent before it ended is read: the library for DMTCP's coordinator, around epoll_wait()."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dmtcp_py.native import built
from kit.waits import LONG_S

# as the coordinator does: a connection, of which the other end sends something and is gone
COORDINATOR = """
import select, socket
epoll = select.epoll()
for _ in range(3):
    ours, theirs = socket.socketpair()
    epoll.register(ours, select.EPOLLIN | select.EPOLLRDHUP)
    theirs.sendall(b"the name of an image")
    theirs.close()
    for size in (4, 100, 0):
        (_, events), = epoll.poll(1)
        print(bool(events & select.EPOLLIN), bool(events & (select.EPOLLHUP | select.EPOLLRDHUP)), size)
        ours.recv(size)
    ours.close()
"""


def test_a_hang_up_is_told_after_what_was_sent_before_it() -> None:
    library = built("peers")
    if library is None:
        pytest.skip("there was no C compiler at the installation")
    run = subprocess.run(
        [sys.executable, "-c", COORDINATOR],
        env={**os.environ, "LD_PRELOAD": str(library)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=LONG_S,
        check=True,
    )
    assert run.stdout.splitlines() == ["True False 4", "True False 100", "True True 0"] * 3
