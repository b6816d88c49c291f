"""A cache of slow answers in the user's cache directory.

An answer is stored under the facts on which it depends, such as the size and time of a file, so that it is not found
any more once they change. If the cache cannot be written, that only costs time.
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
    """Return the answer that was stored under NAME and FACTS; None if there is none."""
    try:
        return _path(name, facts).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None


def remember(name: str, facts: Sequence[str], answer: str) -> None:
    """Store ANSWER under NAME and FACTS."""
    path = _path(name, facts)
    with suppress(OSError):
        make_private_dir(path.parent)
        write_atomic(path, answer.encode("utf-8", "surrogateescape"), durable=False)


def forget(name: str, facts: Sequence[str]) -> None:
    """Drop the answer that was stored under NAME and FACTS, if there is one."""
    with suppress(OSError):
        _path(name, facts).unlink()


def facts_of(path: Path) -> str:
    """Return a text that changes when the file at PATH is replaced or written; raise OSError if it does not exist."""
    found = path.stat()
    return f"{path} {found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns}"


def _path(name: str, facts: Sequence[str]) -> Path:
    digest = hashlib.sha256("\n".join(facts).encode("utf-8", "surrogateescape")).hexdigest()
    named = os.environ.get("XDG_CACHE_HOME", "")
    cache = Path(named) if named.startswith("/") else Path.home() / ".cache"
    return cache / "dmtcp-py" / f"{name}-{digest[:32]}"
