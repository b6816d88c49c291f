"""The CRIU on this machine: where it is installed, its version, and whether it works for this user.

The capabilities that an ordinary user needs were measured with CRIU 4.2 on Linux 6.18, by dropping each in turn.
`dmtcp_py.engine.criu.private_copy` installs a private copy.
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
"""The capabilities that CRIU needs, with their numbers in linux/capability.h: to drop those that a restored process
must not have, to checkpoint and restore TCP connections, and to create namespaces."""
_NEEDED_AS_ROOT = {**NEEDED, "cap_sys_chroot": 18, "cap_sys_time": 25}
"""For root, CRIU also restores root directories and clocks."""
_VERSION = re.compile(r"^Version:\s*(\d+(?:\.\d+)*\S*)", re.MULTILINE)
_NOISE = re.compile(r"^(?:Warn|\s*$)")
_TOOL_S = 20.0
_WORKS = "criu-works"
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


@dataclass(frozen=True)
class Installation:
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

    @property
    def options(self) -> tuple[str, ...]:
        """The options that each call needs: without them CRIU refuses users other than root."""
        return () if is_root() else ("--unprivileged",)


def find() -> Installation:
    """Return the CRIU in ``DMTCP_RUN_CRIU`` if that is set, otherwise the private copy or the one on PATH.

    Of these two it is the first one that works, or if neither does, the first one. Raises EngineError if there is none.
    """
    named = os.environ.get("DMTCP_RUN_CRIU")
    if named:
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            raise EngineError(f"DMTCP_RUN_CRIU names {named}, which cannot be executed", "unset DMTCP_RUN_CRIU")
        return Installation(Path(named).absolute())
    found = [Installation(path) for path in _places()]
    if not found:
        raise EngineError("CRIU is not installed here", "run 'dmtcp-ctl setup --engine criu'")
    if len(found) == 1:
        return found[0]
    return next((one for one in found if known_problem(one) is None), found[0])


def problem(installation: Installation) -> str | None:
    """Return why CRIU does not work for this user on this kernel, with the next step; None if it does."""
    return missing_privilege() or _failed_check(installation)


def known_problem(installation: Installation) -> str | None:
    """Return the same, but trust an earlier success of this user with the same privileges since the last boot."""
    facts = _facts(installation)
    if remembered(_WORKS, facts) is not None:
        return None
    found = problem(installation)
    if found is None:
        remember(_WORKS, facts, f"{installation.path} {installation.version}\n")
    return found


def _facts(installation: Installation) -> list[str]:
    """Return the facts that decide whether CRIU works."""
    privileges = [_status(name) for name in ("Uid", "CapPrm", "CapEff", "CapAmb", "CapBnd", "NoNewPrivs")]
    files = [facts_of(path) for path in (installation.path, setpriv_copy()) if path.is_file()]
    return [boot_id(), os.uname().release, *privileges, *files]


def missing_privilege() -> str | None:
    """Return which privileges for CRIU this user lacks, with the next step; None if none is missing."""
    missing = missing_capabilities()
    if not missing:
        return None
    lacks = f"{', '.join(missing).upper()} {'is' if len(missing) == 1 else 'are'} missing"
    if is_root():
        add = " ".join(f"--cap-add {name.removeprefix('cap_').upper()}" for name in missing)
        return f"{lacks}, though this is root: start the container with {add}"
    if not setpriv_copy().is_file():
        return f"{lacks}: run 'dmtcp-ctl setup --engine criu', then let an administrator run: {setcap_command()}"
    if run_tool([*_setpriv_command(), "true"], timeout_s=_TOOL_S).status == 0:
        return None
    if "security.capability" not in os.listxattr(setpriv_copy()):
        return f"{lacks}: an administrator who trusts you as root can grant them: {setcap_command()}"
    return f"{lacks}: {setpriv_copy()} has them, but cannot use them ({_why_unusable()})"


def launcher() -> tuple[str, ...]:
    """Return the words to put before the command that creates namespaces and runs CRIU in them.

    Empty if this user already has the capabilities; otherwise the private copy of setpriv raises them for the command
    and its children. The loader removes LD_LIBRARY_PATH for a program with capabilities, so env sets it again.
    """
    if not missing_capabilities():
        return ()
    libraries = os.environ.get("LD_LIBRARY_PATH")
    return (*_setpriv_command(), *(("env", f"LD_LIBRARY_PATH={libraries}") if libraries else ()))


def missing_capabilities() -> list[str]:
    """Return the needed capabilities that this process cannot pass on to a program that it starts."""
    # root's programs inherit effective capabilities, those of other users ambient ones only
    have = int(_status("CapEff" if is_root() else "CapAmb") or "0", 16)
    needed = _NEEDED_AS_ROOT if is_root() else NEEDED
    return [name for name, number in needed.items() if not have >> number & 1]


def is_root() -> bool:
    """Return whether this user is root for CRIU, which looks at the user id and not at the capabilities."""
    return os.geteuid() == 0


def data_folder() -> Path:
    """Return the folder of this user's private copies, by the XDG base directory specification."""
    named = os.environ.get("XDG_DATA_HOME", "")
    return (Path(named) if named.startswith("/") else Path.home() / ".local/share") / "dmtcp-py"


