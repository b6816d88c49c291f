"""Fixtures: every engine on this machine, the example programs, a workbench that must be clean afterwards."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from kit.bench import Workbench
from kit.engines import EngineHere, find_criu, find_dmtcp, reaching, without_privileges
from kit.long_form import share_out
from kit.places import REPOSITORY
from kit.processes import descendants
from kit.waits import LONG_S, happens, wait_until
from rerun_failed import END

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_CHARS = 100
_PR_SET_CHILD_SUBREAPER = 36
_HANDLERS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGQUIT: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}


CRIU, WHY_NO_CRIU = find_criu()
ENGINES = [*find_dmtcp(), *CRIU]
WITHOUT_PRIVILEGES = without_privileges(CRIU)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let ``rerun_failed.py`` know what failed."""
    parser.addoption("--failures-to", metavar="FILE", help="write a line of JSON for each test that fails to FILE")


class FailureList:
    """Writes what failed to a file: one line of JSON a failure, and one at the end."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write the test and the first line of why it failed."""
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = (crash.message if crash else str(report.longrepr)).strip().splitlines() or ["it says nothing"]
            self._write({"test": report.nodeid, "why": why[0][:MOST_CHARS]})

    def pytest_sessionfinish(self) -> None:
        """Say that the run reached its end."""
        self._write(END)
        self._file.close()

    def _write(self, values: dict[str, Any]) -> None:
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()


def pytest_configure(config: pytest.Config) -> None:
    """Adopt orphans, so that what a test leaves behind is found."""
    path = config.getoption("--failures-to", None)
    if path is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailureList(Path(path)))
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # in the background or under nohup they are ignored, and all that is started here would inherit that
    for number, handler in _HANDLERS.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_report_header() -> str:
    """Say which engines the tests run against."""
    return "engines: " + (
        ", ".join(map(str, [*ENGINES, *WITHOUT_PRIVILEGES])) or "none: every test of an engine is skipped"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes ``engine`` against each engine, ``one_engine`` against the first, ``criu`` against CRIU.

    ``one_of_each`` is the first DMTCP and CRIU, ``one_dmtcp`` the first DMTCP. In a module marked so, what
    takes ``engine`` or ``criu`` runs once more with CRIU as an ordinary user has it.
    """
    is_marked = metafunc.definition.get_closest_marker("plain_user_too") is not None
    more = WITHOUT_PRIVILEGES if is_marked else []
    if "engine" in metafunc.fixturenames:
        _against(metafunc, "engine", [*ENGINES, *more])
    if "one_engine" in metafunc.fixturenames:
        _against(metafunc, "one_engine", ENGINES[:1])
    dmtcp = [engine for engine in ENGINES if engine.name == "dmtcp"][:1]
    if "one_dmtcp" in metafunc.fixturenames:
        _against(metafunc, "one_dmtcp", dmtcp, "DMTCP is not on this machine")
    if "one_of_each" in metafunc.fixturenames:
        _against(metafunc, "one_of_each", [*dmtcp, *CRIU])
    if "criu" in metafunc.fixturenames:
        _against(metafunc, "criu", [*CRIU, *more], f"CRIU does not work here: {WHY_NO_CRIU}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to the long form what would take too long."""
    share_out(items, ENGINES)


def _against(
    metafunc: pytest.Metafunc, name: str, engines: list[EngineHere], why_none: str = "no engine works on this machine"
) -> None:
    skip = pytest.param(None, id="none", marks=pytest.mark.skip(reason=why_none))
    metafunc.parametrize(name, [pytest.param(engine, id=str(engine)) for engine in engines] or [skip])


@pytest.fixture
def engines_here() -> list[EngineHere]:
    """Return the engines that the tests run against."""
    return ENGINES


@pytest.fixture
def bench(
    request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workbench]:
    """Give a workbench with the test's engine; nothing may be left behind by the lines typed there."""
    names = [
        name for name in ("engine", "one_engine", "one_dmtcp", "one_of_each", "criu") if name in request.fixturenames
    ]
    folder = tmp_path / "work"
    folder.mkdir()
    engine = request.getfixturevalue(names[0]) if names else None
    if engine is not None:
        engine = reaching(engine, tmp_path_factory.getbasetemp())
    bench = Workbench(folder, engine)
    yield bench
    for process in bench.started:
        if process.poll() is None:
            process.kill()
            process.wait(LONG_S)
    try:
        wait_until(lambda: not _left_behind(), 20)
        left = []
    except AssertionError:
        left = [" ".join(one.cmdline()) for one in _left_behind()]
        for one in _left_behind():
            one.kill()
    assert not left, f"processes were left behind: {left}"
    assert happens(lambda: not list(bench.temporary.iterdir()), 20), f"left: {sorted(bench.temporary.rglob('*'))}"
    shutil.rmtree(bench.temporary)


def _left_behind() -> list[psutil.Process]:
    """Return living processes below us, after reaping the dead ones that nobody waits for."""
    living = []
    for one in descendants(os.getpid()):
        try:
            if one.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(one.pid, os.WNOHANG)
            elif "execnet" not in " ".join(one.cmdline()) and "forkserver" not in " ".join(one.cmdline()):
                living.append(one)
        except (psutil.NoSuchProcess, ChildProcessError):
            continue
    return living


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the example programs, and give their folder."""
    folder = tmp_path_factory.mktemp("examples")
    folder.chmod(0o755)
    build = ["make", "-C", str(REPOSITORY / "examples"), f"BUILD={folder}"]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    return folder


@pytest.fixture(autouse=True)
def _plain_signals() -> Iterator[None]:
    """Check that tests that run an attempt in this process leave its signals as they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)}
    yield
    assert before == {number: signal.getsignal(number) for number in before}
