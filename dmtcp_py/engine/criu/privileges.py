"""The privileges that CRIU needs, what this user has of them, and the copy of setpriv that raises them.

The capabilities that an ordinary user needs were measured with CRIU 4.2 on Linux 6.18, by dropping each in turn.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from dmtcp_py.system.files import make_private_dir
from dmtcp_py.system.tools import run_tool

NEEDED = {
    "cap_setpcap": 8,
    "cap_net_admin": 12,
    "cap_net_raw": 13,
    "cap_sys_ptrace": 19,
    "cap_sys_admin": 21,
    "cap_sys_nice": 23,
    "cap_sys_time": 25,
}
"""The capabilities that CRIU needs, with their numbers in linux/capability.h: to drop those that a restored process
must not have, to checkpoint and restore TCP connections, also those shut down in one direction (criu sends their end as
a packet), to look into processes where Yama restricts that, to create
namespaces, to set timer slacks, and to have clocks go on."""
_NEEDED_AS_ROOT = {**NEEDED, "cap_sys_chroot": 18}
"""For root, CRIU also restores root directories."""
_TOOL_S = 20.0
_OTHERS_MAY_WRITE = 0o022


def missing_privilege() -> str | None:
    """Return which privileges for CRIU this user lacks, with the next step; None if none is missing."""
    missing = missing_capabilities()
    if not missing:
        return None
    lacks = f"{', '.join(missing).upper()} {'is' if len(missing) == 1 else 'are'} missing"
    if is_root():
        add = " ".join(f"--cap-add {name.removeprefix('cap_').upper()}" for name in missing)
        return f"{lacks}, though this is root: start the container with {add}"
    if setpriv_copy().is_file() and not are_ours(setpriv_copy(), setpriv_copy().parent):
        return f"{lacks}: {setpriv_copy()} is not used, because somebody else owns it or can write it or its folder"
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
    have = int(status_of("CapEff" if is_root() else "CapAmb") or "0", 16)
    needed = _NEEDED_AS_ROOT if is_root() else NEEDED
    return [name for name, number in needed.items() if not have >> number & 1]


def is_root() -> bool:
    """Return whether this user is root for CRIU, which looks at the user id and not at the capabilities."""
    return os.geteuid() == 0


def data_folder() -> Path:
    """Return the folder of this user's private copies, by the XDG base directory specification."""
    named = os.environ.get("XDG_DATA_HOME", "")
    return (Path(named) if named.startswith("/") else Path.home() / ".local/share") / "dmtcp-py"


def are_ours(*paths: Path) -> bool:
    """Return whether nobody but this user and root can have made PATHS: a foreign HOME could lead to another's file."""
    return all(
        found.st_uid in {0, os.geteuid()} and not found.st_mode & _OTHERS_MAY_WRITE
        for found in (path.stat() for path in paths)
    )


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


def status_of(field: str) -> str:
    """Return FIELD of /proc/self/status; empty if the kernel does not have it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    return ""


def _why_unusable() -> str:
    if status_of("NoNewPrivs") == "1":
        return "this process may gain no privileges: no_new_privs is set"
    if os.statvfs(setpriv_copy()).f_flag & os.ST_NOSUID:
        return "its file system is mounted nosuid: set XDG_DATA_HOME to a folder on another"
    return f"they are not those needed, or the bounding set forbids them; to set them again: {setcap_command()}"


def _setpriv_command() -> tuple[str, ...]:
    names = ",".join(f"+{name.removeprefix('cap_')}" for name in NEEDED)
    return (str(setpriv_copy()), f"--inh-caps={names}", f"--ambient-caps={names}", "--")
