"""A program that its engine loses at the start is started once more with the other, where that is left to us."""

from __future__ import annotations

import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from kit.waits import LONG_S

if TYPE_CHECKING:
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

NOT_WITH_DMTCP = """
echo begun >>notes.txt
while read -r line; do
    case $line in *libdmtcp*) kill -s ABRT $$ ;; esac
done </proc/$$/maps
echo "done"
exit 3
"""
ALWAYS = """
echo begun >>notes.txt
kill -s SEGV $$
"""
ONCE_MORE = "within its first second, which may be the fault of dmtcp {}: starting it once more with criu "


@pytest.fixture
def dmtcp(engine: EngineHere, engines_here: list[EngineHere]) -> EngineHere:
    """Give a DMTCP that ``auto`` takes, where CRIU is here for what it loses."""
    if engine.name != "dmtcp":
        pytest.skip("auto takes DMTCP first")
    if not any(one.name == "criu" for one in engines_here):
        pytest.skip("there is no other engine here")
    return engine


def _script(bench: Workbench, text: str) -> list[str | Path]:
    path = bench.folder.parent / "script.sh"
    path.write_text(text)
    return ["sh", path]


def _started_with(bench: Workbench) -> list[str]:
    return [line["engine"].split()[0] for line in bench.history if line["event"] == "started"]


def test_a_program_that_crashes_with_dmtcp_alone_is_started_once_more_with_criu(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    done = bench.run("--stdout", "out.txt", *_script(bench, NOT_WITH_DMTCP))
    assert done.returncode == 3
    assert f"crashed with status {128 + signal.SIGABRT} {ONCE_MORE.format(dmtcp.version)}" in done.stderr
    assert _started_with(bench) == ["dmtcp", "criu"]
    assert (bench.folder / "out.txt").read_text() == "done\n"
    assert (bench.folder / "notes.txt").read_text() == "begun\n"


def test_a_program_that_crashes_with_both_keeps_its_status_and_is_started_no_third_time(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    done = bench.run(*_script(bench, ALWAYS))
    assert done.returncode == 128 + signal.SIGSEGV
    assert done.stderr.count(ONCE_MORE.format(dmtcp.version)) == 1
    assert f"crashed with status {128 + signal.SIGSEGV} within its first second with criu " in done.stderr
    assert _started_with(bench) == ["dmtcp", "criu"]
    assert (bench.folder / "notes.txt").read_text() == "begun\n"


def test_a_program_for_which_an_engine_was_named_is_not_started_with_another(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    done = bench.run("--engine", "dmtcp", *_script(bench, NOT_WITH_DMTCP))
    assert done.returncode == 128 + signal.SIGABRT
    assert f"may be the fault of dmtcp {dmtcp.version}: see whether it does so without dmtcp-run" in done.stderr
    assert "try --engine criu" in done.stderr
    assert _started_with(bench) == ["dmtcp"]


def test_a_program_that_has_read_from_a_pipe_reads_the_same_once_more(bench: Workbench, dmtcp: EngineHere) -> None:
    assert dmtcp
    script = _script(bench, f"read -r word; echo $word; {NOT_WITH_DMTCP.replace('exit 3', 'exec cat')}")
    process = bench.start("--stdout", "out.txt", *script, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"first\nsecond\n")
    process.stdin.close()
    assert process.wait(LONG_S) == 0
    assert _started_with(bench) == ["dmtcp", "criu"]
    assert (bench.folder / "out.txt").read_text() == "first\ndone\nsecond\n"


def test_a_program_that_may_have_read_from_a_socket_is_not_started_once_more(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    assert dmtcp
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = bench.start(*_script(bench, NOT_WITH_DMTCP), stdin=theirs)
        assert process.wait(LONG_S) == 128 + signal.SIGABRT
    assert _started_with(bench) == ["dmtcp"]
    assert "try --engine criu" in (bench.folder / "stderr.txt").read_text()


def test_a_program_that_exits_with_a_status_of_its_own_is_not_started_once_more(
    bench: Workbench, dmtcp: EngineHere
) -> None:
    assert dmtcp
    done = bench.run("sh", "-c", "exit 1")
    assert done.returncode == 1
    assert _started_with(bench) == ["dmtcp"]
    assert "fault" not in done.stderr
