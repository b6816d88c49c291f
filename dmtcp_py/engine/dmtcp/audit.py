"""The comparison of what processes are after a restart with what they were: reads what native/state_audit.c writes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmtcp_py.errors import RestartFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_FILE = re.compile(r"state-(\d+)\.txt")
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
    36: "PR_SET_CHILD_SUBREAPER",
    38: "PR_SET_NO_NEW_PRIVS",
    41: "PR_SET_THP_DISABLE",
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
    (re.compile(r"(soft|hard) limit"), "without privileges a hard limit of this attempt cannot be raised"),
    (re.compile(r"scheduling|nice|I/O priority|processors"), "it affects how soon a program computes, not what"),
    (re.compile(r"supplementary groups"), "without privileges they are those of this login"),
    (re.compile(r"oom_score_adj"), "only with privileges can it be lowered"),
    (re.compile(r"name of a thread|personality|prctl setting PR_SET_(TIMERSLACK|THP)"), "no result depends on it"),
    (re.compile(r"advice on memory"), "it affects speed, core files and what a child inherits"),
)
"""Differences that only cause a warning, each with the reason."""
_HINT = "--accept-changed-state resumes all the same"


@dataclass(frozen=True)
class Difference:
    """WHAT process PID has that is not what it WAS at the checkpoint."""

    pid: int
    what: str
    was: str
    now: str

    @property
    def is_harmless(self) -> bool:
        """Whether it cannot change what the program computes."""
        return any(pattern.match(self.what) for pattern, _ in _HARMLESS)

    def __str__(self) -> str:
        return f"process {self.pid}: {self.what} was {self.was}, and is {self.now} after the restart"


def count_reports(folder: Path) -> int:
    """Return how many processes have compared themselves so far."""
    return sum(_FILE.fullmatch(path.name) is not None for path in folder.iterdir())


def judge(folder: Path, *, accepts: bool, warn: Callable[[str], None]) -> None:
    """Raise RestartFailedError if a process is not what it was, as the files in FOLDER show; warn if that is harmless.

    With ACCEPTS it only warns.
    """
    for path in sorted(folder.iterdir()):
        if (found := _FILE.fullmatch(path.name)) is None:
            continue
        for line in path.read_text(encoding="ascii", errors="replace").splitlines():
            one = _parse(int(found[1]), line)
            if not accepts and not one.is_harmless:
                raise RestartFailedError(str(one), _HINT)
            warn(str(one))


def _parse(pid: int, line: str) -> Difference:
    what, was, now = line.split("\t")
    for name, meanings in _NAMES.items():
        number = what.removeprefix(f"{name} ")
        if number != what and number.isdecimal():
            known = meanings if isinstance(meanings, dict) else dict(enumerate(meanings))
            what = f"{name} {known.get(int(number), number)}"
    return Difference(pid=pid, what=what, was=_number(what, was), now=_number(what, now))


def _number(what: str, text: str) -> str:
    """Return the number in TEXT as people write it: permissions in octal, the highest number as unlimited."""
    for name, words in _WORDS.items():
        if what.startswith(name) and text in {"0", "1"}:
            return words[int(text)]
    if what == "umask":
        return f"{int(text):03o}"
    return "unlimited" if "limit" in what and text == "-1" else text
