"""The connections between a program and its DMTCP coordinator."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import psutil

from dmtcp_py.engine.criu.inside.descriptors import taken
from kit.processes import descendants, kill_all
from kit.waits import LONG_S

if TYPE_CHECKING:
    from subprocess import Popen

    from kit.bench import Workbench
    from kit.engines import EngineHere


def test_no_message_waits_for_the_acknowledgement_of_the_one_before(bench: Workbench, one_dmtcp: EngineHere) -> None:
    """DMTCP writes a message in parts; without TCP_NODELAY a pause has 40 ms more for each step of a checkpoint."""
    del one_dmtcp  # the bench has it
    line = bench.line("-i", "0", "--stdout", "out.txt", *bench.counting(10_000))
    process = bench.start_line(line)
    bench.wait_steps(1)
    assert bench.ctl("checkpoint").returncode == 0
    assert _ends_that_wait(process) == []
    kill_all(process)
    process = bench.start_line(line)
    bench.wait_said("resumed generation 1", process)
    assert _ends_that_wait(process) == []
    assert bench.ctl("stop").returncode == 0
    assert process.wait(LONG_S) == 85


def _ends_that_wait(process: Popen[bytes]) -> list[str]:
    """Return which ends of the connection between the program of PROCESS and its coordinator have no TCP_NODELAY."""
    ends = [
        (one, found.fd)
        for one in descendants(process.pid)
        for found in one.net_connections("tcp")
        if found.status == psutil.CONN_ESTABLISHED
    ]
    assert len(ends) == 2, ends
    return [one.name() for one, fd in ends if _waits(one.pid, fd)]


def _waits(pid: int, fd: int) -> bool:
    with taken(pid, fd) as own, socket.socket(fileno=os.dup(own)) as connection:
        return not connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
