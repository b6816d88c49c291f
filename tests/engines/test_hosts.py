"""Programs on several hosts go on from a checkpoint on any hosts, with our plugin, and not without it.

DMTCP's own tools drive it here; hosts are network namespaces.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.engine.dmtcp import selftest
from dmtcp_py.engine.dmtcp.installation import Installation
from dmtcp_py.native import built
from kit.dmtcp_tools import Computation
from kit.engines import EngineHere, find_dmtcp
from kit.hosts import Hosts, why_not
from kit.places import PROGRAM_FILES, REPOSITORY
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

PAIR = PROGRAM_FILES / "pair.py"
STEPS = 100
FULL_STEPS = 40
FULL_BYTES = 8_000_000
HANGS_S = 10.0
"""No checkpoint of a pair took a second."""
UNTIL_ONE_HANGS = 30

_why_no_hosts = why_not()
_needs_hosts = pytest.mark.skipif(bool(_why_no_hosts), reason=_why_no_hosts or "can be made")
_needs_compiler = pytest.mark.skipif(built("hosts") is None, reason=selftest.NOT_BUILT)
_dmtcp = find_dmtcp()
_each_dmtcp = pytest.mark.parametrize(
    "dmtcp",
    [pytest.param(one, id=str(one)) for one in _dmtcp]
    or [pytest.param(None, marks=pytest.mark.skip(reason="there is no DMTCP here"))],
)


@pytest.fixture
def four(tmp_path: Path) -> Iterator[Hosts]:
    """Make four hosts that share the test's folder and what Python needs."""
    shared = [path for path in (Path(sys.prefix), REPOSITORY) if path.is_relative_to("/tmp")]
    with Hosts(4, tmp_path, shared=shared) as made:
        yield made


def _pair(computation: Computation, four: Hosts, steps: int, size: int) -> None:
    """Start the pair on the first two hosts, and wait until it is well on its way."""
    computation.begin([four[0], four[1]])
    words = [sys.executable, PAIR]
    computation.launch(0, [*words, "server", "-", str(steps), str(size)], "server.txt")
    computation.launch(1, [*words, "client", four[0].name, str(steps), str(size)], "client.txt")
    assert computation.wait_running(2)
    _wait_lines(computation.folder)


def _wait_lines(folder: Path, count: int = 3) -> None:
    outputs = [folder / "server.txt", folder / "client.txt"]
    wait_until(lambda: all(path.exists() for path in outputs))
    before = [path.read_bytes().count(b"\n") for path in outputs]
    wait_until(
        lambda: all(path.read_bytes().count(b"\n") >= old + count for path, old in zip(outputs, before, strict=True))
    )


def _uninterrupted(folder: Path, steps: int, size: int) -> list[bytes]:
    """Return what server and client write when nothing happens to them."""
    folder.mkdir()
    started = []
    for role in ("server", "client"):
        argv = [sys.executable, str(PAIR), role, "127.0.0.1", str(steps), str(size), "0.001"]
        with (folder / f"{role}.txt").open("wb") as out:
            started.append(subprocess.Popen(argv, cwd=folder, stdout=out))
    assert [process.wait(LONG_S) for process in started] == [0, 0]
    return _outputs(folder)


def _outputs(folder: Path) -> list[bytes]:
    return [(folder / f"{role}.txt").read_bytes() for role in ("server", "client")]


def _moved_about(dmtcp: EngineHere, folder: Path, four: Hosts, steps: int, size: int) -> None:
    """Let the pair live on the same hosts, on swapped ones and on others, and end there as if nothing had been."""
    computation = Computation(dmtcp, folder, built("hosts"))
    _pair(computation, four, steps, size)
    for places in ((0, 1), (1, 0), (2, 3)):
        assert computation.checkpoint(), (folder / "messages").read_text()
        computation.kill()
        assert computation.restart([four[index] for index in places]), (folder / "messages").read_text()
        _wait_lines(folder)
    assert computation.wait_end() == [0, 0]
    assert _outputs(folder) == _uninterrupted(folder / "plain", steps, size)


