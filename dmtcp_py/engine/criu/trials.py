"""Whether CRIU works here, and in which way, found by doing the real steps once.

The answer is kept for this boot, kernel, user and CRIU, and forgotten where a step fails later.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.engine.criu import privileges, ways
from dmtcp_py.engine.criu.command import COMMON
from dmtcp_py.engine.criu.denials import advice, step_that_failed
from dmtcp_py.engine.criu.inside.argv import inside_argv
from dmtcp_py.engine.criu.inside.trial import CRIU_FAILED
from dmtcp_py.engine.criu.installation import candidates, private_prefix
from dmtcp_py.engine.criu.keeper_client import in_namespaces
from dmtcp_py.errors import EngineError
from dmtcp_py.system.cache import facts_of, forget, remember, remembered
from dmtcp_py.system.files import remove_tree
from dmtcp_py.system.proc import boot_id
from dmtcp_py.system.tools import run_tool

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.engine.criu.installation import Installation
    from dmtcp_py.engine.criu.ways import Way

_TRIAL_S = 60.0
_SIGNALLED = 128
_WORKS = "criu-works"
_FORMAT = "2"
_STATUS_FIELDS = ("Uid", "Gid", "CapPrm", "CapEff", "CapAmb", "CapBnd", "NoNewPrivs", "Seccomp")
_SPACES = ("user", "mnt", "pid")


class Tried(Struct, frozen=True):
    """One way of running CRIU, and the PROBLEM with it; None if it works."""

    way: Way
    problem: str | None
    is_criu_at_fault: bool = False
    """Whether another CRIU might work."""


class Found(Struct, frozen=True):
    """A CRIU, and the ways that were tried with it, up to the first that works."""

    installation: Installation
    tried: tuple[Tried, ...]

    @property
    def way(self) -> Way | None:
        """The way that works."""
        return next((one.way for one in self.tried if one.problem is None), None)

    @property
    def problem(self) -> str | None:
        """Why no way works; None if one does."""
        if self.way is not None:
            return None
        if len(self.tried) == 1:
            return self.tried[0].problem
        return "; ".join(f"{one.way.name}: {one.problem}" for one in self.tried)

    @property
    def is_criu_at_fault(self) -> bool:
        """Whether another CRIU might work in one of the ways."""
        return any(one.is_criu_at_fault for one in self.tried)


def find(*, anew: bool = False) -> Found:
    """Return the first CRIU that works, or if none does, the first one; ANEW trusts no earlier success.

    Raises EngineError if there is none.
    """
    found = []
    for installation in candidates():
        found.append(_try_all(installation, anew=anew))
        if found[-1].way is not None:
            return found[-1]
    return found[0]


def forget_success(installation: Installation) -> None:
    """Have the next search try this CRIU again."""
    for way in ways.possible():
        forget(_WORKS, _facts(installation, way))


def _try_all(installation: Installation, *, anew: bool) -> Found:
    tried: list[Tried] = []
    for way in ways.possible():
        facts = _facts(installation, way)
        if not anew and remembered(_WORKS, facts) is not None:
            tried.append(Tried(way, None))
            break
        lacks, attempt = _TRIALS[way.name]
        lack = lacks()
        tried.append(Tried(way, lack) if lack else attempt(installation, way))
        if tried[-1].problem is None:
            remember(_WORKS, facts, f"{installation.path} {installation.version} {way.name}\n")
            break
    return Found(installation, tuple(tried))


def _facts(installation: Installation, way: Way) -> list[str]:
    """Return the facts that decide whether CRIU works."""
    status = [privileges.status_of(name) for name in _STATUS_FIELDS]
    spaces = [os.readlink(f"/proc/self/ns/{name}") for name in _SPACES]
    used = (installation.path, privileges.setpriv_copy(), way.library)
    files = [facts_of(path) for path in used if path is not None and path.is_file()]
    root = Path("/").stat()
    return [
        _FORMAT,
        way.name,
        boot_id(),
        os.uname().release,
        str(root.st_dev),
        str(root.st_ino),
        *status,
        *spaces,
        *files,
    ]


def _nothing_lacks() -> None:
    """Return None: only the steps show what a user namespace lacks."""


def _check(installation: Installation, way: Way) -> Tried:
    """Run ``criu check``, which suffices where CRIU has the privileges that it asks for.

    One that was killed, as where memory is short, or that hung, says nothing of the kernel, and is run once more.
    """
    check = [*way.entering(None), str(installation.path), "check", *way.options]
    problem = ""
    for _ in range(2):
        try:
            # without a folder for its cache CRIU only warns
            result = run_tool(check, timeout_s=_TRIAL_S)
        except EngineError as error:
            problem = str(error)
            continue
        if result.status == 0:
            return Tried(way, None)
        problem = _failed_check(installation, result.output, result.status)
        if result.status <= _SIGNALLED:
            break
    return Tried(way, problem, is_criu_at_fault=True)


def _do_steps(installation: Installation, way: Way) -> Tried:
    """Make the namespaces, and have criu dump and restore a program in them."""
    folder = Path(tempfile.mkdtemp(prefix="dmtcp-trial-"))
    try:
        order = {
            "criu": way.criu(installation.path),
            "options": [*COMMON, *way.options],
            "own_ipc": way.has_own_ipc,
            "folder": str(folder),
        }
        trial = inside_argv("engine.criu.inside.trial", json.dumps(order))
        result = run_tool(in_namespaces(way, None, trial), timeout_s=_TRIAL_S)
    except EngineError as error:
        return Tried(way, str(error))
    finally:
        remove_tree(folder)
    if result.status == 0:
        return Tried(way, None)
    said = [line.strip() for line in result.output.splitlines() if line.strip()]
    why = step_that_failed(said[-1]) if said else f"status {result.status}"
    if result.status == CRIU_FAILED:
        what = f"{installation.path} fails on this kernel ({os.uname().release}): {why}{_another(installation)}"
        return Tried(way, what, is_criu_at_fault=True)
    return Tried(way, f"{why}; {advice(why)}")


def _failed_check(installation: Installation, output: str, status: int) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("Warn")]
    reason = lines[0] if lines else f"status {status}"
    kernel = os.uname().release
    return f"'{installation.path} check' fails on this kernel ({kernel}): {reason}{_another(installation)}"


def _another(installation: Installation) -> str:
    """Return how to get another CRIU than INSTALLATION; nothing if it is the private copy or was asked for."""
    is_chosen = installation.path == private_prefix() / "criu" or bool(os.environ.get("DMTCP_RUN_CRIU"))
    return "" if is_chosen else "; 'dmtcp-ctl setup --engine criu' installs a newer one in your home"


_TRIALS: dict[str, tuple[Callable[[], str | None], Callable[[Installation, Way], Tried]]] = {
    ways.ROOT: (privileges.missing_privilege, _check),
    ways.CAPABILITIES: (privileges.missing_privilege, _check),
    ways.USER_NAMESPACE: (_nothing_lacks, _do_steps),
}
"""For each way what finds out without CRIU that it cannot be, and what tries it."""
