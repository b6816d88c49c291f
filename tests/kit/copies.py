"""Copies of this package, for users who cannot read this one, and for installations without a compiler."""

from __future__ import annotations

import importlib.util
import re
import shutil
from importlib.machinery import PathFinder
from importlib.metadata import requires
from pathlib import Path


def copy_modules(folder: Path) -> Path:
    """Copy dmtcp_py and what it needs to FOLDER, for a user who cannot read root's; return it, for PYTHONPATH."""
    needed = [re.split(r"[^\w.]", words)[0] for words in requires("dmtcp-py") or [] if "extra ==" not in words]
    for name in ("dmtcp_py", *needed):
        place = _place_of(name)
        if place.name == "__init__.py":
            shutil.copytree(place.parent, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(place, folder)
    return folder


def copy_without_c(folder: Path) -> Path:
    """Copy dmtcp_py to FOLDER without what was built in C; return it, for PYTHONPATH."""
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(_place_of("dmtcp_py").parent, folder / "dmtcp_py", ignore=ignored)
    return folder


def _place_of(module: str) -> Path:
    # not find_spec() alone: sh, once it is imported, has none
    found = PathFinder.find_spec(module) or importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin)
