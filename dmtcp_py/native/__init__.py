"""Small shared libraries in C, built at install time if a compiler is available.

dmtcp-py also works without them, apart from the problems that they solve.
"""

from __future__ import annotations

from pathlib import Path


def built(name: str) -> Path | None:
    """Return the shared library NAME; None if it was not built, or its path does not fit into a list of paths."""
    found = next(iter(sorted(Path(__file__).parent.glob(f"{name}.*so"))), None)
    return None if found is None or ":" in str(found) or " " in str(found) else found
