"""Copies of this package, for users who cannot read this one, and for installations without a compiler."""

from __future__ import annotations

import importlib.util
import re
import shutil
from importlib.metadata import requires
from pathlib import Path


def copy_modules(folder: Path) -> Path:
    """Copy dmtcp_py and what it needs to FOLDER, for a user who cannot read root's; return it, for PYTHONPATH."""
    needed = [re.split(r"[^\w.]", words)[0] for words in requires("dmtcp-py") or [] if "extra ==" not in words]
    for name in ("dmtcp_py", *needed):
        shutil.copytree(_folder_of(name), folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def copy_without_c(folder: Path) -> Path:
    """Copy dmtcp_py to FOLDER without what was built in C; return it, for PYTHONPATH."""
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(_folder_of("dmtcp_py"), folder / "dmtcp_py", ignore=ignored)
    return folder


def _folder_of(module: str) -> Path:
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent
