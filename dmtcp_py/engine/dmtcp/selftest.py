"""A test of the plugin for computations on several hosts, with the DMTCP that is installed here.

The plugin depends on DMTCP's internals, so no version number is trusted: each build is tested, once for each user. For
DMTCP, two processes with two temporary folders are on two hosts, which needs no privileges: its barriers within a host
do not include both, and without the plugin their checkpoint hangs, as on two real hosts. Whether the address published
at a restart would be right on another host shows in the plugin's report only, as here any address works.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.engine.dmtcp.coordinator import Coordinator
from dmtcp_py.engine.dmtcp.installation import clean
from dmtcp_py.errors import EngineError
from dmtcp_py.native import built
from dmtcp_py.system.cache import facts_of, remember, remembered
from dmtcp_py.system.child import Child, ChildStdio
from dmtcp_py.system.timeout import Timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dmtcp_py.engine.dmtcp.installation import Installation

REPORT = "DMTCP_RUN_HOSTS_REPORT"
"""The environment variable with the name of the file to which the plugin appends what it did."""
PLUGIN = "hosts"
NOT_BUILT = "the plugin for several hosts was not built: there was no C compiler when dmtcp-py was installed"
_WAIT_S = 20.0
_POLL_S = 0.05
_REPORTS = {
    "barrier Socket::Drain global": "it does not change the barrier Socket::Drain, and a checkpoint would hang",
    "listener 0.0.0.0 ": "it does not change the addresses of listeners, and a restart would not find them",
    "buffers capped opened": "it does not cap the buffers of connections, and full ones would hang a restart",
}
"""The lines that the plugin has to report, and what it means if one is missing."""
_PAIR = """
import os, socket, sys, time
role, port = sys.argv[1:]
if role == "server":
    listener = socket.create_server(("127.0.0.1", 0))
    with open(port + ".new", "w") as file:
        file.write(str(listener.getsockname()[1]))
    os.rename(port + ".new", port)
    peer = listener.accept()[0].makefile("rwb")
    for line in peer:
        is_last = os.path.exists("end")
        peer.write(b"end\\n" if is_last else b"%d\\n" % (int(line) + 1))
        peer.flush()
        if is_last:
            sys.exit(0)
        time.sleep(0.01)
    sys.exit("the client is gone")
while not os.path.exists(port):
    time.sleep(0.01)
with open(port) as file:
    peer = socket.create_connection(("127.0.0.1", int(file.read()))).makefile("rwb")
number = 0
while True:
    peer.write(b"%d\\n" % number)
    peer.flush()
    line = peer.readline()
    if line == b"end\\n":
        sys.exit(0)
    assert int(line) == number + 1
    number += 1
    if number == 3:
        os.close(os.open("begun", os.O_CREAT | os.O_WRONLY, 0o600))
