"""Nobody else on the machine sees, steers or ends a job, or has it run something."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.engine.dmtcp.nodes import agents
from dmtcp_py.engine.dmtcp.nodes.peers import is_ours
from dmtcp_py.errors import StoreError
from dmtcp_py.native import built
from dmtcp_py.store.layout import JobLayout
from dmtcp_py.store.lock import hold_for_maintenance
from dmtcp_py.store.requests import ask
from faults.intruders import NOBODY, attempts, intruder, message_of, port_of, try_all, why_not
from kit.processes import coordinator_of
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kit.bench import Process, Workbench
    from kit.engines import EngineHere

_needs_root = pytest.mark.skipif(bool(why_not()), reason=why_not() or "can be tried")
_needs_compiler = pytest.mark.skipif(built("peers") is None, reason="there was no C compiler")
_STEPS = 20
_TRAP = "#!/bin/sh\necho executed >>'{marker}'\necho 'dmtcp_launch (DMTCP) 4.2.0'\n"


@_needs_root
@_needs_compiler
def test_another_user_can_do_nothing_with_a_job_that_runs(bench: Workbench, engine: EngineHere) -> None:
    """At least 30 attempts on each engine; afterwards the job goes on as if there had been none."""
    prefix = engine.environ.get("DMTCP_PREFIX")
    line = ["-i", "0", "--stdout", "out.txt", *bench.counting(_STEPS, until="go")]
    process = bench.start(*line)
    bench.wait_steps(1)
    assert bench.ctl("checkpoint", bench.job.name).returncode == 0
    tried = try_all(bench, process, Path(prefix) / "bin" if prefix else None)
    assert [name for name, why in tried.items() if why is None] == []
    assert len(tried) >= 30
    if prefix:
        assert {"NUM_PEERS=1", "RUNNING=yes", "CKPT_INTERVAL=0"} <= {*_status(bench, process, Path(prefix))}
    assert bench.ctl("checkpoint", bench.job.name).returncode == 0
    assert bench.events == ["started", "checkpointed", "checkpointed"]
    (bench.folder / "go").touch()
    assert process.wait(LONG_S) == 0
    bench.assert_counted(_STEPS)


def _status(bench: Workbench, process: Process, prefix: Path) -> list[str]:
    """Return the words of what the coordinator answers to its own user."""
    coordinator = coordinator_of(process)
    assert coordinator is not None
    address = ["--coord-host", "127.0.0.1", "--coord-port", str(port_of(coordinator))]
    argv = [prefix / "bin/dmtcp_command", *address, "--status"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LONG_S, check=False, env=bench.environ)
    return (done.stdout + done.stderr).split()


@_needs_root
def test_the_same_attempts_succeed_with_a_coordinator_as_dmtcp_starts_it(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, one_dmtcp: EngineHere
) -> None:
    """Otherwise it would not be the library that refuses them."""
    tools = Path(one_dmtcp.environ["DMTCP_PREFIX"]) / "bin"
    user = intruder(tmp_path).reaching(tmp_path_factory.getbasetemp())
    message = message_of(tools / "dmtcp_command", "--quit").hex()
    with _bare_coordinator(tools, tmp_path) as (coordinator, port):
        given = {"port": port, "tools": str(tools), "message": message}
        assert attempts(user, {**given, "only": ["dmtcp_command --status"]}) == {"dmtcp_command --status": None}
        attempts(user, {**given, "only": ["a message, and gone"]})
        assert coordinator.wait(LONG_S) == 0


@contextmanager
def _bare_coordinator(tools: Path, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start a coordinator as DMTCP does; yield it with its port."""
    argv = [tools / "dmtcp_coordinator", "--port", "0", "--port-file", folder / "port", "--tmpdir", folder]
    nothing = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(argv, cwd=folder, **nothing) as coordinator:
        try:
            wait_until(lambda: (folder / "port").exists() and (folder / "port").read_text().strip())
            yield coordinator, int((folder / "port").read_text())
        finally:
            coordinator.kill()


@_needs_root
def test_a_socket_is_ours_only_as_long_as_our_process_has_it_open() -> None:
    """What an agent on another node says about a connection from there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as mine:
            ends = [list(mine.getsockname()), list(mine.getpeername())]
            assert is_ours(*ends)
            os.fchown(mine.fileno(), NOBODY, NOBODY)
            assert not is_ours(*ends)
            os.fchown(mine.fileno(), 0, 0)
            assert is_ours(*ends)
        assert not is_ours(*ends)


def test_an_agent_on_another_node_runs_no_module_of_its_working_directory(tmp_path: Path) -> None:
    for name in ("signal", "socket", "json"):
        (tmp_path / f"{name}.py").write_text("open('planted', 'w')\n")
    argv = [sys.executable, "-c", agents._AGENT]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=LONG_S, check=False)
    assert "IndexError" in done.stderr
    assert not (tmp_path / "planted").exists()


def _of_nobody(path: Path) -> None:
    os.chown(path, NOBODY, NOBODY)


def _writable(path: Path) -> None:
    path.chmod(0o777)


def _by_group(path: Path) -> None:
    path.chmod(0o770)
    os.chown(path, -1, NOBODY)


_PLACES = [
    (".", _of_nobody, "belongs to user 65534"),
    (".", _writable, "can be written by others (mode 777)"),
    (".", _by_group, "can be written by others (mode 770)"),
    ("..", _of_nobody, "belongs to user 65534"),
    ("..", _writable, "can be written by others (mode 777)"),
    ("generations", _writable, "can be written by others (mode 777)"),
    ("requests", _of_nobody, "belongs to user 65534"),
]
"""Where below or above the job's directory, what is changed there, and what is then said."""


