"""One line of dmtcp-run, as a user types it, in the copy of a directory: what it says, computes and writes; its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from dmtcp_py.batch.allocation import without_job
from dmtcp_py.store.layout import JobLayout
from dmtcp_py.system.child import Child, ChildStdio
from dmtcp_py.system.environment import given_environ
from dmtcp_py.system.files import remove_temporaries
from dmtcp_py.system.proc import SHARED_MEMORY, process_tree, started_at

if TYPE_CHECKING:
    from collections.abc import Callable

JOB = "rehearsal"
_LOOK_S = 0.05
_GONE_S = 20.0
_TAIL_BYTES = 4096
_PREFIX = "dmtcp-run: "


class Stage(Struct, frozen=True, kw_only=True):
    """Where a program is rehearsed: the FOLDER in which it runs, and the PRIVATE one for its job and its streams."""

    folder: Path
    private: Path
    command: tuple[str, ...]
    stdin: Path | None
    is_copy: bool
    """Whether FOLDER is a copy, in which nobody else writes."""

    @property
    def layout(self) -> JobLayout:
        """The paths of the job."""
        return JobLayout(self.private / "jobs" / JOB)

    @property
    def stdout(self) -> Path:
        """The file with what the program prints."""
        return self.private / "stdout"

    @property
    def stderr(self) -> Path:
        """The file with what it prints to standard error."""
        return self.private / "stderr"

    @property
    def last_words(self) -> str:
        """The last line that the program printed to standard error, or else to standard output."""
        for path in (self.stderr, self.stdout):
            lines = _end_of(path).decode(errors="replace").strip().splitlines()
            if lines:
                return lines[-1].strip()
        return ""

    def clear(self) -> None:
        """Remove what a job that was killed has left in temporary folders."""
        for parent in (None, Path(SHARED_MEMORY)):
            remove_temporaries(self.layout.root, parent)


class Life:
    """A dmtcp-run with the command of STAGE under ENGINE; it starts the job, or resumes the one that exists."""

    def __init__(self, stage: Stage, engine: str, number: int) -> None:
        self.stage = stage
        self.began = time.monotonic()
        self._said = stage.private / f"messages-{number}"
        self._child = self._start(engine)

    def _start(self, engine: str) -> Child:
        stage = self.stage
        streams = ["--stdout", str(stage.stdout), "--stderr", str(stage.stderr)]
        streams += ["--stdin", str(stage.stdin)] if stage.stdin is not None else []
        options = [
            "--json",
            "-v",
            "--job",
            JOB,
            "--dir",
            str(stage.layout.root.parent),
            "-i",
            "0",
            "--keep-record",
            "--gate",
            "",
        ]
        line = [*_DMTCP_RUN, *options, "--engine", engine, "--nodes", "1", *streams, "--", *stage.command]
        with self._said.open("wb") as said:
            here = ["env", "--chdir", str(stage.folder), *line]
            stdio = ChildStdio(stdin=subprocess.DEVNULL, stdout=said.fileno(), stderr=said.fileno())
            environ = {**without_job(given_environ()), "PWD": str(stage.folder), "DMTCP_RUN_ARRAY_CHAIN": "no"}
            return Child(here, env=environ, dies_with_us=True, stdio=stdio)

    def wait_for(self, condition: Callable[[], bool], until: float) -> bool:
        """Wait for CONDITION, the end of the line or UNTIL, in monotonic seconds; return whether CONDITION is true."""
        while not (is_true := condition()) and time.monotonic() < until and self.status is None:
            self._child.wait(_LOOK_S)
        return is_true or condition()

    @property
    def status(self) -> int | None:
        """The exit status of the line; None while it runs."""
        ending = self._child.poll()
        return None if ending is None else ending.shell_status

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Return what dmtcp-run has said until now, of the kinds NAMES alone if there are any."""
        found = []
        with suppress(FileNotFoundError):
            for line in self._said.read_text(encoding="utf-8", errors="replace").splitlines():
                event = _parsed(line)
                if event is not None and (not names or event["event"] in names):
                    found.append(event)
        return found

    @property
    def engine_version(self) -> str | None:
        """The version of the engine, once the program has started."""
        words = [word for event in self.events("started") for word in event["text"].partition(" with ")[2].split()]
        return words[1] if len(words) > 1 else None

    @property
    def error(self) -> str:
        """The error with which the line ended, or the last that it said."""
        said = [event["text"] for event in self.events("error")] or [event["text"] for event in self.events()]
        return said[-1] if said else f"it ended with status {self.status}"

    def computed_s(self) -> float:
        """Return for how long the processes of the program have run on a processor, as far as they are there."""
        import psutil  # noqa: PLC0415 - importing it takes 19 ms

        total = 0.0
        for pid, _ in process_tree(self._child.pid)[1:]:
            with suppress(psutil.Error):
                times = psutil.Process(pid).cpu_times()
                total += times.user + times.system
        return total

    def kill(self) -> None:
        """Kill dmtcp-run and all below it, as the end of a batch job or the death of a node does."""
        if self._child.poll() is not None:
            return
        self._child.signal(signal.SIGSTOP)
        tree = process_tree(self._child.pid)
        for pid, _ in tree:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        self._child.wait(_GONE_S)
        until = time.monotonic() + _GONE_S
        while any(started_at(pid) == start for pid, start in tree) and time.monotonic() < until:
            time.sleep(_LOOK_S)


_START = "import sys; sys.path[:] = {path!r}; from dmtcp_py.cli.run import main; main()"
# without the working directory, in which a program may have modules of the same names as ours
_DMTCP_RUN = (sys.executable, "-c", _START.format(path=[part for part in sys.path if part]))


def run_plain(stage: Stage, is_enough: Callable[[], bool], until: float) -> int | None:
    """Run the command of STAGE without dmtcp-run until it ends, IS_ENOUGH, or UNTIL; return its status if it ended."""
    with stage.stdout.open("wb") as out, stage.stderr.open("wb") as err:
        stdin = stage.stdin.open("rb") if stage.stdin is not None else subprocess.DEVNULL
        stdio = ChildStdio(
            stdin=stdin if isinstance(stdin, int) else stdin.fileno(), stdout=out.fileno(), stderr=err.fileno()
        )
        environ = {**without_job(given_environ()), "PWD": str(stage.folder)}
        child = Child(
            ["env", "--chdir", str(stage.folder), *stage.command], env=environ, dies_with_us=True, stdio=stdio
        )
        if not isinstance(stdin, int):
            stdin.close()
    try:
        while child.poll() is None and not is_enough() and time.monotonic() < until:
            child.wait(_LOOK_S)
        ending = child.poll()
        return None if ending is None else ending.shell_status
    finally:
        for pid, _ in process_tree(child.pid):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        child.signal_group(signal.SIGKILL)
        child.wait(_GONE_S)


def _parsed(line: str) -> dict[str, Any] | None:
    """Return one line of dmtcp-run: an object, or an error, which is a plain line."""
    if line.startswith(_PREFIX):
        return {"event": "error", "text": line.removeprefix(_PREFIX)}
    with suppress(json.JSONDecodeError):
        found = json.loads(line)
        if isinstance(found, dict) and "event" in found and "text" in found:
            return found
    return None


def _end_of(path: Path) -> bytes:
    with suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
        return file.read()
    return b""


def size_of(path: Path) -> int:
    """Return the size of the file at PATH; 0 if there is none."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
