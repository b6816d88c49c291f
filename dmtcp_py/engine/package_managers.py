"""The package managers on this machine that have DMTCP or CRIU.

Each is queried by a command that changes nothing. A package manager that is not listed here is not found.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.errors import EngineError
from dmtcp_py.system.child import Child, ChildStdio
from dmtcp_py.system.tools import ToolResult, run_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Say = Callable[[str], None]

_QUERY_S = 60.0
_INSTALL_S = 4 * 3600.0
"""Long, because Spack builds from source."""
_STDERR = 2
_MODULE = re.compile(r"^\s*(dmtcp(?:/\S+)?)", re.IGNORECASE | re.MULTILINE)
_MODULE_COMMANDS = ("LMOD_CMD", "MODULES_CMD")
"""The variables in which Lmod and Environment Modules name the command behind the shell function ``module``."""


class Offer(Struct, frozen=True):
    """A command that installs PACKAGE; CAN_RUN says whether setup may run it, rather than the user."""

    manager: str
    package: str
    command: tuple[str, ...]
    can_run: bool
    then: str = ""
    """The command that the user types afterwards, so that the package is found."""

    @property
    def line(self) -> str:
        """The whole command line, as the user types it."""
        return " && ".join(filter(None, (shlex.join(self.command), self.then)))


class _Manager(Struct, frozen=True):
    name: str
    query: tuple[str, ...]
    install: tuple[str, ...]
    needs_root: bool = True
    then: str = ""


_MANAGERS = (
    _Manager("apt-get", ("apt-cache", "show", "--no-all-versions"), ("apt-get", "install", "-y")),
    _Manager("dnf", ("dnf", "-q", "repoquery"), ("dnf", "install", "-y")),
    _Manager(
        "zypper",
        ("zypper", "--non-interactive", "--no-refresh", "search", "--match-exact"),
        ("zypper", "--non-interactive", "install"),
    ),
    _Manager("pacman", ("pacman", "-Si"), ("pacman", "-S", "--noconfirm")),
    _Manager("spack", ("spack", "info"), ("spack", "install"), needs_root=False, then="spack load"),
    _Manager("mamba", ("mamba", "search"), ("mamba", "install", "-y"), needs_root=False),
    _Manager("conda", ("conda", "search"), ("conda", "install", "-y"), needs_root=False),
)


def offers(package: str, environ: Mapping[str, str], say: Say) -> list[Offer]:
    """Query the package managers on this machine for PACKAGE; return the command of each that has it."""
    found = _modules(environ, say) if package == "dmtcp" else []
    for manager in _MANAGERS:
        if any(manager.name == "conda" and offer.manager == "mamba" for offer in found):
            continue
        tool = manager.query[0]
        if shutil.which(tool) is None or shutil.which(manager.install[0]) is None:
            continue
        if _has(package, _query([*manager.query, package], say)):
            found.append(_offer(manager, package))
    return found


def version_of(package: str) -> str | None:
    """Return the version of PACKAGE that apt would install."""
    output = _query(["apt-cache", "show", "--no-all-versions", package], lambda _text: None).output
    found = re.search(r"^Version: (\S+)", output, re.MULTILINE)
    return found[1] if found else None


def run(offer: Offer) -> None:
    """Run OFFER's command with its output on stderr; raise EngineError if it fails."""
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    child = Child(
        offer.command, env=environ, dies_with_us=True, stdio=ChildStdio(stdin=subprocess.DEVNULL, stdout=_STDERR)
    )
    try:
        ending = child.wait(_INSTALL_S)
    finally:
        child.stop()
    if ending is None or ending.status != 0:
        raise EngineError(f"'{shlex.join(offer.command)}' failed", "its output above says why")


def _offer(manager: _Manager, package: str) -> Offer:
    can_run = not manager.needs_root or os.geteuid() == 0
    command = (*manager.install, package)
    then = f"{manager.then} {package}" if manager.then else ""
    return Offer(
        manager=manager.name,
        package=package,
        command=command if can_run else ("sudo", *command),
        can_run=can_run,
        then=then,
    )


def _modules(environ: Mapping[str, str], say: Say) -> list[Offer]:
    named = [environ[name] for name in _MODULE_COMMANDS if name in environ]
    command = next((path for path in (*named, shutil.which("modulecmd")) if path), None)
    if command is None:
        return []
    # both print the list on stderr, and take the name of the shell as their first argument
    names = _MODULE.findall(_query([command, "bash", "-t", "avail", "dmtcp"], say).output)
    full = [name for name in names if not name.endswith("/")]
    return [Offer("module", "dmtcp", ("module", "load", full[-1]), can_run=False)] if full else []


def _query(argv: list[str], say: Say) -> ToolResult:
    say(f"running {shlex.join(argv)}")
    try:
        return run_tool(argv, timeout_s=_QUERY_S, env={**os.environ, "LC_ALL": "C"})
    except EngineError as error:
        say(error.what)
        return ToolResult(1, "")


def _has(package: str, result: ToolResult) -> bool:
    return result.status == 0 and package in result.output.lower()
