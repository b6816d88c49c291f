"""The cases, made of the folders in ``programs/``, and which of their cells are known to be wrong."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kit.places import REPOSITORY
from kit.programs import Program, Typed
from zoo import finding
from zoo.life import Terms
from zoo.measure import Collection

if TYPE_CHECKING:
    from zoo.finding import Finding

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
GROUP = "Cases"
TERMS = Terms(kills=2, most_repeats=0, generation_s=60, end_s=90, beyond_s=1)
NOTHING_TOLD = "it was over before"
_BUILD = 'cp -r "$1" "$2" && cd "$2" && { [ ! -e build ] || . ./build; } && rm -f build cmd note.md PRE SUBDIR MOVE'
_SHELL = ("bash", "-c", _BUILD.replace("{", "{{").replace("}", "}}"), "bash")


@dataclass(frozen=True)
class KnownWrong:
    """A cell that is not right today, or only SOMETIMES."""

    case: str
    engine: str
    sometimes: bool


def _program(folder: Path) -> Program:
    line, build = (folder / "cmd").read_text(), _text(folder / "build")
    return Program(
        folder.name,
        GROUP,
        needs=tuple(word for word in map(_first_word, (line, build)) if word and not word.startswith("./")),
        made_by=((*_SHELL, str(folder), "{built}/" + folder.name),),
        ignored=("err.txt",),
        typed=Typed(line, _text(folder / "PRE"), _text(folder / "SUBDIR") or ".", (folder / "MOVE").exists()),
    )


def _first_word(text: str) -> str:
    return shlex.split(text.splitlines()[0])[0] if text else ""


def _text(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


CASES = Collection(
    "cases",
    tuple(map(_program, sorted(path for path in PROGRAMS.iterdir() if path.is_dir()))),
    REPOSITORY / "docs" / "cases.json",
    TERMS,
)


def note(name: str) -> str:
    """Return the note of case NAME."""
    return (PROGRAMS / name / "note.md").read_text()


def is_right(found: Finding) -> bool:
    """Whether a user is well served: the right end, or a reason why not before there was anything to lose."""
    is_told = found.state == finding.NO_GENERATION and found.detail != NOTHING_TOLD
    return found.state in {finding.WORKS, finding.NEEDS_SETTING, finding.REFUSED} or is_told


def known_wrong() -> list[KnownWrong]:
    """Return the cells of ``known-wrong``."""
    lines = [line.partition("#")[0].split() for line in (HERE / "known-wrong").read_text().splitlines()]
    return [KnownWrong(words[0], words[1], "sometimes" in words[2:]) for words in lines if words]
