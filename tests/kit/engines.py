"""The engines on this machine, and what else of the machine decides which tests can run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from dmtcp_py.engine.criu import installation
from dmtcp_py.errors import EngineError
from kit.places import PROGRAM_FILES
from kit.waits import LONG_S


@dataclass(frozen=True)
class EngineHere:
    """An engine that this machine has, and how a line asks for it."""

    name: str
    version: str
    environ: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}-{self.version}"

    @property
    def by_name(self) -> EngineHere:
        """The same engine, asked for by name, so that no other takes its place."""
        return replace(self, options=("--engine", self.name))


def find_dmtcp() -> list[EngineHere]:
    """Return each DMTCP on PATH, in DMTCP_PREFIX, in DMTCP_PREFIXES (colons between) and in /opt/dmtcp*.

    NO_DMTCP has the tests see none; see ``without-dmtcp``.
    """
    if os.environ.get("NO_DMTCP"):
        return []
    on_path = shutil.which("dmtcp_launch")
    prefixes = [Path(on_path).parent.parent] if on_path else []
    named = [os.environ.get("DMTCP_PREFIX", ""), *os.environ.get("DMTCP_PREFIXES", "").split(":")]
    prefixes += [Path(name) for name in named if name]
    prefixes += sorted(Path("/opt").glob("dmtcp*"))
    found: dict[Path, EngineHere] = {}
    for prefix in prefixes:
        tool = prefix / "bin" / "dmtcp_launch"
        if tool.is_file() and prefix.resolve() not in found:
            output = subprocess.run([tool, "--version"], capture_output=True, text=True, timeout=20, check=False)
            version = (output.stdout + output.stderr).partition("(DMTCP)")[2].split()
            if version:
                environ = {"DMTCP_PREFIX": str(prefix)}
                found[prefix.resolve()] = EngineHere("dmtcp", version[0], environ)
    return list(found.values())


def find_criu() -> tuple[list[EngineHere], str]:
    """Return the CRIU that dmtcp-run would use, if it works for this user; otherwise the reason why not."""
    try:
        found = installation.find()
        problem = installation.problem(found)
        here = EngineHere("criu", found.version, {"DMTCP_RUN_CRIU": str(found.path)}, ("--engine", "criu"))
    except EngineError as error:
        return [], error.what
    return ([], problem) if problem else ([here], "")


def kernel_gives_rings() -> bool:
    """Whether this kernel gives an ordinary program a ring of io_uring."""
    words = [sys.executable, PROGRAM_FILES / "uring.py", "1"]
    return b"True" in subprocess.run(words, capture_output=True, timeout=LONG_S, check=True).stdout
