"""Why a kernel denies a user namespace, or a step in it, and what an administrator can set, in words."""

from __future__ import annotations

import os
from pathlib import Path

from dmtcp_py.engine.criu.inside.refusals import has_seccomp_filter

_USERNS_MOST = "user.max_user_namespaces"
_USERNS_DEBIAN = "kernel.unprivileged_userns_clone"
_USERNS_APPARMOR = "kernel.apparmor_restrict_unprivileged_userns"
_USUAL_MOST = 15000


def advice(why: str) -> str:
    """Return what an administrator can do about step WHY, the line that a failed trial printed."""
    if _sysctl(_USERNS_MOST) == "0":
        return f"user namespaces are turned off: an administrator can run 'sysctl {_USERNS_MOST}={_USUAL_MOST}'"
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
        return f"too many user namespaces are in use, see 'sysctl {_USERNS_MOST}'"
    return "a chroot, a container or a security module forbids it, which an administrator can change"


def _sysctl(name: str) -> str:
    try:
        return Path("/proc/sys", name.replace(".", "/")).read_text(encoding="ascii").strip()
    except OSError:
        return ""
