"""The CRIU on this machine: where it is installed, and its version.

`dmtcp_py.engine.criu.private_copy` installs a private copy; `dmtcp_py.engine.criu.trials` finds out whether it works.
"""

from __future__ import annotations

import os
import re
import shutil
from functools import cached_property
from pathlib import Path

from msgspec import Struct

from dmtcp_py.engine.criu.privileges import are_ours, data_folder
from dmtcp_py.errors import EngineError
from dmtcp_py.system.cache import facts_of, remember, remembered
from dmtcp_py.system.ownership import replaceable
from dmtcp_py.system.tools import run_tool

_VERSION = re.compile(r"^Version:\s*(\d+(?:\.\d+)*\S*)", re.MULTILINE)
_TOOL_S = 20.0
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


class Installation(Struct, frozen=True, dict=True):
    """A CRIU whose executable is PATH."""

    path: Path

    @cached_property
    def version(self) -> str:
        """The version, such as ``4.2.1``."""
        facts = [facts_of(self.path)]
        if (known := remembered("criu-version", facts)) is not None:
            return known
        output = run_tool([str(self.path), "--version"], timeout_s=_TOOL_S).output
        found = _VERSION.search(output)
        if found is None:
            raise EngineError(f"{self.path} does not print its version", "check that it is CRIU")
        remember("criu-version", facts, found[1])
        return found[1]


def candidates() -> list[Installation]:
    """Return the CRIU in ``DMTCP_RUN_CRIU`` alone if that is set, otherwise the private copy and the one on PATH.

    Raises EngineError if there is none.
    """
    named = os.environ.get("DMTCP_RUN_CRIU")
    if named:
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            raise EngineError(f"DMTCP_RUN_CRIU names {named}, which cannot be executed", "unset DMTCP_RUN_CRIU")
        if problem := replaceable([Path(named)], is_named=True):
            raise EngineError(f"{named} could be replaced by another user: {problem}", "fix that, or choose another")
        return [Installation(Path(named).absolute())]
    found = [Installation(path) for path in _places()]
    if not found:
        raise EngineError("CRIU is not installed here", "run 'dmtcp-ctl setup --engine criu'")
    return found


def private_prefix() -> Path:
    """Return the folder of the private copy of CRIU, which need not exist."""
    return data_folder() / "criu"


def _places() -> list[Path]:
    private = private_prefix() / "criu"
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SBIN))
    on_path = shutil.which("criu", path=search)
    is_private = os.access(private, os.X_OK) and are_ours(private, private.parent, private.parent.parent)
    found = [private] if is_private else []
    if on_path and (problem := replaceable([Path(on_path)], is_named=False)):
        if found:
            return found
        raise EngineError(
            f"{on_path} could be replaced by another user: {problem}",
            f"'export DMTCP_RUN_CRIU={on_path}' to use it nevertheless, or run 'dmtcp-ctl setup --engine criu'",
        )
    return [*found, Path(on_path).absolute()] if on_path else found
