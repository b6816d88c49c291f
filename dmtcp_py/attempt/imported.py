"""The files beside a script that it imports or runs, as far as its text names them. Only reads."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from dmtcp_py.attempt.identity import SCRIPT

if TYPE_CHECKING:
    from pathlib import Path

_MOST_FILES = 16
_MOST_BYTES = 1 << 20
_MOST_ENTRIES = 1000
_IMPORT = re.compile(r"^\s*(?:from|import|use|using|require)\b.*", re.MULTILINE)
_WORD = re.compile(r"\w+")


def imported(script: Path) -> list[Path]:
    """Return the scripts in the folder of SCRIPT that it names, and those that they name in turn.

    One is named by its file name, as in R's ``source("model.R")``, or in an import by the name without its suffix.
    """
    found, beside = [script], _beside(script)
    for path in found:
        text = _text_of(path)
        imports = set(_WORD.findall(" ".join(_IMPORT.findall(text))))
        new = [
            one for one in beside if one not in found and (one.name in text or one.stem in imports) and one.is_file()
        ]
        found += new[: _MOST_FILES - len(found)]
    return found[1:]


def _beside(script: Path) -> list[Path]:
    with suppress(OSError):
        names = sorted(path for path in script.parent.iterdir() if re.fullmatch(SCRIPT, path.name))
        return names[:_MOST_ENTRIES]
    return []


def _text_of(path: Path) -> str:
    with suppress(OSError), path.open("rb") as file:
        return file.read(_MOST_BYTES).decode("utf-8", "replace")
    return ""
