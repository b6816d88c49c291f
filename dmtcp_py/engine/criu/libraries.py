"""Copies of the libraries that are loaded into programs, so that a later release of dmtcp-py does not stop a resume.

The images of CRIU have no copy of a library's code: they refer to its file. An upgrade replaces the files of the
package, and then no program that runs or waits could be resumed. So the libraries are loaded from copies in a folder
whose name tells their content, which no upgrade touches: in root's case where all users can read it, otherwise in the
user's data directory. Where no copies can be made, the libraries themselves are loaded.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from dmtcp_py.engine.criu.privileges import are_ours, data_folder, is_root
from dmtcp_py.native import built
from dmtcp_py.system.files import PRIVATE_DIR, write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence

_ALWAYS = "environment"
_OF_ROOT = Path("/var/lib/dmtcp-py")
_READABLE_DIR, _READABLE_FILE = 0o755, 0o644


def loaded(plugins: Sequence[Path]) -> list[Path]:
    """Return what to load into a program so that PLUGINS are, or nothing if there are none."""
    libraries = [library for library in (built(_ALWAYS), *plugins) if library is not None] if plugins else []
    if not libraries:
        return []
    folder = kept(libraries[0].parent)
    return [folder / library.name for library in libraries]


def keep() -> None:
    """Make sure that there are copies of this release's libraries: a program that is to be resumed may have them."""
    library = built(_ALWAYS)
    if library is not None:
        kept(library.parent)


def kept(folder: Path) -> Path:
    """Return a copy of the libraries in FOLDER that outlives an upgrade; FOLDER itself where there can be none."""
    libraries = {path.name: path.read_bytes() for path in sorted(folder.glob("*.so"))}
    digest = xxhash.xxh3_128_hexdigest(b"".join(libraries.values()))
    # a program that has them loaded is known by the name of the folder
    copy = (_OF_ROOT if is_root() else data_folder()) / "libraries" / digest / folder.name
    if any(char in str(copy) for char in ": "):
        return folder
    with suppress(OSError):
        for name, content in libraries.items():
            path = copy / name
            if not path.is_file() or path.stat().st_size != len(content):
                _make(path, content)
        if are_ours(*(copy / name for name in libraries), copy, *copy.parents[:3]):
            return copy
    return folder


def _make(path: Path, content: bytes) -> None:
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir(exist_ok=True)
            folder.chmod(_READABLE_DIR if is_root() else PRIVATE_DIR)
    write_atomic(path, content)
    path.chmod(_READABLE_FILE)
