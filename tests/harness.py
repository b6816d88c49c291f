"""What tests share: the engines on this machine, a job's directory, and lines as a user types them."""

from __future__ import annotations

import difflib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RUN = str(Path(sys.executable).with_name("dmtcp-run"))
CTL = str(Path(sys.executable).with_name("dmtcp-ctl"))
REPOSITORY = Path(__file__).parent.parent
LONG_S = 120.0
"""A bound for waits, not a duration that anything is expected to take."""


@dataclass(frozen=True)
class EngineHere:
    """An engine that this machine has, and how a line asks for it."""

    name: str
    version: str
    environ: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}-{self.version}"


def find_dmtcp() -> list[EngineHere]:
    """Return each DMTCP on PATH, in DMTCP_PREFIX, in DMTCP_PREFIXES (colons between) and in /opt/dmtcp*."""
    on_path = shutil.which("dmtcp_launch")
    prefixes = [Path(on_path).parent.parent] if on_path else []
    named = [os.environ.get("DMTCP_PREFIX", ""), *os.environ.get("DMTCP_PREFIXES", "").split(":")]
    prefixes += [Path(name) for name in named if name]
    prefixes += sorted(Path("/opt").glob("dmtcp*"))
    found: dict[Path, EngineHere] = {}
    for prefix in prefixes:
        tool = prefix / "bin" / "dmtcp_launch"
        if tool.is_file() and prefix.resolve() not in found:
            output = subprocess.run([tool, "--version"], capture_output=True, text=True, timeout=20, check=False)
            version = (output.stdout + output.stderr).partition("(DMTCP)")[2].split()
            if version:
                environ = {"DMTCP_PREFIX": str(prefix)}
                found[prefix.resolve()] = EngineHere("dmtcp", version[0], environ)
    return list(found.values())


@dataclass
class Workbench:
    """A folder in which a test types lines, with an engine."""

    folder: Path
    engine: EngineHere | None
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of every line: nothing of a scheduler's, temporary files in a folder of their own."""
        schedulers = ("SLURM_", "PBS_", "LSB_", "SGE_", "DMTCP_")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(schedulers)}
        environ["TMPDIR"] = str(self.temporary)
        return {**environ, **(self.engine.environ if self.engine else {})}

    @property
    def temporary(self) -> Path:
        """Where temporary files go; empty when nothing runs."""
        path = self.folder.parent / "temporary"
        path.mkdir(exist_ok=True)
        return path

    @property
    def jobs(self) -> Path:
        """Where dmtcp-run keeps its jobs."""
        return self.folder / ".dmtcp-run"

    @property
    def job(self) -> Path:
        """The folder of the only job."""
        (found,) = [path for path in self.jobs.iterdir() if path.is_dir()]
        return found

    @property
    def history(self) -> list[dict[str, Any]]:
        """The lines of the only job's history."""
        return [json.loads(line) for line in (self.job / "history.jsonl").read_text().splitlines()]

    @property
    def events(self) -> list[str]:
        """What happened, by name."""
        return [line["event"] for line in self.history]

    @property
    def generations(self) -> list[int]:
        """The numbers of the complete generations of the only job."""
        if not self.jobs.is_dir() or not any(path.is_dir() for path in self.jobs.iterdir()):
            return []
        folder = self.job / "generations"
        return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []

    @property
    def plain(self) -> Path:
        """A folder like this one, in which the same programs run without dmtcp-run."""
        path = self.folder.parent / "plain"
        path.mkdir(exist_ok=True)
        return path

    def start_plain(self, *words: str | Path, stdin: int | IO[bytes] = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start WORDS without dmtcp-run, beside; its streams go to ``out.txt`` and ``err.txt`` there."""
        with (self.plain / "out.txt").open("wb") as out, (self.plain / "err.txt").open("wb") as err:
            argv = [str(word) for word in words]
            process = subprocess.Popen(argv, stdin=stdin, stdout=out, stderr=err, cwd=self.plain, env=self.environ)
        self.started.append(process)
        return process

    def assert_same(self, *names: str) -> None:
        """Assert that files NAMES are byte for byte what the run without dmtcp-run wrote."""
        for name in names:
            mine, plain = (self.folder / name).read_bytes(), (self.plain / name).read_bytes()
            assert mine == plain, f"{name} is not what an uninterrupted run writes:\n{_difference(mine, plain)}"

    def line(self, *words: str | Path) -> list[str]:
        """Return ``dmtcp-run WORDS`` with what asks for this engine."""
        options = self.engine.options if self.engine else ()
        return [RUN, *options, *map(str, words)]

    def start(self, *words: str | Path, **popen: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 - Popen's own
        """Start ``dmtcp-run WORDS`` in the folder; its own lines go to ``stderr.txt`` unless told otherwise."""
        popen.setdefault("stdin", subprocess.DEVNULL)
        popen.setdefault("stderr", (self.folder / "stderr.txt").open("ab"))
        popen.setdefault("cwd", self.folder)
        popen.setdefault("env", self.environ)
        process = subprocess.Popen(self.line(*words), **popen)
        self.started.append(process)
        return process

    def run(self, *words: str | Path, timeout_s: float = LONG_S, **popen: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401
        """Run ``dmtcp-run WORDS`` to its end."""
        return self._run(self.line(*words), timeout_s, popen)

    def ctl(self, *words: str | Path, timeout_s: float = LONG_S, **popen: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401
        """Run ``dmtcp-ctl WORDS`` to its end."""
        return self._run([CTL, *map(str, words)], timeout_s, popen)

    def _run(self, argv: Sequence[str], timeout_s: float, popen: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        popen.setdefault("stdin", subprocess.DEVNULL)
        popen.setdefault("cwd", self.folder)
        popen.setdefault("env", self.environ)
        popen.setdefault("stdout", subprocess.PIPE)
        popen.setdefault("stderr", subprocess.PIPE)
        return subprocess.run(argv, text=True, timeout=timeout_s, check=False, **popen)

    def wait_generations(self, count: int, process: subprocess.Popen[bytes]) -> None:
        """Wait until COUNT more generations than now are committed, or PROCESS has ended."""
        wanted = (self.generations or [0])[-1] + count
        wait_until(lambda: (self.generations or [0])[-1] >= wanted or process.poll() is not None)


def _difference(mine: bytes, plain: bytes) -> str:
    texts = [data.decode("utf-8", "backslashreplace").splitlines() for data in (plain, mine)]
    return "\n".join(list(difflib.unified_diff(*texts, "uninterrupted", "resumed", n=1, lineterm=""))[:40])


def wait_until(condition: Callable[[], object], timeout_s: float = LONG_S) -> None:
    """Wait for CONDITION, at most TIMEOUT_S; fail the test where it does not come true."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, f"waited {timeout_s} s in vain"
        time.sleep(0.02)


def descendants(pid: int) -> list[psutil.Process]:
    """Return all processes below PID."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a dmtcp-run and everything below it, as the end of a batch job or the death of a node does."""
    below = descendants(process.pid)
    for victim in (process.pid, *(one.pid for one in below)):
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait(LONG_S)
    wait_until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in below))