@_needs_hosts
@_needs_compiler
@_each_dmtcp
def test_a_client_and_a_server_go_on_on_the_same_hosts_on_swapped_ones_and_on_others(
    dmtcp: EngineHere, tmp_path: Path, four: Hosts
) -> None:
    _moved_about(dmtcp, tmp_path, four, STEPS, 0)


@_needs_hosts
@_needs_compiler
@_each_dmtcp
def test_so_they_do_with_megabytes_on_their_way_in_both_directions(
    dmtcp: EngineHere, tmp_path: Path, four: Hosts
) -> None:
    _moved_about(dmtcp, tmp_path, four, FULL_STEPS, FULL_BYTES)


@_needs_hosts
@_each_dmtcp
def test_without_the_plugin_the_checkpoint_of_two_hosts_hangs(dmtcp: EngineHere, tmp_path: Path, four: Hosts) -> None:
    # where this fails, that DMTCP needs one of the plugin's cures no longer; hosts that have drained their sockets at
    # the same moment come through
    computation = Computation(dmtcp, tmp_path, None)
    _pair(computation, four, 10_000, 0)
    assert not all(computation.checkpoint(HANGS_S) for _ in range(UNTIL_ONE_HANGS))
    assert computation.status() == (2, False)
    assert not list(tmp_path.glob("images/*/*.dmtcp"))


@_needs_hosts
@_needs_compiler
@_each_dmtcp
def test_without_the_plugins_address_the_restart_finds_nobody(dmtcp: EngineHere, tmp_path: Path, four: Hosts) -> None:
    # where this fails, that DMTCP needs one of the plugin's cures no longer
    computation = Computation(dmtcp, tmp_path, _plugin_without("/plugin/socket/rst", tmp_path))
    _pair(computation, four, 10_000, 0)
    assert computation.checkpoint()
    computation.kill()
    assert not computation.restart([four[0], four[1]], HANGS_S)
    assert computation.status()[0] < 2


@_needs_compiler
@_each_dmtcp
def test_the_self_test_trusts_a_dmtcp_once_and_remembers_it(
    dmtcp: EngineHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    installation = _installation(dmtcp)
    assert selftest.refusal(installation) is None
    (note,) = (tmp_path / "cache" / "dmtcp-py").iterdir()
    before = note.stat().st_mtime_ns
    assert selftest.refusal(installation) is None
    assert note.stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@_needs_compiler
@_each_dmtcp
@pytest.mark.parametrize(
    ("lacking", "reason"),
    [
        ("Socket::Drain", "a checkpoint"),
        ("/plugin/socket/rst", "a restart would not find them"),
        ("_Z16scaleSendBuffersid", "full ones would hang a restart"),
    ],
)
def test_the_self_test_trusts_none_where_a_cure_takes_no_effect(
    dmtcp: EngineHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str, reason: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plugin = _plugin_without(lacking, tmp_path)
    monkeypatch.setattr(selftest, "built", lambda _name: plugin)
    monkeypatch.setattr(selftest, "_WAIT_S", 5.0)
    told = selftest.refusal(_installation(dmtcp))
    assert told is not None
    assert reason in told
    assert not (tmp_path / "cache").exists()


@_each_dmtcp
def test_without_a_compiler_the_self_test_says_so(dmtcp: EngineHere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "built", lambda _name: None)
    assert selftest.refusal(_installation(dmtcp)) == selftest.NOT_BUILT


def _installation(dmtcp: EngineHere) -> Installation:
    return Installation(Path(dmtcp.environ["DMTCP_PREFIX"]) / "bin")


def _plugin_without(name: str, folder: Path) -> Path:
    """Return our plugin as it is where DMTCP has nothing of this NAME to be reached by."""
    source = (Path(selftest.__file__).parents[2] / "native" / "hosts.c").read_text()
    assert name in source
    (folder / "other.c").write_text(source.replace(f'"{name}"', '"other_name"'))
    compiler = os.environ.get("CC", "cc")
    plugin = folder / "other.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", plugin, folder / "other.c"], check=True, timeout=LONG_S)
    return plugin
