"""What a program is that tests kill and resume: how it is made and started, and what of it is compared.

The programs themselves are in `kit.program_list`. Words in braces stand for folders and programs, see `Places`.
"""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kit.places import EXAMPLES, PROGRAM_FILES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_BUILD_S = 300


@dataclass(frozen=True)
class Typed:
    """A LINE of a shell, which is typed after ``dmtcp-run`` and its options, and may have a here-document.

    BEFORE is typed before it, on a line of its own; it is typed in SUBDIR of the folder. The folder gets another name
    after the first kill if it IS_MOVED.
    """

    line: str
    before: str = ""
    subdir: str = "."
    is_moved: bool = False

    def script(self, environ: str, run: str) -> str:
        """Return what a shell reads, where RUN is dmtcp-run, or nothing, and ENVIRON exports variables."""
        return f"{environ}cd {shlex.quote(self.subdir)} || exit\n{self.before}\nexec {run} {self.line}"


@dataclass(frozen=True)
class Program:
    """One program.

    NEEDS names commands that must be on PATH, and as ``python:NAME`` modules of this Python. MADE_BY are the commands
    that make it, once. All files that it leaves are compared but those that match IGNORED. QUIRKS are the settings of
    `dmtcp_py.engine.quirks` that it may need: whether it does is measured. `make zoo` runs all
    programs; the tests run the QUICK ones as the zoo does, and EVERY_ENGINE steps of a program, about three seconds,
    on every engine, none where it is 0.
    """

    name: str
    group: str
    command: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    made_by: tuple[tuple[str, ...], ...] = ()
    environ: tuple[tuple[str, str], ...] = ()
    steps: int = 80
    """What stands for ``{steps}``: enough for two kills."""
    ignored: tuple[str, ...] = ()
    quirks: tuple[str, ...] = ()
    reads_lines: bool = False
    waits_for_input: bool = False
    """Whether its input is a pipe into which nobody writes."""
    is_silent: bool = False
    """Whether its output does not come step by step, as it is kept in a buffer, or goes to files."""
    quick: bool = False
    every_engine: int = 0
    note: str = ""
    beside: tuple[tuple[str, Path], ...] = ()
    """The names that links to files of others have where it is started."""
    typed: Typed | None = None
    """What is typed in place of COMMAND, beside a copy of what was built in a folder with the program's name."""


@dataclass(frozen=True)
class Places:
    """Where what was BUILT is, a FOLDER for temporary files with a short name, as sockets need one, and the STEPS."""

    built: Path
    folder: Path
    steps: int = 0

    def words(self, words: tuple[str, ...]) -> list[str]:
        """Return WORDS with what stands in braces replaced."""
        known = {
            "python": sys.executable,
            "programs": str(PROGRAM_FILES),
            "examples": str(EXAMPLES),
            "built": str(self.built),
            "folder": str(self.folder),
            "steps": str(self.steps),
        }
        return [word.format_map(known) for word in words]


_EXECUTE = """
import ctypes, os, sys
words = (ctypes.c_char_p * len(sys.argv))(*map(os.fsencode, sys.argv[1:]), None)
number = {"x86_64": 59, "aarch64": 221}[os.uname().machine]
ctypes.CDLL(None).syscall(number, words[0], words, (ctypes.c_char_p * 1)(None))
"""


def without_environment(*words: str) -> list[str]:
    """Return a line that executes WORDS without an environment, and past the C library, so that nothing is kept."""
    return [sys.executable, "-c", _EXECUTE, *words]


def missing(program: Program) -> str | None:
    """Return what PROGRAM needs and is not here."""
    for need in program.needs:
        module = need.removeprefix("python:")
        if need != module and importlib.util.find_spec(module) is None:
            return f"the Python module {module} is not installed"
        if need == module and shutil.which(need) is None:
            return f"there is no {need}"
    return None


def build(programs: Sequence[Program], folder: Path) -> dict[str, str]:
    """Make what PROGRAMS need in FOLDER; return why those that cannot be run here cannot, by name."""
    places = Places(folder, folder)
    done: dict[tuple[str, ...], str] = {}
    why = {}
    for program in programs:
        problem = missing(program)
        for command in () if problem else program.made_by:
            if command not in done:
                done[command] = _make(places.words(command))
            problem = problem or done[command]
        if problem:
            why[program.name] = problem
    return why


def _make(words: list[str]) -> str:
    made = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=_BUILD_S, check=False)
    last = (made.stderr.strip().splitlines() or [""])[-1]
    return f"{words[0]} fails here: {last}" if made.returncode else ""
