"""One program on one engine: killed and resumed, and what of it was as in an uninterrupted run."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kit.places import REPOSITORY, TESTS, WITHOUT
from kit.processes import kill_all
from kit.waits import happens

if TYPE_CHECKING:
    from collections.abc import Callable

    from kit.bench import Workbench
    from kit.programs import Places, Program

    Process = subprocess.Popen[bytes]

WORKS, NEEDS_SETTING, REFUSED, NO_GENERATION, FAILS, DIFFERS, WRONG, NOT_RUN = (
    "works",
    "works with a setting",
    "refused",
    "no generation",
    "fails",
    "differs",
    "WRONG",
    "not run",
)
FAILED_STATUS = 125
END_S, GENERATION_S = 150.0, 100.0
_MOST_REPEATS = 2
_ROUTINE = (
    re.compile(r"job \S+: (started|resumed)"),
    re.compile(r"generation \d+ committed"),
    re.compile(r"(finished with status|ended leftover processes|processes that the program had left behind)"),
)
_MOST_WORDS = 260


@dataclass(frozen=True)
class Finding:
    """What came of one program on one engine."""

    state: str
    detail: str = ""
    checkpoint_s: float | None = None
    resume_s: float | None = None
    image_bytes: int | None = None
    processes: int | None = None
    settings: tuple[str, ...] = ()
    """What it was launched with by dmtcp-run, and does not work without."""


@dataclass
class Lives:
    """The lives of one program in one workbench."""

    bench: Workbench
    program: Program
    places: Places
    kills: int = 2
    without: str = ""
    repeats: int = 0
    interval_s: float = 1.0
    resume_s: list[float] = field(default_factory=list)

    def find(self) -> Finding:
        """Run it beside itself: left alone, and killed `kills` times."""
        plain = self._start_plain()
        try:
            finding = self._killed_and_resumed(plain)
        except TimeoutError as error:
            finding = Finding(FAILS, f"hangs: {error}; {self._said()}".strip("; "))
        finally:
            if plain.poll() is None:
                kill_all(plain)
        return replace(finding, detail=self._shorten(finding.detail), **self._costs())

    def _killed_and_resumed(self, plain: Process) -> Finding:
        for kill in range(self.kills):
            status = self._live_until_killed()
            if status is not None:
                return self._ended_early(kill, status, plain)
        status = self._wait_end(self._start(), "to its end")
        while self._may_repeat(status):
            status = self._wait_end(self._start(), "to its end")
        problem = self._problem(status, plain)
        if problem is not None:
            return problem
        if self.bench.events.count("resumed") < self.kills:
            return Finding(FAILS, "it was not resumed after each kill: " + self._said())
        return Finding(WORKS, self._notes())

    def _start_plain(self) -> Process:
        words = ["env", *self._environ(), *self.places.words(self.program.command)]
        if not self.program.reads_lines:
            return self.bench.start_plain(*words)
        with self._lines().open("rb") as stdin:
            return self.bench.start_plain(*words, stdin=stdin)

    def _environ(self) -> list[str]:
        return self.places.words(tuple(f"{name}={value}" for name, value in self.program.environ))

    def _lines(self) -> Path:
        path = self.bench.folder.parent / "lines.txt"
        if not path.exists():
            path.write_text("".join(f"{number * 7919 % 100003}\n" for number in range(200_000)))
        return path

    def _start(self) -> Process:
        words = ["-i", str(self.interval_s), "--stdout", "out.txt", "--stderr", "err.txt"]
        if self.program.reads_lines:
            words += ["--stdin", str(self._lines())]
        line = self.bench.line(*words, *self.places.words(self.program.command))
        if self.without:
            line = [*WITHOUT, self.without, *line[1:]]
        environ = {**self.bench.environ, **dict(one.split("=", 1) for one in self._environ())}
        return self.bench.start_line(line, stdout=subprocess.DEVNULL, env=environ)

    def _live_until_killed(self) -> int | None:
        """Kill it once it ran on beyond a generation that is newer than what it came from; None, or its status."""
        while True:
            newest, resumes, began = self.bench.newest, self._resumes(), time.monotonic()
            process = self._start()
            self._wait_generation(process, newest, began, resumes)
            if self._came_too_early(process):
                continue
            is_beyond = self.bench.beyond_checkpoint(process, None if self.program.is_silent else "out.txt")
            self._wait(process, is_beyond, GENERATION_S, "nothing is done after a generation")
            if process.poll() is None:
                kill_all(process)
                return self._finished()
            if not self._may_repeat(process.returncode):
                return process.returncode

    def _finished(self) -> int | None:
        """Return the status with which it came to its end in the moment in which it was killed; None if it did not."""
        state = json.loads((self.bench.job / "state.json").read_text())
        return state["status"] if state["phase"] == "finished" else None

    def _came_too_early(self, process: Process) -> bool:
        """Start over with a longer interval where the program had not come to its first step when it was taken."""
        if process.poll() is not None or self._resumes() or self.program.is_silent:
            return False
        if self.bench.newest and self.bench.manifest["stdout_size"]:
            return False
        kill_all(process)
        for path in self.bench.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.interval_s *= 2
        return True

    def _may_repeat(self, status: int) -> bool:
        """Whether it ended in an error after which the same line goes on; a user would give it again."""
        if status != FAILED_STATUS or not self.bench.generations or self.repeats == _MOST_REPEATS:
            return False
        self.repeats += 1
        return True

    def _wait_generation(self, process: Process, newest: int, began: float, resumes: int) -> None:
        is_timed = False

        def is_there() -> bool:
            nonlocal is_timed
            if not is_timed and self._resumes() > resumes:
                is_timed = True
                self.resume_s.append(time.monotonic() - began)
            return self.bench.newest > newest

        self._wait(process, is_there, GENERATION_S, "no generation")

    def _resumes(self) -> int:
        return self.bench.events.count("resumed")

    def _wait_end(self, process: Process, what: str) -> int:
        self._wait(process, lambda: False, END_S, what)
        assert process.returncode is not None
        return process.returncode

    @staticmethod
    def _wait(process: Process, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until CONDITION, or the end of PROCESS; kill it if neither comes."""
        if not happens(lambda: process.poll() is not None or condition(), seconds):
            kill_all(process)
            raise TimeoutError(f"{what} in the time allowed")

    def _ended_early(self, kill: int, status: int, plain: Process) -> Finding:
        """Say what it is that it came to an end before it could be killed."""
        problem = self._problem(status, plain)
        if problem is not None:
            if status == FAILED_STATUS and not self.bench.generations and not self._engine_failed():
                return Finding(REFUSED, self._reason())
            return problem
        if not self.bench.generations and "checkpointed" not in self.bench.events:
            return Finding(NO_GENERATION, self._said() or "it was over before")
        moment = "no new generation after a resume" if kill else "it was over too soon after its generation"
        return Finding(FAILS, f"{moment}: {self._said()}")

    def _engine_failed(self) -> bool:
        events = self.bench.events
        return any(event in {"engine-failed", "failed"} for event in events) and "refused" not in events

    def _problem(self, status: int, plain: Process) -> Finding | None:
        """Compare status, streams and files with those of the run that was left alone."""
        wanted = self._wait_end(plain, "the uninterrupted run ends")
        wanted = 128 - wanted if wanted < 0 else wanted
        if status != wanted:
            return Finding(FAILS, f"status {_status(status)}, not {wanted}: {self._said()}")
        different = self._different()
        if not different:
            return None
        if different == ["err.txt"]:
            more = self._said_besides()
            return None if more else Finding(FAILS, f"stderr differs: {_first_difference(self.bench, 'err.txt')}")
        return Finding(
            WRONG, f"status {status}, but {_first_difference(self.bench, different[0])} ({', '.join(different)})"
        )

    def _said_besides(self) -> list[str]:
        """Return the lines that stderr has besides the program's own; none where it does not have all of those."""
        if "err.txt" in self.program.ignored:
            return []
        mine, own = ((root / "err.txt").read_text(errors="replace").splitlines() for root in self._roots())
        more = []
        for line in mine:
            if own and line == own[0]:
                own.pop(0)
            else:
                more.append(line)
        return [] if own else more

    def _roots(self) -> tuple[Path, Path]:
        return self.bench.folder, self.bench.plain

    def _different(self) -> list[str]:
        names = {str(path.relative_to(root)) for root in self._roots() for path in _files(root)}
        ours = {"stderr.txt"}
        return sorted(
            name
            for name in names - ours
            if not any(fnmatch.fnmatch(name, pattern) for pattern in self.program.ignored)
            and _content(self.bench.folder / name) != _content(self.bench.plain / name)
        )

    def _said(self, most: int = 2) -> str:
        """Return the last words of dmtcp-run that are not routine."""
        lines = [line for line in self._lines_said() if not any(routine.match(line) for routine in _ROUTINE)]
        unique = list(dict.fromkeys(lines))
        return "; ".join(unique[-most:])

    def _reason(self) -> str:
        """Return why it was refused, without the advice that follows."""
        last = self._said(1).removeprefix("stopped, because it cannot be checkpointed: ")
        return last.partition("; ")[0]

    def _lines_said(self) -> list[str]:
        lines = self.bench.said().splitlines()
        return [line.removeprefix("dmtcp-run: ") for line in lines if line.startswith("dmtcp-run: ")]

    def _notes(self) -> str:
        """Return what else happened on the way to the right end."""
        lines = self._lines_said()
        counts = {
            "it ended with 125, and the same line went on": self.repeats,
            "the engine lost the program, and it went on from the last generation": sum(
                "lost the program" in line for line in lines
            ),
            "a generation did not come up, and the one before it did": sum("cannot be used" in line for line in lines),
        }
        failed = [line for line in lines if line.startswith("checkpoint failed")]
        notes = [f"{text} ({count} times)" for text, count in counts.items() if count]
        besides = [f"stderr has besides: {line}" for line in self._said_besides()[:1]]
        return "; ".join([*notes, *list(dict.fromkeys(failed))[:1], *besides])

    def _shorten(self, text: str) -> str:
        text = re.sub(r"\[[-T0-9:.]+, [0-9, ]+, \w+\] at \S+ ", "", text)
        for folder in (self.bench.folder.parent, self.places.built, self.places.folder, TESTS, REPOSITORY):
            text = text.replace(f"{folder}/", "")
        text = re.sub(r"/\S*/", "", text)
        text = re.sub(r"\bpid \d+|\b\d{4,}\b", "N", text)
        return text if len(text) <= _MOST_WORDS else text[: _MOST_WORDS - 2] + " …"

    def _costs(self) -> dict[str, float | int | None]:
        if not self.bench.newest:
            return {}
        newest = self.bench.manifest
        return {
            "checkpoint_s": round(newest["cost"]["checkpoint_s"], 2),
            "resume_s": round(min(self.resume_s), 2) if self.resume_s else None,
            "image_bytes": sum(image["size"] for image in newest["images"]),
            "processes": newest["processes"],
        }


def _status(status: int) -> str:
    return f"-{signal.Signals(-status).name}" if status < 0 else str(status)


def _files(root: Path) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != ".dmtcp-run"]
        found += [Path(folder) / name for name in names]
    return found


def _content(path: Path) -> bytes | None:
    if path.is_file():
        return path.read_bytes()
    return b"special" if path.exists() else None


def _first_difference(bench: Workbench, name: str) -> str:
    mine, plain = _content(bench.folder / name), _content(bench.plain / name)
    if mine is None or plain is None:
        return f"{name} is {'missing' if mine is None else 'left behind'}"
    pair = (mine.splitlines(), plain.splitlines())
    for number, (ours, theirs) in enumerate(zip(*pair, strict=False), 1):
        if ours != theirs:
            return f"{name} line {number} is {ours[:60]!r}, not {theirs[:60]!r}"
    return f"{name} has {len(pair[0])} lines, not {len(pair[1])}"
