"""The line of a program, as it is typed with dmtcp-run and without, and the files beside it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kit.places import WITHOUT

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.programs import Places, Program

    Process = subprocess.Popen[bytes]

_PYTHONS = Path(sys.executable).parent
"""Its python3 is the one that everything here runs, and no script that looks for one."""


@dataclass
class Line:
    """The line of PROGRAM on a bench; WITHOUT is a setting that dmtcp-run is to leave out."""

    bench: Workbench
    program: Program
    places: Places
    without: str = ""
    interval_s: float = 1.0
    options: list[str] = field(default_factory=list)
    """What a message of dmtcp-run said to type besides."""

    def start_plain(self) -> Process:
        """Start it beside, without dmtcp-run."""
        self.lay_out(self.bench.plain)
        typed = self.program.typed
        if typed is not None:
            path = f"PATH={self._path()}"
            return self.bench.start_plain("env", path, "bash", "-c", typed.script(self._environ_text(), ""))
        words = ["env", *self._environ(), *self.places.words(self.program.command)]
        if not self.program.reads_lines:
            return self.bench.start_plain(*words, stdin=self._stdin())
        with self._lines().open("rb") as stdin:
            return self.bench.start_plain(*words, stdin=stdin)

    def start(self) -> Process:
        """Start it with dmtcp-run."""
        if self.program.typed is not None:
            return self._start_typed()
        words = ["-i", str(self.interval_s), "--stdout", "out.txt", "--stderr", "err.txt", *self.options]
        if self.program.reads_lines:
            words += ["--stdin", str(self._lines())]
        asking = self.bench.asking(*words, *self.places.words(self.program.command))
        line = self.bench.typed(self._leaving_out(asking))
        environ = {**self.bench.environ, **dict(one.split("=", 1) for one in self._environ())}
        return self.bench.start_line(line, stdin=self._stdin(), stdout=subprocess.DEVNULL, env=environ)

    def begin(self) -> None:
        """Lay out the files that stand beside it."""
        self.lay_out(self.bench.folder)

    def lay_out(self, folder: Path) -> None:
        """Put the files that stand beside it into FOLDER."""
        if self.program.typed is not None:
            shutil.copytree(self.places.built / self.program.name, folder, dirs_exist_ok=True)
        for name, target in self.program.beside:
            (folder / name).symlink_to(target)

    def move(self) -> None:
        """Give the folder another name, as that of a job in a sandbox gets at each start."""
        there = self.bench.folder.with_name(self.bench.folder.name + "-moved")
        self.bench.folder.rename(there)
        self.bench.folder = there

    def type_what_was_said(self, advice: str) -> None:
        """Type what a refusal to resume in a moved folder says: a link, and the name of the job."""
        link, _, option = advice.partition(", and ")
        subprocess.run(["bash", "-c", link.strip("'")], cwd=self.bench.folder, check=True, timeout=10)
        self.options = option.split()[:2]

    def _start_typed(self) -> Process:
        typed, words = self.program.typed, ["-i", str(self.interval_s), "--stdout", "out.txt", *self.options]
        assert typed is not None
        run = shlex.join(self._leaving_out(self.bench.asking(*words, "--")))
        environ = {**self.bench.environ, "PATH": self._path()}
        if typed.subdir != ".":
            environ["DMTCP_RUN_DIR"] = str(self.bench.jobs)
        script = typed.script(self._environ_text(), run)
        return self.bench.start_line(self.bench.typed(["bash", "-c", script]), stdout=subprocess.DEVNULL, env=environ)

    def _leaving_out(self, line: list[str]) -> list[str]:
        return [*WITHOUT, self.without, *line[1:]] if self.without else line

    def _stdin(self) -> int:
        return subprocess.PIPE if self.program.waits_for_input else subprocess.DEVNULL

    def _path(self) -> str:
        return f"{_PYTHONS}:{self.bench.environ['PATH']}"

    def _environ(self) -> list[str]:
        return self.places.words(tuple(f"{name}={value}" for name, value in self.program.environ))

    def _environ_text(self) -> str:
        return "".join(f"export {shlex.quote(one)}\n" for one in self._environ())

    def _lines(self) -> Path:
        path = self.bench.folder.parent / "lines.txt"
        if not path.exists():
            path.write_text("".join(f"{number * 7919 % 100003}\n" for number in range(200_000)))
        return path