@_needs_root
def test_a_directory_that_others_can_change_is_not_used(bench: Workbench, one_engine: EngineHere) -> None:
    assert one_engine
    assert bench.run("-i", "0", "--job", "mine", "touch", "first").returncode == 0
    layout = JobLayout(bench.jobs / "mine")
    for where, change, why in _PLACES:
        place = (layout.root / where).resolve()
        before = place.stat()
        change(place)
        done = bench.run("-i", "0", "--job", "mine", "--fresh", "touch", "second")
        assert done.returncode == 125
        assert f"{place} {why}" in done.stderr
        with pytest.raises(StoreError, match=re.escape(why)), hold_for_maintenance(layout):
            pass
        with pytest.raises(StoreError, match=re.escape(why)):
            ask(layout, "stop", timeout_s=0, is_served=lambda: True)
        os.chown(place, before.st_uid, before.st_gid)
        place.chmod(before.st_mode)
    assert not (bench.folder / "second").exists()
    assert bench.run("-i", "0", "--job", "mine", "--fresh", "touch", "second").returncode == 0


@_needs_root
def test_a_link_to_a_job_of_somebody_else_is_not_used(bench: Workbench, one_engine: EngineHere, tmp_path: Path) -> None:
    assert one_engine
    (tmp_path / "theirs").mkdir()
    _of_nobody(tmp_path / "theirs")
    bench.jobs.mkdir(mode=0o700)
    (bench.jobs / "mine").symlink_to(tmp_path / "theirs")
    done = bench.run("-i", "0", "--job", "mine", "touch", "first")
    assert done.returncode == 125
    assert "belongs to user 65534" in done.stderr
    assert not list((tmp_path / "theirs").iterdir())


@_needs_root
def test_a_sticky_directory_of_jobs_is_shared_by_users_who_each_have_their_own(
    bench: Workbench, one_engine: EngineHere
) -> None:
    assert one_engine
    bench.jobs.mkdir()
    bench.jobs.chmod(0o1777)
    assert bench.run("-i", "0", "--job", "mine", "true").returncode == 0


def _trap(path: Path) -> Path:
    """Make an executable that leaves a mark when it is executed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_TRAP.format(marker=path.parent.parent / "executed"))
    path.chmod(0o755)
    return path


def _plant_of_nobody(folder: Path, name: str) -> None:
    _of_nobody(_trap(folder / "bin" / name))


def _plant_in_open_folder(folder: Path, name: str) -> None:
    _writable(_trap(folder / "bin" / name).parent)


def _plant_open_file(folder: Path, name: str) -> None:
    _writable(_trap(folder / "bin" / name))


def _plant_link(folder: Path, name: str) -> None:
    _of_nobody(_trap(folder / "theirs" / name))
    (folder / "bin").mkdir()
    (folder / "bin" / name).symlink_to(folder / "theirs" / name)


def _plant_below_open_folder(folder: Path, name: str) -> None:
    _trap(folder / "bin" / name)
    _writable(folder)


_PLANTED = [_plant_of_nobody, _plant_in_open_folder, _plant_open_file, _plant_link, _plant_below_open_folder]


@_needs_root
@pytest.mark.parametrize("name", ["dmtcp_launch", "criu"])
@pytest.mark.parametrize("plant", _PLANTED)
def test_an_engine_that_another_user_could_replace_is_not_executed(
    bench: Workbench, plant: Callable[[Path, str], None], name: str
) -> None:
    folder = bench.folder.parent / "planted"
    folder.mkdir()
    plant(folder, name)
    home = {"HOME": str(bench.folder), "XDG_DATA_HOME": str(bench.folder), "XDG_CACHE_HOME": str(bench.folder)}
    environ = {**bench.environ, **home, "PATH": f"{folder / 'bin'}:/usr/bin:/bin"}
    environ.pop("DMTCP_PREFIX", None)
    engine = "criu" if name == "criu" else "dmtcp"
    done = bench.run("--engine", engine, "true", env=environ)
    assert done.returncode == 125
    assert "could be replaced by another user" in done.stderr
    assert "to use it nevertheless" in done.stderr
    assert not list(folder.rglob("executed"))
    named = {"DMTCP_RUN_CRIU": f"{folder}/bin/criu"} if name == "criu" else {"DMTCP_PREFIX": str(folder)}
    bench.run("--engine", engine, "true", env={**environ, **named})
    is_open = any(
        path.lstat().st_mode & 0o1002 == 0o002 for path in (folder, *folder.rglob("*")) if not path.is_symlink()
    )
    assert bool(list(folder.rglob("executed"))) is not is_open
