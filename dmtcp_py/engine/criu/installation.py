"""Where CRIU is on this machine, which version, and whether it can work for this user.

What an ordinary user needs was measured with CRIU 4.2 on Linux 6.18, each capability taken away in turn. How a
private copy is brought here is `dmtcp_py.engine.criu.private_copy`'s business.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dmtcp_py.errors import EngineError
from dmtcp_py.system.cache import facts_of, remember, remembered
from dmtcp_py.system.files import make_private_dir
from dmtcp_py.system.proc import boot_id
from dmtcp_py.system.tools import run_tool

NEEDED = {"cap_setpcap": 8, "cap_net_admin": 12, "cap_sys_admin": 21}
"""The capabilities that CRIU needs, by their numbers in linux/capability.h: to drop what a restored process must not
have, to take over TCP connections, and to make namespaces."""
_NEEDED_AS_ROOT = {**NEEDED, "cap_sys_chroot": 18, "cap_sys_time": 25}
"""For root it restores roots and clocks besides, which it leaves alone for others."""
_VERSION = re.compile(r"^Version:\s*(\d+(?:\.\d+)*\S*)", re.MULTILINE)
_NOISE = re.compile(r"^(?:Warn|\s*$)")
_TOOL_S = 20.0
_WORKS = "criu-works"
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


@dataclass(frozen=True)
class Installation:
    """A CRIU that is run as PATH."""

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
            raise EngineError(f"{self.path} does not print its version", "is this CRIU?")
        remember("criu-version", facts, found[1])
        return found[1]

    @property
    def options(self) -> tuple[str, ...]:
        """What every call must have besides: CRIU refuses other users than root without it."""
        return () if is_root() else ("--unprivileged",)


def find() -> Installation:
    """Return the CRIU in ``DMTCP_RUN_CRIU``, else the private copy, else the one on PATH: the first that works here.

    Where none works it is the first that is there. Raises EngineError where there is none.
    """
    named = os.environ.get("DMTCP_RUN_CRIU")
    if named:
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            raise EngineError(f"DMTCP_RUN_CRIU names {named}, which cannot be executed", "unset DMTCP_RUN_CRIU")
        return Installation(Path(named).absolute())
    found = [Installation(path) for path in _places()]
    if not found:
        raise EngineError("CRIU is not installed here", "dmtcp-ctl setup --engine criu")
    if len(found) == 1:
        return found[0]
    return next((one for one in found if known_problem(one) is None), found[0])


def problem(installation: Installation) -> str | None:
    """Return why CRIU does not work for this user on this kernel, with the next step; None if it does."""
    return lacking_privilege() or _failed_check(installation)


def known_problem(installation: Installation) -> str | None:
    """Return the same, but trust what was found before by this user, with the same privileges, since the boot."""
    facts = _facts(installation)
    if remembered(_WORKS, facts) is not None:
        return None
    found = problem(installation)
    if found is None:
        remember(_WORKS, facts, f"{installation.path} {installation.version}\n")
    return found


def _facts(installation: Installation) -> list[str]:
    """Return what it depends on whether CRIU works."""
    privileges = [_status(name) for name in ("Uid", "CapPrm", "CapEff", "CapAmb", "CapBnd", "NoNewPrivs")]
    files = [facts_of(path) for path in (installation.path, raiser()) if path.is_file()]
    return [boot_id(), os.uname().release, *privileges, *files]


def lacking_privilege() -> str | None:
    """Return what this user may not do that CRIU needs, with the next step; None where nothing is missing."""
    missing = missing_capabilities()
    if not missing:
        return None
    lacks = f"{', '.join(missing).upper()} {'is' if len(missing) == 1 else 'are'} missing"
    if is_root():
        add = " ".join(f"--cap-add {name.removeprefix('cap_').upper()}" for name in missing)
        return f"{lacks}, though this is root: start the container with {add}"
    if not raiser().is_file():
        return f"{lacks}: run 'dmtcp-ctl setup --engine criu', then an administrator: {setcap_line()}"
    if run_tool([*_raising(), "true"], timeout_s=_TOOL_S).status == 0:
        return None
    if "security.capability" not in os.listxattr(raiser()):
        return f"{lacks}: an administrator who trusts you as root can give them: {setcap_line()}"
    return f"{lacks}: {raiser()} has them and may not use them ({_why_not()})"


def launcher() -> tuple[str, ...]:
    """Return the words to be put before the command that makes namespaces and runs CRIU there.

    None for those who have the capabilities; otherwise the private copy of setpriv raises them for its command and
    what that starts. The loader takes LD_LIBRARY_PATH away from a program with capabilities: env brings it back.
    """
    if not missing_capabilities():
        return ()
    libraries = os.environ.get("LD_LIBRARY_PATH")
    return (*_raising(), *(("env", f"LD_LIBRARY_PATH={libraries}") if libraries else ()))


def missing_capabilities() -> list[str]:
    """Return the needed capabilities that this process cannot pass on to a program that it starts."""
    # what is effective is inherited by root; others inherit ambient ones only
    have = int(_status("CapEff" if is_root() else "CapAmb") or "0", 16)
    needed = _NEEDED_AS_ROOT if is_root() else NEEDED
    return [name for name, number in needed.items() if not have >> number & 1]


def is_root() -> bool:
    """Return whether this is root, to CRIU: it looks at the user id, not at the capabilities."""
    return os.geteuid() == 0


def data_folder() -> Path:
    """Return where this user's private copies are, by the XDG base directory specification."""
    named = os.environ.get("XDG_DATA_HOME", "")
    return (Path(named) if named.startswith("/") else Path.home() / ".local/share") / "dmtcp-py"


