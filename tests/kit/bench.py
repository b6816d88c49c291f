"""The bench: a folder in which a test types lines with an engine, and looks at what comes of them.

What a job keeps in its folder is read by `kit.jobs`; a folder on a cluster has a bench too, see `kit.desk`.
"""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Union

from kit.jobs import events_of, generations_of, history_of, jobs_in, manifest_of
from kit.places import CTL, PROGRAM_FILES, RUN, WITHOUT
from kit.processes import kill_all, run_times_ns
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from kit.engines import EngineHere

    Process = subprocess.Popen[bytes]

_COMPUTED_NS = 200_000
"""So much time on a processor shows that a program has run on."""


Progress = Union[str, "Callable[[], object]", None]
"""What shows that a program has run beyond its newest generation.

The name of the file that it prints to: that is longer than the generation knows. A function: what it returns has
changed since. Or, for programs that print into a buffer, None: their processes have computed since.
"""


@dataclass
class Workbench:
    """A FOLDER in which a test types lines, with an ENGINE.

    File MESSAGES in it has what dmtcp-run prints, which COMMAND starts; REPORT is what else belongs to the message of a
    failed wait.
    """

    folder: Path
    engine: EngineHere | None
    messages: str = "stderr.txt"
    command: Sequence[str] = (RUN,)
    report: Callable[[], str] = str
    started: list[Process] = field(default_factory=list)

    # where things are

    @property
    def environ(self) -> dict[str, str]:
        """The environment of every line: nothing of a scheduler's, temporary files in a folder of their own."""
        schedulers = ("SLURM_", "PBS_", "LSB_", "SGE_", "DMTCP_")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(schedulers)}
        environ["TMPDIR"] = str(self.temporary)
        # what is printed does not depend on the terminal of whoever tests
        environ["NO_COLOR"] = "1"
        environ["XDG_CONFIG_HOME"] = str(self.folder.parent / "config")
        return {**environ, **(self.engine.environ if self.engine else {})}

    @property
    def temporary(self) -> Path:
        """Where temporary files go; empty when nothing runs."""
        path = self.folder.parent / "temporary"
        path.mkdir(exist_ok=True)
        return path

    @property
    def plain(self) -> Path:
        """A folder like this one, in which the same programs run without dmtcp-run."""
        path = self.folder.parent / "plain"
        path.mkdir(exist_ok=True)
        return path

    # what dmtcp-run keeps

    @property
    def jobs(self) -> Path:
        """Where dmtcp-run keeps its jobs."""
        return self.folder / ".dmtcp-run"

    @property
    def job(self) -> Path:
        """The folder of the only job."""
        (found,) = jobs_in(self.jobs)
        return found

    @property
    def history(self) -> list[dict[str, Any]]:
        """The lines of the only job's history; none before there is a job."""
        return history_of(self.job) if jobs_in(self.jobs) else []

    @property
    def events(self) -> list[str]:
        """What happened to the only job, by name."""
        return events_of(self.job) if jobs_in(self.jobs) else []

    @property
    def generations(self) -> list[int]:
        """The numbers of the complete generations of the only job."""
        return generations_of(self.job) if jobs_in(self.jobs) else []

    @property
    def newest(self) -> int:
        """The number of the newest generation; 0 before there is one."""
        return (self.generations or [0])[-1]

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest of the newest generation."""
        return manifest_of(self.job, self.newest)

    # lines

    def line(self, *words: str | Path) -> list[str]:
        """Return ``dmtcp-run WORDS`` with what asks for this engine, as its user types it."""
        return self.typed(self.asking(*words))

    def asking(self, *words: str | Path) -> list[str]:
        """Return ``dmtcp-run WORDS`` with what asks for this engine, for a script that its user runs."""
        options = self.engine.options if self.engine else ()
        return [*self.command, *options, *map(str, words)]

    def typed(self, argv: Sequence[str | Path]) -> list[str]:
        """Return ARGV as the engine's user types it."""
        user = self.engine.user if self.engine else None
        # what the line needs there has to be the user's
        self.temporary.touch()
        return user.typing(argv, self.folder.parent) if user else list(map(str, argv))

    def program(self, name: str, *words: object) -> list[str]:
        """Return the line of the Python program NAME in tests/programs/."""
        return [sys.executable, str(PROGRAM_FILES / name), *map(str, words)]

    def counting(self, steps: int, *, signum: int = 0, megabytes: int = 1, **options: object) -> list[str]:
        """Return the line of the program that counts: STEPS times 0.1 s, unless OPTIONS say otherwise."""
        return self.program("count.py", *count_words(steps, signal=signum, ballast=megabytes, **options))

    def python(self, name: str, text: str) -> list[str]:
        """Return the line of a Python program with this TEXT."""
        path = self.folder.parent / name
        path.write_text(text)
        return [sys.executable, str(path)]

    def start(self, *words: str | Path, **popen: Any) -> Process:
        """Start ``dmtcp-run WORDS`` in the folder; its own lines go to `messages` unless POPEN says otherwise."""
        return self.start_line(self.line(*words), **popen)

    def start_line(self, line: Sequence[str], **popen: Any) -> Process:
        """Start LINE as `start` does."""
        popen.setdefault("stdin", subprocess.DEVNULL)
        popen.setdefault("cwd", self.folder)
        popen.setdefault("env", self.environ)
        with (self.folder / self.messages).open("ab") as said:
            process = subprocess.Popen(line, **{"stderr": said, **popen})
        self.started.append(process)
        return process

    def start_plain(self, *words: str | Path, stdin: int | IO[bytes] = subprocess.DEVNULL) -> Process:
        """Start WORDS without dmtcp-run, beside; its streams go to ``out.txt`` and ``err.txt`` there."""
        with (self.plain / "out.txt").open("wb") as out, (self.plain / "err.txt").open("wb") as err:
            argv = [str(word) for word in words]
            process = subprocess.Popen(argv, stdin=stdin, stdout=out, stderr=err, cwd=self.plain, env=self.environ)
        self.started.append(process)
        return process

    def run(self, *words: str | Path, timeout_s: float = LONG_S, **popen: Any) -> subprocess.CompletedProcess[str]:
        """Run ``dmtcp-run WORDS`` to its end."""
        return self._run(self.line(*words), timeout_s, popen)

    def run_without(self, setting: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run ``dmtcp-run WORDS`` to its end, without what it sets whose name begins with SETTING."""
        options = self.engine.options if self.engine else ()
        return self._run(self.typed([*WITHOUT, setting, *options, *words]), LONG_S, {})

    def ctl(self, *words: str | Path, timeout_s: float = LONG_S, **popen: Any) -> subprocess.CompletedProcess[str]:
        """Run ``dmtcp-ctl WORDS`` to its end."""
        return self._run(self.typed([CTL, *words]), timeout_s, popen)

    def _run(self, argv: Sequence[str], timeout_s: float, popen: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        popen.setdefault("stdin", subprocess.DEVNULL)
        popen.setdefault("cwd", self.folder)
        popen.setdefault("env", self.environ)
        popen.setdefault("stdout", subprocess.PIPE)
        popen.setdefault("stderr", subprocess.PIPE)
        return subprocess.run(argv, text=True, timeout=timeout_s, check=False, **popen)

    # what was printed

    def said(self, name: str | None = None) -> str:
        """Return what file NAME has until now: what dmtcp-run has printed, unless another one is named."""
        path = self.folder / (name or self.messages)
        return path.read_text(errors="replace") if path.exists() else ""

    def said_with(self, text: str, name: str | None = None) -> str:
        """Return the one line with TEXT in file NAME."""
        found = [line for line in self.said(name).splitlines() if text in line]
        assert len(found) == 1, f"{len(found)} lines with {text!r} in:\n{self.said(name)}"
        return found[0]

    # waits

    def wait_said(self, text: str, process: Process | None = None, name: str | None = None) -> None:
        """Wait until file NAME has TEXT; PROCESS must live until then, or end with it."""
        self._wait(lambda: text in self.said(name), process, repr(text))
        assert text in self.said(name)

    def wait_lines(self, count: int, process: Process, name: str = "out.txt") -> None:
        """Wait until file NAME has COUNT more lines than now; PROCESS must live until then."""
        path = self.folder / name
        wanted = _count_lines(path) + count
        self._wait(lambda: _count_lines(path) >= wanted, process, f"{count} lines")
        assert process.poll() is None, f"ended with {process.returncode} before that:\n{self.said()}"

    def wait_steps(self, step: int, name: str = "out.txt") -> None:
        """Wait until a program that counts has come to STEP."""
        self._wait(lambda: f"\n{step} " in f"\n{self.said(name)}", None, f"step {step}")

    def wait_generation(self, number: int) -> None:
        """Wait until generation NUMBER is committed."""
        self._wait(lambda: number in self.generations, None, f"generation {number}")

    def wait_generations(self, count: int, process: Process) -> None:
        """Wait until COUNT more generations than now are committed, or PROCESS has ended."""
        wanted = self.newest + count
        self._wait(lambda: self.newest >= wanted, process, f"generation {wanted}")

    def wait_beyond_checkpoint(self, process: Process, by: Progress = "out.txt") -> None:
        """Wait until the program has run beyond its newest generation, as BY shows; PROCESS must live until then."""
        self._wait(self.beyond_checkpoint(process, by), process, "the program to run beyond its checkpoint")
        assert process.poll() is None, f"ended with {process.returncode} before that:\n{self.said()}"

    def beyond_checkpoint(self, process: Process, by: Progress = "out.txt") -> Callable[[], bool]:
        """Return what tells whether the program has run beyond its newest generation: see `Progress`."""
        if isinstance(by, str):
            return lambda: self._has_written_more(self.folder / by)
        return self._has_computed(process) if by is None else self._has_changed(by)

    def _has_written_more(self, path: Path) -> bool:
        known = self.manifest["stdout_size"] if self.newest else 0
        assert known is not None, "only for --stdout does the manifest have the size of the output"
        return path.exists() and path.stat().st_size > known

    def _has_changed(self, look: Callable[[], object]) -> Callable[[], bool]:
        before: dict[int, object] = {}
        return lambda: before.setdefault(self.newest, now := look()) != now

    def _has_computed(self, process: Process) -> Callable[[], bool]:
        before: dict[int, dict[int, int]] = {}

        def has_computed() -> bool:
            now = run_times_ns(process)
            then = before.setdefault(self.newest, now) if now else now
            return sum(ns - then.get(thread, 0) for thread, ns in now.items()) > _COMPUTED_NS

        return has_computed

    def _wait(self, condition: Callable[[], bool], process: Process | None, what: str) -> None:
        """Wait until CONDITION, or the end of PROCESS."""
        try:
            wait_until(lambda: condition() or (process is not None and process.poll() is not None))
        except AssertionError as error:
            raise AssertionError(f"{error} for {what}:\n{self.said()}{self.report()}") from None

    # crashes, and what comes of them

    def crash(
        self, line: Sequence[str | Path], *, times: int = 1, progress: Progress = "out.txt", **popen: Any
    ) -> None:
        """Run LINE, and SIGKILL all of it beyond a new generation, TIMES times; PROGRESS shows that it is beyond."""
        for _ in range(times):
            process = self.start(*line, **popen)
            self.wait_generations(1, process)
            self.wait_beyond_checkpoint(process, progress)
            kill_all(process)

    def assert_survives(
        self,
        program: Sequence[str | Path],
        *names: str,
        options: Sequence[str | Path] = ("-i", "1"),
        times: int = 1,
        status: int = 0,
        progress: Progress = "out.txt",
    ) -> None:
        """Assert that PROGRAM, killed TIMES times, ends as an uninterrupted run: STATUS, output and files NAMES."""
        line = [*options, "--stdout", "out.txt", *program]
        plain = self.start_plain(*program)
        self.crash(line, times=times, progress=progress)
        assert self.start(*line).wait(LONG_S) == status
        assert plain.wait(LONG_S) == status
        assert self.events.count("resumed") >= times
        self.assert_same("out.txt", *names)

    def assert_same(self, *names: str) -> None:
        """Assert that files NAMES are byte for byte what the run without dmtcp-run wrote."""
        for name in names:
            mine, plain = (self.folder / name).read_bytes(), (self.plain / name).read_bytes()
            assert mine == plain, f"{name} is not what an uninterrupted run writes:\n{_difference(mine, plain)}"

    def assert_counted(self, steps: int, name: str = "out.txt") -> None:
        """Assert that file NAME is what an uninterrupted run of the program that counts prints."""
        mine, plain = (self.folder / name).read_bytes(), counted(steps)
        assert mine == plain, f"{name} is not what was to be printed:\n{_difference(mine, plain)}{self.said()}"

    def assert_done_once(self, steps: int, ledger: str = "ledger.txt") -> None:
        """Assert that the program that counts has done each of its STEPS once."""
        assert (self.folder / ledger).read_text().split() == [str(step) for step in range(1, steps + 1)]


def count_words(steps: int, **options: object) -> list[str]:
    """Return the words of the program that counts, with those OPTIONS that are not empty, zero or False."""
    asked = {name.replace("_", "-"): value for name, value in options.items() if value}
    return [str(steps), *(f"--{name}" if value is True else f"--{name}={value}" for name, value in asked.items())]


def counted(steps: int) -> bytes:
    """Return what the program that counts prints."""
    argv = [sys.executable, PROGRAM_FILES / "count.py", *count_words(steps, pause="0")]
    return subprocess.run(argv, capture_output=True, timeout=LONG_S, check=True).stdout


def _count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _difference(mine: bytes, plain: bytes) -> str:
    texts = [data.decode("utf-8", "backslashreplace").splitlines() for data in (plain, mine)]
    return "\n".join(list(difflib.unified_diff(*texts, "uninterrupted", "resumed", n=1, lineterm=""))[:40])
