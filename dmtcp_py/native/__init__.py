"""Small shared libraries in C, built at install time if a compiler is available.

dmtcp-py also works without them, apart from the problems that they solve.
"""

from __future__ import annotations

import os
from pathlib import Path

_FOLDER = Path(__file__).parent


def built(name: str) -> Path | None:
    """Return the shared library NAME; None if it was not built, or its path does not fit into a list of paths."""
    names = [one for one in os.listdir(_FOLDER) if one.startswith(f"{name}.") and one.endswith("so")]  # noqa: PTH208 - only names are needed
    found = _FOLDER / min(names) if names else None
    return None if found is None or ":" in str(found) or " " in str(found) else found