def private_prefix() -> Path:
    """Return where the private copy of CRIU is, if it is there."""
    return data_folder() / "criu"


def raiser() -> Path:
    """Return where the copy of setpriv is that an administrator may give capabilities."""
    return data_folder() / "setpriv"


def place_raiser() -> bool:
    """Put the copy of setpriv where an administrator can give it capabilities; return whether it was not there."""
    source = shutil.which("setpriv", path="/usr/bin:/bin")
    if raiser().is_file() or source is None:
        return False
    make_private_dir(data_folder())
    # others must not run it once it has capabilities
    temporary = raiser().with_name(f".setpriv.{os.getpid()}")
    shutil.copyfile(source, temporary)
    temporary.chmod(0o700)
    temporary.replace(raiser())
    return True


def setcap_line() -> str:
    """Return the one line by which an administrator lets this user use CRIU."""
    return f"sudo setcap {','.join(NEEDED)}+ep {shlex.quote(str(raiser()))}"


def _places() -> list[Path]:
    private = private_prefix() / "criu"
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SBIN))
    on_path = shutil.which("criu", path=search)
    # root, under somebody else's HOME, must not run what is not root's
    is_ours = os.access(private, os.X_OK) and private.stat().st_uid in {0, os.geteuid()}
    found = [private] if is_ours else []
    return [*found, Path(on_path).absolute()] if on_path else found


def _why_not() -> str:
    if _status("NoNewPrivs") == "1":
        return "this process may gain no privileges: no_new_privs is set"
    if os.statvfs(raiser()).f_flag & os.ST_NOSUID:
        return "its file system is mounted nosuid: set XDG_DATA_HOME to a folder on another"
    return f"others than needed, or the bounding set forbids it; again: {setcap_line()}"


def _failed_check(installation: Installation) -> str | None:
    check = [str(installation.path), "check", *installation.options]
    try:
        # without a place for its cache CRIU only warns
        result = run_tool([*launcher(), *check], timeout_s=_TOOL_S)
    except EngineError as error:
        return str(error)
    if result.status == 0:
        return None
    lines = [line.strip() for line in result.output.splitlines() if not _NOISE.match(line)]
    said = lines[0] if lines else f"status {result.status}"
    return f"'{installation.path} check' fails on this kernel ({os.uname().release}): {said}"


def _raising() -> tuple[str, ...]:
    names = ",".join(f"+{name.removeprefix('cap_')}" for name in NEEDED)
    return (str(raiser()), f"--inh-caps={names}", f"--ambient-caps={names}", "--")


def _status(field: str) -> str:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    return ""
