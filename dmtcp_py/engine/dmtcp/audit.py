"""The comparison of what processes are after a restart with what they were: reads what native/state_audit.c writes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.errors import RestartFailedError
from dmtcp_py.state.record import Compared

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dmtcp_py.state.record import Values

_FILE = r"state-(\d+)\.txt"
_RECORD = r"recorded-(\d+)\.txt"
_THREAD, _COMPARED = "thread", "compared"
"""How the line begins that precedes those of a thread, and the one that says how much was compared."""
_LIMITS = (
    "CPU time",
    "file size",
    "data",
    "stack",
    "core files",
    "resident memory",
    "processes",
    "open files",
    "locked memory",
    "address space",
    "file locks",
    "queued signals",
    "message queues",
    "nice",
    "real-time priority",
    "real-time run time",
)
_SETTINGS = {
    1: "PR_SET_PDEATHSIG",
    4: "PR_SET_DUMPABLE",
    26: "PR_SET_TSC",
    28: "PR_SET_SECUREBITS",
    29: "PR_SET_TIMERSLACK",
    33: "PR_MCE_KILL",
    36: "PR_SET_CHILD_SUBREAPER",
    38: "PR_SET_NO_NEW_PRIVS",
    41: "PR_SET_THP_DISABLE",
    57: "PR_SET_IO_FLUSHER",
    67: "PR_SET_MEMORY_MERGE",
}
_TIMERS = ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")
_NAMES: dict[str, Sequence[str] | dict[int, str]] = {
    "soft limit": _LIMITS,
    "hard limit": _LIMITS,
    "prctl setting": _SETTINGS,
    "seconds of interval timer": _TIMERS,
    "microseconds of interval timer": _TIMERS,
}
"""What the numbers stand for with which these names end."""
_WORDS = {
    "open descriptor": ("closed", "open"),
    "name of a thread": ("as it was", "another"),
    "supplementary groups": ("others", "as they were"),
}
"""What is said for 0 and 1."""
_HARMLESS = (
    (r"(soft|hard) limit", "without privileges a hard limit of this attempt cannot be raised"),
    (r"scheduling|nice|I/O priority|processors", "it affects how soon a program computes, not what"),
    (r"supplementary groups", "without privileges they are those of this login"),
    (r"oom_score_adj", "only with privileges can it be lowered"),
    (r"name of a thread|personality", "no result depends on it"),
    (r"prctl setting PR_(MCE|SET_(TIMERSLACK|THP|IO|MEMORY))", "no result depends on it"),
    (r"core dump filter", "it affects core files"),
    (r"advice on memory", "it affects speed, core files and what a child inherits"),
)
"""Differences that only cause a warning, each with the reason."""
_CAUSES = ((re.compile(r"port of the listening socket"), "another program on this machine may have it"),)
"""What differences are likely to come from."""
_HINT = "--accept-changed-state resumes all the same"


class Difference(Struct, frozen=True):
    """WHAT process PID has that is not what it WAS at the checkpoint."""

    pid: int
    what: str
    was: str
    now: str

    @property
    def is_harmless(self) -> bool:
        """Whether it cannot change what the program computes."""
        return any(re.match(pattern, self.what) for pattern, _ in _HARMLESS)

    def __str__(self) -> str:
        text = f"process {self.pid}: {self.what} was {self.was}, and is {self.now} after the restart"
        causes = [cause for pattern, cause in _CAUSES if pattern.match(self.what)]
        return "; ".join([text, *causes])


def count_reports(folder: Path) -> int:
    """Return how many processes have compared themselves so far."""
    return sum(re.fullmatch(_FILE, path.name) is not None for path in folder.iterdir())


def forget(folder: Path) -> None:
    """Remove what processes wrote down before the last images."""
    for path, _ in _files(folder, _RECORD):
        path.unlink()


def recorded(folder: Path) -> Values:
    """Return what the processes have written down in FOLDER before their images."""
    return {pid: _values(_lines(path)) for path, pid in _files(folder, _RECORD)}


def judge(folder: Path, *, accepts: bool, warn: Callable[[str], None]) -> Compared:
    """Raise RestartFailedError if a process is not what it was, as the files in FOLDER show; warn if that is harmless.

    With ACCEPTS it only warns. Return what was compared.
    """
    files, count, found = _files(folder, _FILE), 0, []
    for path, pid in files:
        for line in _lines(path):
            if line.startswith(f"{_COMPARED}\t"):
                count += int(line.split("\t")[1])
                continue
            one = _parse(int(pid), line)
            if not accepts and not one.is_harmless:
                raise RestartFailedError(str(one), _HINT)
            warn(str(one))
            found.append(str(one))
    return Compared(processes=len(files), values=count, differences=tuple(found))


def _files(folder: Path, pattern: str) -> list[tuple[Path, str]]:
    """Return the files in FOLDER whose names have PATTERN, each with the pid in its name."""
    return [(path, found[1]) for path in sorted(folder.iterdir()) if (found := re.fullmatch(pattern, path.name))]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="ascii", errors="replace").splitlines()


def _values(lines: Sequence[str]) -> dict[str, str]:
    """Return the values in LINES by name; of a thread only those that are not the first one's."""
    found: dict[str, str] = {}
    first: dict[str, str] = {}
    thread, mark = first, ""
    for what, value in (line.split("\t") for line in lines if line.count("\t") == 1):
        if what == _THREAD:
            thread, mark = ({} if mark else first), f" of thread {value}"
            continue
        name, text = _named(what), _number(what, value)
        if mark and thread is not first and first.get(name) == text:
            continue
        if mark:
            thread[name] = text
        found[f"{name}{mark}"] = text
    return found


def _parse(pid: int, line: str) -> Difference:
    what, was, now = line.split("\t")
    return Difference(pid=pid, what=_named(what), was=_number(what, was), now=_number(what, now))


def _named(what: str) -> str:
    """Return WHAT with words for the number at its end."""
    for name, meanings in _NAMES.items():
        number = what.removeprefix(f"{name} ")
        if number != what and number.isdecimal():
            known = meanings if isinstance(meanings, dict) else dict(enumerate(meanings))
            return f"{name} {known.get(int(number), number)}"
    return what


def _number(what: str, text: str) -> str:
    """Return the number in TEXT as people write it: permissions in octal, the highest number as unlimited."""
    for name, words in _WORDS.items():
        if what.startswith(name) and text in {"0", "1"}:
            return words[int(text)]
    if what == "umask":
        return f"{int(text):03o}"
    return "unlimited" if "limit" in what and text == "-1" else text
