"""A PATH that lacks some programs of this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path


def path_without(pattern: str, folder: Path) -> str:
    """Fill FOLDER with links to all programs on PATH whose names PATTERN does not match whole, and return it."""
    folder.mkdir(mode=0o755)
    for place in map(Path, os.environ["PATH"].split(os.pathsep)):
        for tool in place.iterdir() if place.is_dir() else ():
            if not re.fullmatch(pattern, tool.name) and not (folder / tool.name).is_symlink():
                (folder / tool.name).symlink_to(tool)
    return str(folder)
