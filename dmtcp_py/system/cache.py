"""Answers that take long to find out, remembered in the user's cache directory for as long as they hold.

An answer belongs to the facts that it depends on, such as the size and time of a file: with other facts it is not
found. A cache that cannot be written only costs time.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.system.files import make_private_dir, write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence


def remembered(name: str, facts: Sequence[str]) -> str | None:
    """Return the answer NAME that was remembered for FACTS; None if there is none."""
    try:
        return _path(name, facts).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None


def remember(name: str, facts: Sequence[str], answer: str) -> None:
    """Remember ANSWER under NAME for FACTS."""
    path = _path(name, facts)
    with suppress(OSError):
        make_private_dir(path.parent)
        write_atomic(path, answer.encode("utf-8", "surrogateescape"), durable=False)


def facts_of(path: Path) -> str:
    """Return what changes when the file at PATH is replaced; raise OSError if there is none."""
    found = path.stat()
    return f"{path} {found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns}"


def _path(name: str, facts: Sequence[str]) -> Path:
    digest = hashlib.sha256("\n".join(facts).encode("utf-8", "surrogateescape")).hexdigest()
    named = os.environ.get("XDG_CACHE_HOME", "")
    cache = Path(named) if named.startswith("/") else Path.home() / ".cache"
    return cache / "dmtcp-py" / f"{name}-{digest[:32]}"