"""


def refusal(dmtcp: Installation) -> str | None:
    """Return why DMTCP cannot checkpoint a computation on several hosts; None if it can.

    This takes some seconds the first time. A success is remembered until DMTCP or the plugin changes; after a failure
    the test runs again the next time, as the cause may have gone.
    """
    plugin = built(PLUGIN)
    if plugin is None:
        return NOT_BUILT
    facts = _facts(dmtcp, plugin)
    if remembered(PLUGIN, facts) is not None:
        return None
    try:
        with tempfile.TemporaryDirectory(prefix="dmtcp-run-hosts-") as folder:
            found = _Trial(dmtcp, plugin, Path(folder)).run()
    except EngineError as error:
        found = error.what
    if found is None:
        remember(PLUGIN, facts, f"{dmtcp.bin} {dmtcp.version}\n")
        return None
    return f"the plugin for several hosts does not work with this DMTCP {dmtcp.version}: {found}"


def _facts(dmtcp: Installation, plugin: Path) -> list[str]:
    """Return what the result depends on: the builds of DMTCP and of the plugin."""
    prefix = dmtcp.bin.resolve().parent
    parts = [plugin, *sorted(prefix.glob("lib*/dmtcp/*.so")), *sorted(prefix.glob("lib/*/dmtcp/*.so"))]
    return [dmtcp.version, str(prefix), *map(facts_of, parts)]


class _Trial:
    """A client and a server, for DMTCP on two hosts: checkpointed, killed and restarted in FOLDER."""

    def __init__(self, dmtcp: Installation, plugin: Path, folder: Path) -> None:
        self._dmtcp, self._plugin, self._folder = dmtcp, plugin, folder
        plain = clean(os.environ)
        self._env = {**plain, REPORT: str(folder / "report"), "JALIB_STDERR_PATH": str(folder / "messages")}
        for name in ("server", "client"):
            (folder / name / "tmp").mkdir(parents=True)
            (folder / name / "images").mkdir()

    def run(self) -> str | None:
        """Return what failed; None if all worked."""
        with ExitStack() as stack:
            coordinator, programs = self._launch(stack)
            if not _wait((self._folder / "begun").exists, programs) or not _all_run(coordinator, programs):
                return "two test programs did not start"
            coordinator.command("--checkpoint")
            if not coordinator.wait_for(lambda log: log.checkpoints_complete > 0, _WAIT_S):
                return "a checkpoint on two hosts hung"
        missing = self._missing_report("barrier")
        if missing:
            return missing
        with ExitStack() as stack:
            coordinator, programs = self._restart(stack)
            if not _all_run(coordinator, programs):
                return "a restart on two hosts failed"
            (self._folder / "end").touch()
            endings = [program.wait(_WAIT_S) for program in programs]
            if any(ending is None or ending.status != 0 for ending in endings):
                return "programs that were restarted on two hosts did not finish"
        return self._missing_report("")

    def _missing_report(self, kind: str) -> str | None:
        report = self._folder / "report"
        text = report.read_text(encoding="utf-8", errors="replace") if report.exists() else ""
        wanted = {line: meaning for line, meaning in _REPORTS.items() if line.startswith(kind)}
        return next((meaning for line, meaning in wanted.items() if line not in text), None)

    def _launch(self, stack: ExitStack) -> tuple[Coordinator, list[Child]]:
        def line(name: str) -> list[str]:
            images = str(self._folder / name / "images")
            options = ["--ckptdir", images, "--no-gzip", "--with-plugin", str(self._plugin)]
            return [*options, sys.executable, "-I", "-S", "-c", _PAIR, name, "port"]

        return self._start(stack, "dmtcp_launch", line)

    def _restart(self, stack: ExitStack) -> tuple[Coordinator, list[Child]]:
        def line(name: str) -> list[str]:
            images = self._folder / name / "images"
            return ["--ckptdir", str(images), *map(str, images.glob("*.dmtcp"))]

        return self._start(stack, "dmtcp_restart", line)

    def _start(self, stack: ExitStack, tool: str, line: Callable[[str], list[str]]) -> tuple[Coordinator, list[Child]]:
        """Start a coordinator and both programs, which closing STACK kills."""
        coordinator = Coordinator(
            self._dmtcp, clean(os.environ), _make_empty(self._folder / "coordinator"), self._folder
        )
        stack.callback(coordinator.stop)
        programs = []
        for name in ("server", "client"):
            argv = [self._dmtcp.tool(tool), "--quiet", "--quiet", "--join-coordinator", *coordinator.address]
            argv += ["--tmpdir", str(self._folder / name / "tmp"), *line(name)]
            programs.append(_child(argv, self._env, self._folder, is_restart=tool == "dmtcp_restart"))
            stack.callback(_kill, programs[-1])
        return coordinator, programs


def _child(argv: list[str], env: Mapping[str, str], folder: Path, *, is_restart: bool) -> Child:
    # dmtcp_restart creates the images' session itself
    nothing = ChildStdio(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    there = ["env", "--chdir", str(folder), *argv]
    return Child(
        there, env=env, own_session=not is_restart, dies_with_us=True, fixed_addresses=is_restart, stdio=nothing
    )


def _kill(program: Child) -> None:
    if program.poll() is None:
        program.signal(signal.SIGKILL)
    program.stop()


def _make_empty(folder: Path) -> Path:
    if folder.exists():
        (folder / "port").unlink()
    folder.mkdir(exist_ok=True)
    return folder


def _all_run(coordinator: Coordinator, programs: list[Child]) -> bool:
    def do_run() -> bool:
        status = coordinator.status()
        return status.is_running and status.peers == len(programs)

    return _wait(do_run, programs)


def _wait(condition: Callable[[], bool], programs: list[Child]) -> bool:
    """Wait for CONDITION; return whether it came true before one of PROGRAMS ended."""
    timeout = Timeout(_WAIT_S)
    while not timeout.is_over():
        if condition():
            return True
        if any(program.wait(_POLL_S) for program in programs):
            return False
    return False
