"""Enters a user namespace of this user's own, and executes a command in it.

User and group ids stay what they are: each is mapped to itself. The command has `CAPABILITIES` as ambient ones, which
count for what belongs to the namespace and for nothing else. Needs neither newuidmap nor a setting by an administrator
where the kernel allows user namespaces. Uses the standard library alone.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from dmtcp_py.engine.criu.inside import clocks
from dmtcp_py.system import libc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FAILED_STATUS = 77
CAPABILITIES = (8, 19, 21, 23)
"""CAP_SETPCAP, CAP_SYS_PTRACE, CAP_SYS_ADMIN and CAP_SYS_NICE (for the timer slack of others) in linux/capability.h.

Not CAP_SETUID, with which criu would become user 0, who does not exist in the namespace; nor CAP_NET_ADMIN, which the
network outside would not accept.
"""
OWN_NETWORK = "--own-network"
"""Has the command have `_OF_NETWORK` too, for a network that belongs to the namespace."""
_OF_NETWORK = (12, 13)
"""CAP_NET_ADMIN and CAP_NET_RAW. criu restores a half-closed connection by sending its FIN through a raw socket."""
_CLONE_NEWUSER = 0x10000000
_CAPABILITY_VERSION_3 = 0x20080522
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2


class StepError(Exception):
    """A step that the kernel denies, and why."""


def step(name: str, action: Callable[[], object]) -> None:
    """Do ACTION; raise StepError with NAME if the kernel denies it."""
    try:
        action()
    except OSError as error:
        symbol = errno.errorcode.get(error.errno or 0, error.errno)
        raise StepError(f"{name}: {error.strerror} ({symbol})") from error


def enter(images: Path | None, capabilities: Sequence[int]) -> None:
    """Enter the namespace, with CAPABILITIES, and one in which the clocks of the generation in IMAGES go on.

    Raises StepError.
    """
    uid, gid = os.geteuid(), os.getegid()
    step("making a user namespace", lambda: libc.call("unshare", _CLONE_NEWUSER))
    step("mapping the user into it", lambda: _map(uid, gid))
    if images is not None:
        step("setting the clocks", lambda: clocks.go_on(images))
    step("having capabilities in it", lambda: _keep(capabilities))


def _map(uid: int, gid: int) -> None:
    # without this an ordinary user may not map a group
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")


def _keep(capabilities: Sequence[int]) -> None:
    mask = sum(1 << number for number in capabilities)
    # effective, permitted and inheritable; the second half is for numbers from 32 on
    sets = struct.pack("=6I", mask, mask, mask, 0, 0, 0)
    libc.call("capset", struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), sets)
    for number in capabilities:
        libc.call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number, 0, 0)


def main(words: Sequence[str]) -> NoReturn:
    """Execute a command in the namespace.

    WORDS: `OWN_NETWORK`, or not; the folder of the images whose clocks go on, or an empty one; the command.
    """
    has_network = words[0] == OWN_NETWORK
    images, *argv = words[1:] if has_network else words
    try:
        enter(Path(images) if images else None, (*CAPABILITIES, *(_OF_NETWORK if has_network else ())))
    except StepError as error:
        sys.exit(_failed(str(error)))
    os.execvp(argv[0], argv)  # noqa: S606 - the command that makes the other namespaces


def _failed(text: str) -> int:
    print(text, file=sys.stderr)  # noqa: T201 - for the log of the keeper
    return FAILED_STATUS
