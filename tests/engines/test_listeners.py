"""Sockets that listen: a resumed program has its port, or is not resumed."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.native import built
from kit.servers import free_port
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere

STEPS = 60


def listening(bench: Workbench, engine: EngineHere, port: int, *options: str) -> list[str]:
    """Return the line of the program with PORT, and OPTIONS of its sockets."""
    if engine.name == "dmtcp" and built("state") is None:
        pytest.skip("there was no C compiler at the installation")
    return ["-i", "1", "--stdout", "out.txt", *bench.program("listens.py", STEPS, port, *options)]


def is_bound(one: socket.socket, port: int) -> bool:
    """Bind ONE to PORT; return False while the kernel refuses that."""
    try:
        one.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("options", [(), ("SO_REUSEPORT",)])
def test_a_program_listens_again_where_its_last_connections_are_not_over_yet(
    bench: Workbench, engine: EngineHere, options: tuple[str, ...]
) -> None:
    line = listening(bench, engine, free_port(), *options)
    bench.crash(line, times=2)
    assert bench.start(*line).wait(LONG_S) == 0
    assert (bench.folder / "out.txt").read_text() == "".join(f"visit {step} True\n" for step in range(STEPS))


def test_a_program_whose_port_another_one_has_is_not_resumed_without_it(bench: Workbench, engine: EngineHere) -> None:
    port = free_port()
    line = listening(bench, engine, port, "SO_REUSEADDR")
    bench.crash(line)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wait_until(lambda: is_bound(other, port))
        other.listen()
        done = bench.run(*line)
    assert done.returncode == 125
    assert str(port) in done.stderr
    assert bench.start(*line).wait(LONG_S) == 0
    assert (bench.folder / "out.txt").read_text() == "".join(f"visit {step} True\n" for step in range(STEPS))
