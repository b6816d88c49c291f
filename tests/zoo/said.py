"""What dmtcp-run said in the lives of a program, without what it says in every life, and what the program cost."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kit.places import REPOSITORY, TESTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from kit.bench import Workbench

_MOST_CHARS = 260

_ROUTINE = (
    re.compile(r"job \S+: (started|resumed)"),
    re.compile(r"generation \d+ committed"),
    re.compile(r"what the program wrote to std(out|err) since then will be repeated"),
    re.compile(r"(finished with status|ended leftover processes|processes that the program had left behind)"),
)
_PREFIX = "dmtcp-run: "


def lines_of(text: str) -> list[str]:
    """Return the lines of dmtcp-run in TEXT."""
    return [line.removeprefix(_PREFIX) for line in text.splitlines() if line.startswith(_PREFIX)]


def last_words(text: str, most: int = 2) -> str:
    """Return the last of its lines, at MOST so many, that are not routine."""
    lines = [line for line in lines_of(text) if not any(routine.match(line) for routine in _ROUTINE)]
    return "; ".join(list(dict.fromkeys(lines))[-most:])


def reason_in(text: str) -> str:
    """Return why a program was refused, without the advice that follows."""
    last = last_words(text, 1).removeprefix("stopped, because it cannot be checkpointed: ")
    return last.partition("; ")[0]


def notes_on(text: str, repeats: int) -> list[str]:
    """Return what else happened on the way to the right end, for which the line was typed REPEATS times again."""
    lines = lines_of(text)
    counts = {
        "it ended with 125, and the same line went on": repeats,
        "the engine lost the program, and it went on from the last generation": sum(
            "lost the program" in line for line in lines
        ),
        "a generation did not come up, and the one before it did": sum("cannot be used" in line for line in lines),
    }
    failed = [line for line in lines if line.startswith("checkpoint failed") or "cannot be used" in line]
    notes = [f"{words} ({count} times)" for words, count in counts.items() if count]
    return [*notes, *list(dict.fromkeys(failed))[:1]]


def shorten(text: str, bench: Workbench, folders: Iterable[Path]) -> str:
    """Return TEXT without what is different in each run: FOLDERS, those of BENCH and numbers."""
    text = re.sub(r"\[[-T0-9:.]+, [0-9, ]+, \w+\] at \S+ ", "", text)
    for folder in (bench.folder.parent, *folders, TESTS, REPOSITORY):
        text = text.replace(f"{folder}/", "")
    text = re.sub(r"/\S*/", "", text)
    text = re.sub(r"\bpid \d+|\b\d{4,}\b", "N", text)
    return text if len(text) <= _MOST_CHARS else text[: _MOST_CHARS - 2] + " …"


def costs_of(bench: Workbench, resume_s: Sequence[float]) -> dict[str, float | int | None]:
    """Return the cost of the newest generation, and of the fastest resume."""
    if not bench.newest:
        return {}
    newest = bench.manifest
    return {
        "checkpoint_s": round(newest["cost"]["checkpoint_s"], 2),
        "resume_s": round(min(resume_s), 2) if resume_s else None,
        "image_bytes": sum(image["size"] for image in newest["images"]),
        "processes": newest["processes"],
    }
