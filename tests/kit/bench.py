"""What tests share: the engines on this machine, a job's directory, and lines as a user types them."""

from __future__ import annotations

import difflib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import requires
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import psutil

from dmtcp_py.engine.criu import installation
from dmtcp_py.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RUN = str(Path(sys.executable).with_name("dmtcp-run"))
CTL = str(Path(sys.executable).with_name("dmtcp-ctl"))
REPOSITORY = Path(__file__).parent.parent
WITHOUT = (sys.executable, str(REPOSITORY / "tests" / "zoo" / "without.py"))
"""With the beginning of a setting that it is to leave out, dmtcp-run."""
LONG_S = 120.0
"""A bound for waits, not a duration that anything is expected to take."""
_LEAST_PID = 300
"""What the pids of a program under CRIU are from on, in its namespace; those of the engine are below."""
Found = TypeVar("Found")
_ENGINE_TOOLS = ("dmtcp_coor", "dmtcp_command")


STEADY = """
import os, sys, time
steps, status, signum, megabytes = (int(word) for word in sys.argv[1:])
ballast = bytes(range(256)) * (megabytes << 12)
x = 1
for step in range(1, steps + 1):
    x = (16807 * x + ballast[x % len(ballast)]) % 2147483647
    print(step, x, flush=True)
    time.sleep(0.1)
print("done", steps, x, flush=True)
if signum:
    os.kill(os.getpid(), signum)
sys.exit(status)
"""
"""A program that writes each line at once, and whose images are as large as the test wants them."""

RING = """
import ctypes, mmap, sys, time
ring = ctypes.CDLL(None).syscall(425, 4, ctypes.create_string_buffer(120))
mapped = mmap.mmap(ring, 4096) if ring >= 0 else None
for step in range(40):
    print(step, ring >= 0, flush=True)
    time.sleep(0.1)
"""
"""Asks for a ring of io_uring (io_uring_setup(2), by its number on x86-64 and ARM), as libuv does."""


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


