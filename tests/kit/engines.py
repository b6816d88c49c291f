"""The engines on this machine, and what else of the machine decides which tests can run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.engine.criu import trials, ways
from dmtcp_py.errors import EngineError
from kit.places import PROGRAM_FILES, REPOSITORY, TESTS
from kit.waits import LONG_S

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_PRIVILEGES = "-without-privileges"
"""The end of the name of an engine that an ordinary user has."""
_PLAIN_UID = 41877
"""A user whom no machine has."""
CRASHES: list[str] = []
"""What the search for CRIU without privileges said when it crashed; a test looks here, as others are then left out."""
_DOES_NOT = 3
_WORKS = f"from dmtcp_py.engine.criu import trials; raise SystemExit({_DOES_NOT} if trials.find().problem else 0)"


@dataclass(frozen=True)
class OtherUser:
    """An ordinary user with this UID, who can reach FOLDERS, and owns HOME."""

    uid: int
    home: Path
    folders: tuple[Path, ...]
    groups: tuple[int, ...] = ()
    """The supplementary ones."""

    def reaching(self, folder: Path) -> OtherUser:
        """Return this user, able to reach FOLDER too."""
        folder.chmod(0o755)
        return replace(self, folders=(*self.folders, folder))

    def typing(self, argv: Sequence[str | Path], *own: Path) -> list[str]:
        """Return the command that runs ARGV as this user; the files below the folders OWN become the user's."""
        for folder in own:
            for path in (folder, *folder.rglob("*")):
                with suppress(FileNotFoundError):
                    os.chown(path, self.uid, self.uid, follow_symlinks=False)
        # the upper ones first: what is below them is reached through them
        folders = sorted(map(str, (*self.folders, *own)), key=len)
        who = f"{self.uid}:{','.join(map(str, self.groups))}" if self.groups else str(self.uid)
        return [sys.executable, "-I", "-S", str(TESTS / "as-user"), who, *folders, "--", *map(str, argv)]


@dataclass(frozen=True)
class EngineHere:
    """An engine that this machine has, and how a line asks for it."""

    name: str
    version: str
    environ: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    user: OtherUser | None = None
    """Who types the line, where it is not the one who runs the tests."""
    has_privileges: bool = True
    """Whether who runs the tests has those that it asks for."""

    def __str__(self) -> str:
        return f"{self.name}-{self.version}{NO_PRIVILEGES if self.is_an_ordinary_users else ''}"

    @property
    def is_an_ordinary_users(self) -> bool:
        """Whether whoever types the line has none of the privileges that it asks for."""
        return self.user is not None or not self.has_privileges

    @property
    def to_itself(self) -> tuple[str, ...]:
        """The options for a program that connects to itself over TCP."""
        return ("--network", "own") if self.is_an_ordinary_users else ()

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
        found = trials.find(anew=True)
        criu = found.installation
        is_plain = found.way is not None and found.way.name == ways.USER_NAMESPACE
        here = EngineHere("criu", criu.version, {"DMTCP_RUN_CRIU": str(criu.path)}, ("--engine", "criu"))
        here = replace(here, has_privileges=not is_plain)
    except EngineError as error:
        return [], error.what
    return ([], found.problem) if found.problem else ([here], "")


def without_privileges(found: list[EngineHere]) -> list[EngineHere]:
    """Return the CRIU FOUND as an ordinary user has it, who has no privileges; none where the tests do not run as root.

    There the CRIU of whoever runs the tests is that already, and elsewhere user namespaces may be forbidden.
    """
    if not found or os.geteuid() != 0:
        return []
    home = Path(tempfile.gettempdir(), f"dmtcp-run-tests-{_PLAIN_UID}")
    home.mkdir(mode=0o700, exist_ok=True)
    os.chown(home, _PLAIN_UID, _PLAIN_UID)
    criu = Path(found[0].environ["DMTCP_RUN_CRIU"])
    # with the programs on PATH, and what they need beside them
    on_path = {Path(folder).resolve().parent for folder in os.environ["PATH"].split(os.pathsep) if folder}
    needed = (Path(sys.base_prefix), REPOSITORY, Path(sys.prefix), criu.parent, *sorted(on_path))
    user = OtherUser(_PLAIN_UID, home, tuple(folder for folder in needed if folder.is_dir()))
    environ = {**found[0].environ, "HOME": str(home), "XDG_CACHE_HOME": str(home), "XDG_DATA_HOME": str(home)}
    subprocess.run(user.typing(["true"]), timeout=LONG_S, check=True)
    works = user.typing([sys.executable, "-c", _WORKS])
    done = subprocess.run(
        works, env={**os.environ, **environ}, timeout=LONG_S, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, _DOES_NOT):
        CRASHES.append(done.stderr)
    return [replace(found[0], environ=environ, user=user)] if done.returncode == 0 else []


def reaching(engine: EngineHere, *folders: Path) -> EngineHere:
    """Return ENGINE whose user can reach FOLDERS."""
    if engine.user is None:
        return engine
    user = engine.user
    for folder in folders:
        user = user.reaching(folder)
    return replace(engine, user=user)


def kernel_gives_rings() -> bool:
    """Whether this kernel gives an ordinary program a ring of io_uring."""
    words = [sys.executable, PROGRAM_FILES / "uring.py", "1"]
    return b"True" in subprocess.run(words, capture_output=True, timeout=LONG_S, check=True).stdout
