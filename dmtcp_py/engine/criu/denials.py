"""Why a kernel denies a user namespace, or a step in it, and what an administrator can set, in words."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from dmtcp_py.engine.criu.inside.refusals import has_seccomp_filter

_MOST = {
    "user": "user.max_user_namespaces",
    "mount": "user.max_mnt_namespaces",
    "PID": "user.max_pid_namespaces",
    "IPC": "user.max_ipc_namespaces",
}
"""What bounds the number of namespaces of each kind that CRIU cannot do without."""
_USERNS_DEBIAN = "kernel.unprivileged_userns_clone"
_USERNS_APPARMOR = "kernel.apparmor_restrict_unprivileged_userns"
_USUAL_MOST = 15000


def advice(why: str) -> str:
    """Return what an administrator can do about step WHY, as `step_that_failed` returns it."""
    off = next((kind for kind in _MOST if _sysctl(_MOST[kind]) == "0"), None)
    if off is not None:
        return f"{off} namespaces are turned off: an administrator can run 'sysctl {_MOST[off]}={_USUAL_MOST}'"
    if _sysctl(_USERNS_DEBIAN) == "0":
        return f"user namespaces are for root only: an administrator can run 'sysctl {_USERNS_DEBIAN}=1'"
    if _sysctl(_USERNS_APPARMOR) == "1":
        return (
            "AppArmor restricts user namespaces: an administrator can allow them for this Python with a profile that "
            f"has 'userns,', or for all with 'sysctl {_USERNS_APPARMOR}=0'"
        )
    if has_seccomp_filter(os.getpid()):
        return "system calls are filtered here, as in a container: start it without (docker: seccomp=unconfined)"
    if "proc" in why and "mount" in why:
        return "part of /proc is covered, as in a container: start it without (docker: systempaths=unconfined)"
    if "ENOSPC" in why:
        return f"too many namespaces are in use, see 'sysctl {' '.join(_MOST.values())}'"
    return "a chroot, a container or a security module forbids it, which an administrator can change"


def step_that_failed(said: str) -> str:
    """Return the step that failed and its errno, from the last line that one of our steps or unshare(1) SAID."""
    if not said.startswith("unshare: "):
        return said
    number = next((number for number in errno.errorcode if said.endswith(f": {os.strerror(number)}")), None)
    symbol = f" ({errno.errorcode[number]})" if number is not None else ""
    return f"making the PID and mount namespaces: {said}{symbol}"


def _sysctl(name: str) -> str:
    try:
        return Path("/proc/sys", name.replace(".", "/")).read_text(encoding="ascii").strip()
    except OSError:
        return ""