def find_criu() -> tuple[list[EngineHere], str]:
    """Return the CRIU that dmtcp-run would use, where it works for this user; else why not."""
    try:
        found = installation.find()
        problem = installation.problem(found)
        here = EngineHere("criu", found.version, {"DMTCP_RUN_CRIU": str(found.path)}, ("--engine", "criu"))
    except EngineError as error:
        return [], error.what
    return ([], problem) if problem else ([here], "")


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

    def steady(self, steps: int, *, status: int = 0, signum: int = 0, megabytes: int = 1) -> list[str]:
        """Return the line of a program that takes STEPS times 0.1 s and ends with STATUS or by SIGNUM."""
        return [*self.python("steady.py", STEADY), *map(str, (steps, status, signum, megabytes))]

    def python(self, name: str, text: str) -> list[str]:
        """Return the line of a Python program with this TEXT."""
        path = self.folder.parent / name
        path.write_text(text)
        return [sys.executable, str(path)]

    def line(self, *words: str | Path) -> list[str]:
        """Return ``dmtcp-run WORDS`` with what asks for this engine."""
        options = self.engine.options if self.engine else ()
        return [RUN, *options, *map(str, words)]

    def start(self, *words: str | Path, **popen: Any) -> subprocess.Popen[bytes]:
        """Start ``dmtcp-run WORDS`` in the folder; its own lines go to ``stderr.txt`` unless told otherwise."""
        popen.setdefault("stdin", subprocess.DEVNULL)
        popen.setdefault("cwd", self.folder)
        popen.setdefault("env", self.environ)
        with (self.folder / "stderr.txt").open("ab") as said:
            process = subprocess.Popen(self.line(*words), **{"stderr": said, **popen})
        self.started.append(process)
        return process

    def run(self, *words: str | Path, timeout_s: float = LONG_S, **popen: Any) -> subprocess.CompletedProcess[str]:
        """Run ``dmtcp-run WORDS`` to its end."""
        return self._run(self.line(*words), timeout_s, popen)

    def run_without(self, setting: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run ``dmtcp-run WORDS`` to its end, without what it sets whose name begins with SETTING."""
        return self._run([*WITHOUT, setting, *self.line(*words)[1:]], LONG_S, {})

    def ctl(self, *words: str | Path, timeout_s: float = LONG_S, **popen: Any) -> subprocess.CompletedProcess[str]:
        """Run ``dmtcp-ctl WORDS`` to its end."""
        return self._run([CTL, *map(str, words)], timeout_s, popen)

    def _run(self, argv: Sequence[str], timeout_s: float, popen: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        popen.setdefault("stdin", subprocess.DEVNULL)
        popen.setdefault("cwd", self.folder)
        popen.setdefault("env", self.environ)
        popen.setdefault("stdout", subprocess.PIPE)
        popen.setdefault("stderr", subprocess.PIPE)
        return subprocess.run(argv, text=True, timeout=timeout_s, check=False, **popen)

    def wait_lines(self, count: int, process: subprocess.Popen[bytes], name: str = "out.txt") -> None:
        """Wait until file NAME has COUNT more lines than now; PROCESS must live until then."""
        path = self.folder / name
        wanted = _count_lines(path) + count
        wait_until(lambda: _count_lines(path) >= wanted or process.poll() is not None)
        assert process.poll() is None, f"ended with {process.returncode} before that"

    def wait_said(self, text: str, process: subprocess.Popen[bytes]) -> None:
        """Wait until dmtcp-run has written TEXT to ``stderr.txt``; PROCESS must live until then, or end saying it."""
        path = self.folder / "stderr.txt"
        wait_until(lambda: text in path.read_text() or process.poll() is not None)
        assert text in path.read_text()

    def wait_generations(self, count: int, process: subprocess.Popen[bytes]) -> None:
        """Wait until COUNT more generations than now are committed, or PROCESS has ended."""
        wanted = (self.generations or [0])[-1] + count
        wait_until(lambda: (self.generations or [0])[-1] >= wanted or process.poll() is not None)


def _count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _difference(mine: bytes, plain: bytes) -> str:
    texts = [data.decode("utf-8", "backslashreplace").splitlines() for data in (plain, mine)]
    return "\n".join(list(difflib.unified_diff(*texts, "uninterrupted", "resumed", n=1, lineterm=""))[:40])


def wait_until(condition: Callable[[], Found], timeout_s: float = LONG_S) -> Found:
    """Wait for CONDITION, at most TIMEOUT_S, and return what made it true; fail the test where nothing does."""
    until = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < until, f"waited {timeout_s} s in vain"
        time.sleep(0.02)
    return found


def rings_are_given() -> bool:
    """Whether this kernel gives anybody a ring of io_uring."""
    words = [sys.executable, "-c", f"import time; time.sleep = lambda _: None\n{RING}"]
    return b"True" in subprocess.run(words, capture_output=True, timeout=LONG_S, check=True).stdout


def copy_modules(folder: Path) -> Path:
    """Copy dmtcp_py and what it needs to FOLDER, for a user who cannot read root's; return it, for PYTHONPATH."""
    needed = [re.split(r"[^\w.]", words)[0] for words in requires("dmtcp-py") or [] if "extra ==" not in words]
    for name in ("dmtcp_py", *needed):
        found = importlib.util.find_spec(name)
        assert found is not None
        assert found.origin is not None
        shutil.copytree(Path(found.origin).parent, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def descendants(pid: int) -> list[psutil.Process]:
    """Return all processes below PID."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def program_of(process: subprocess.Popen[bytes]) -> psutil.Process | None:
    """Return the first process of the program that a dmtcp-run runs, or the restart that it will be."""
    with suppress(psutil.NoSuchProcess):
        supervisor = psutil.Process(process.pid)
        if _is_in_namespace(supervisor):
            return next((one for one in supervisor.children(recursive=True) if _is_below_init(one)), None)
        for child in supervisor.children():
            # restarted programs have no words any more, forks of ours that are no tool yet have ours
            words = child.cmdline()
            is_ours = "dmtcp-run-guard" in words or words == supervisor.cmdline()
            if not is_ours and not child.name().startswith(_ENGINE_TOOLS) and child.status() != psutil.STATUS_ZOMBIE:
                return child
    return None


def needed_for_checkpoints(process: subprocess.Popen[bytes]) -> psutil.Process | None:
    """Return a process without which no checkpoint of a dmtcp-run comes to its end: CRIU's keeper, or the program."""
    program = program_of(process)
    if program is None or _inner_pid(program) is None:
        return program
    init = program.parent()
    return init.parent() if init else None


def _is_in_namespace(supervisor: psutil.Process) -> bool:
    """Whether a program runs, or ran until now, as the CRIU engine runs it."""
    return any(_inner_pid(one) for one in supervisor.children(recursive=True)) or "criu" in supervisor.cmdline()


def _is_below_init(one: psutil.Process) -> bool:
    """Whether it is the first process of a program under CRIU: a child of the init, which the keeper started."""
    pids = [_inner_pid(process) or 0 for process in (one, *one.parents()[:2])]
    return pids[0] > _LEAST_PID and pids[1] >= _LEAST_PID and pids[2] == 1


def _inner_pid(one: psutil.Process) -> int | None:
    """Return the pid in a namespace below ours; None where it is in ours."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{one.pid}/status").read_text().splitlines()
        pids = next(line for line in lines if line.startswith("NSpid:")).split()[1:]
        is_dead = any(line.startswith("State:\tZ") for line in lines)
        return int(pids[-1]) if len(pids) > 1 and not is_dead else None
    return None


def coordinator_of(process: subprocess.Popen[bytes]) -> psutil.Process | None:
    """Return DMTCP's coordinator of a dmtcp-run; it renames itself to ``dmtcp_coor:PORT``."""
    for child in descendants(process.pid):
        with suppress(psutil.NoSuchProcess):
            if child.name().startswith("dmtcp_coor"):
                return child
    return None


def run_on(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Let PROCESS run for SECONDS; it may not end in them."""
    with suppress(subprocess.TimeoutExpired):
        status = process.wait(seconds)
        raise AssertionError(f"ended with {status} where it should have run on")


def is_alive(process: psutil.Process | None) -> bool:
    """Whether PROCESS is there and has not ended."""
    with suppress(psutil.NoSuchProcess):
        return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a dmtcp-run and everything below it, as the end of a batch job or the death of a node does."""
    below = descendants(process.pid)
    for victim in (process.pid, *(one.pid for one in below)):
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait(LONG_S)
    wait_until(lambda: not any(map(is_alive, below)))
