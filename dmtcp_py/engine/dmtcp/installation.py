"""The DMTCP on this machine: where it is installed, its version, and the environment of its tools."""

from __future__ import annotations

import os
import re
import shutil
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.errors import EngineError
from dmtcp_py.store.inside import BATCH_VARIABLE, VARIABLE
from dmtcp_py.system.ownership import replaceable
from dmtcp_py.system.tools import run_tool

if TYPE_CHECKING:
    from collections.abc import Mapping

FAIL_STATUSES = range(200, 251)
"""The range from which DMTCP's exit status for its own failures is drawn.

DMTCP's default, 99, is also Grid Engine's requeue status, and any fixed status may be a program's.
"""
_VERSION = r"\(DMTCP\)\s+(?:version\s+)?v?(\d+(?:\.\d+)*\S*)"
_VERSION_IN_FILE = rb"dmtcp_launch \(DMTCP\) (\d+(?:\.\d+)*[^\s\0]*)[\n\0]"
_ELF = b"\x7fELF"
_MOST_TOOL_BYTES = 32 << 20
_TOOL_S = 20.0
_LOSES_MESSAGES = 5
_OLDEST = (3, 2)
TOOLS = ("dmtcp_launch", "dmtcp_restart", "dmtcp_coordinator", "dmtcp_command")
_RESTORER = "mtcp_restart"
"""What dmtcp_restart executes; without it each checkpoint succeeds, and no restart does."""
_RESTORER_FOLDERS = (".", "../bin", "../lib64/dmtcp", "../lib/dmtcp")
"""Where dmtcp_restart looks for it, from its own folder."""
_HOW_TO_INSTALL = (
    "run 'dmtcp-ctl setup --engine dmtcp', or install DMTCP with dnf, zypper, pacman, spack or 'module load dmtcp'; "
    "see https://dmtcp.sourceforge.io"
)


class Installation(Struct, frozen=True, dict=True):
    """A DMTCP whose tools lie in folder BIN."""

    bin: Path

    @cached_property
    def version(self) -> str:
        """The version, such as ``4.2.0``: read from the tool's file, which is faster than running it."""
        tool = Path(self.tool("dmtcp_launch"))
        version = _version_in_file(tool) or _version_it_prints(tool)
        if version is None:
            raise EngineError(f"{tool} does not print its version", "check that it is DMTCP's")
        return version

    def tool(self, name: str) -> str:
        """Return the path of the tool NAME."""
        return str(self.bin / name)


def find() -> Installation:
    """Return the DMTCP in ``DMTCP_PREFIX`` if that is set, otherwise the one on PATH; EngineError if there is none."""
    prefix = os.environ.get("DMTCP_PREFIX")
    search = str(Path(prefix) / "bin") if prefix else os.environ.get("PATH")
    launch = shutil.which("dmtcp_launch", path=search)
    if launch is None:
        where = f"in {search} (DMTCP_PREFIX)" if prefix else "on PATH"
        raise EngineError(f"there is no dmtcp_launch {where}: DMTCP is not installed here", _HOW_TO_INSTALL)
    found = Installation(Path(launch).absolute().parent)
    _refuse_replaceable(found, is_named=prefix is not None)
    _refuse_too_old(found)
    missing = [name for name in TOOLS if not os.access(found.tool(name), os.X_OK)]
    restart = Path(found.tool("dmtcp_restart"))
    near = [place / folder for place in (found.bin, restart.resolve().parent) for folder in _RESTORER_FOLDERS]
    if not any(os.access(folder / _RESTORER, os.X_OK) for folder in near):
        missing.append(_RESTORER)
    if missing:
        raise EngineError(f"DMTCP in {found.bin} is incomplete: it has no {', '.join(missing)}", _HOW_TO_INSTALL)
    return found


def _refuse_replaceable(found: Installation, *, is_named: bool) -> None:
    """Refuse a DMTCP that another user could replace, before any of it is executed."""
    prefix = found.bin.resolve().parent
    tools = [Path(found.tool(name)) for name in TOOLS if Path(found.tool(name)).exists()]
    libraries = [path for pattern in ("lib*/dmtcp/*.so", "lib/*/dmtcp/*.so") for path in prefix.glob(pattern)]
    problem = replaceable([*tools, *libraries], is_named=is_named)
    if problem is not None:
        instead = (
            "fix that, or choose another" if is_named else f"'export DMTCP_PREFIX={prefix}' to use it nevertheless"
        )
        raise EngineError(f"the DMTCP in {found.bin} could be replaced by another user: {problem}", instead)


def _refuse_too_old(found: Installation) -> None:
    """Refuse a version before 3.2: it has neither the options nor the messages that we rely on."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", found.version)[:2])
    if numbers < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise EngineError(
            f"DMTCP {found.version} in {found.bin} is too old: dmtcp-run needs {oldest} or later",
            f"load or install DMTCP {oldest} or later (tested: 3.2.0, 4.2.0, 5.0), or try --engine criu",
        )


def _version_in_file(tool: Path) -> str | None:
    """Return the version from the text for --version in the file TOOL, if the text is there in one piece."""
    try:
        with tool.open("rb") as file:
            text = file.read(_MOST_TOOL_BYTES)
    except OSError:
        return None
    found = re.search(_VERSION_IN_FILE, text) if text.startswith(_ELF) else None
    return found[1].decode("ascii") if found else None


def _version_it_prints(tool: Path) -> str | None:
    # some versions exit with 1 after printing it
    output = run_tool([str(tool), "--version"], timeout_s=_TOOL_S, env=clean(os.environ)).output
    found = re.search(_VERSION, output)
    return found[1] if found else None


def clean(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ENVIRON without the variables that change DMTCP's defaults or lead to another coordinator.

    Those that lead the program to its job stay.
    """
    kept = (VARIABLE, BATCH_VARIABLE)
    return {name: environ[name] for name in environ if name in kept or not name.startswith(("DMTCP_", "JALIB_"))}


def logs_failures(version: str) -> bool:
    """Return whether DMTCP always writes its failures to the file that we name: after an exec, 5.0 does not."""
    return int(version.split(".", maxsplit=1)[0]) < _LOSES_MESSAGES


def image_format(version: str) -> tuple[str, ...]:
    """Return the part in which two versions must agree to restart each other's images; 4.0 changed the format."""
    return tuple(version.split(".")[:2])