def private_prefix() -> Path:
    """Return the folder of the private copy of CRIU, which need not exist."""
    return data_folder() / "criu"


def setpriv_copy() -> Path:
    """Return the path of the copy of setpriv to which an administrator can grant capabilities."""
    return data_folder() / "setpriv"


def make_setpriv_copy() -> bool:
    """Make the copy of setpriv to which an administrator can grant capabilities; return whether it was missing."""
    source = shutil.which("setpriv", path="/usr/bin:/bin")
    if setpriv_copy().is_file() or source is None:
        return False
    make_private_dir(data_folder())
    # others must not run it once it has capabilities
    temporary = setpriv_copy().with_name(f".setpriv.{os.getpid()}")
    shutil.copyfile(source, temporary)
    temporary.chmod(0o700)
    temporary.replace(setpriv_copy())
    return True


def setcap_command() -> str:
    """Return the command by which an administrator lets this user use CRIU."""
    return f"sudo setcap {','.join(NEEDED)}+ep {shlex.quote(str(setpriv_copy()))}"


def _places() -> list[Path]:
    private = private_prefix() / "criu"
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SBIN))
    on_path = shutil.which("criu", path=search)
    # root must not run another user's file, which a foreign HOME could lead to
    is_ours = os.access(private, os.X_OK) and private.stat().st_uid in {0, os.geteuid()}
    found = [private] if is_ours else []
    return [*found, Path(on_path).absolute()] if on_path else found


def _why_unusable() -> str:
    if _status("NoNewPrivs") == "1":
        return "this process may gain no privileges: no_new_privs is set"
    if os.statvfs(setpriv_copy()).f_flag & os.ST_NOSUID:
        return "its file system is mounted nosuid: set XDG_DATA_HOME to a folder on another"
    return f"they are not those needed, or the bounding set forbids them; to set them again: {setcap_command()}"


def _failed_check(installation: Installation) -> str | None:
    check = [str(installation.path), "check", *installation.options]
    try:
        # without a folder for its cache CRIU only warns
        result = run_tool([*launcher(), *check], timeout_s=_TOOL_S)
    except EngineError as error:
        return str(error)
    if result.status == 0:
        return None
    lines = [line.strip() for line in result.output.splitlines() if not _NOISE.match(line)]
    reason = lines[0] if lines else f"status {result.status}"
    return f"'{installation.path} check' fails on this kernel ({os.uname().release}): {reason}"


def _setpriv_command() -> tuple[str, ...]:
    names = ",".join(f"+{name.removeprefix('cap_')}" for name in NEEDED)
    return (str(setpriv_copy()), f"--inh-caps={names}", f"--ambient-caps={names}", "--")


def _status(field: str) -> str:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    return ""
