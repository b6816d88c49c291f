"""Which attempt gets an epoch: the one that creates the link with its number. That is exclusive on every file system.

So it is decided where flock is not: some file systems keep it to one machine, and then each of two attempts that start
at the same moment has the lock. The link says who created it: ``HOST PID START BOOT NAMESPACE``, and leads
nowhere; NAMESPACE is that in which PID counts, and older claims lack it.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from dmtcp_py.system.files import make_private_dir
from dmtcp_py.system.proc import boot_id, pid_namespace, started_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dmtcp_py.store.layout import JobLayout

_KEPT = 100
"""So many claims are kept, for an attempt that was suspended between reading the lock and its claim."""
_POLL_S = 0.5
_RAN_ON = ".ran-on"


def claim(layout: JobLayout, least: int, *, check: Callable[[int], None], wait_s: float) -> int:
    """Claim the first epoch from LEAST on that no attempt has claimed, and return it.

    An attempt that has claimed one records it in the lock a moment later. Where it may live, CHECK is called with the
    epoch for WAIT_S seconds, and raises LockedError once it has; if it has not by then, it has ended. Raises OSError.
    """
    make_private_dir(layout.epochs)
    epoch = least
    while not _create(layout.claim(epoch)):
        until = time.monotonic() + wait_s
        while not _has_ended(layout.claim(epoch)) and (left_s := until - time.monotonic()) > 0:
            check(epoch)
            time.sleep(min(_POLL_S, left_s))
        epoch += 1
    for path in layout.epochs.iterdir():
        number = path.name.removesuffix(_RAN_ON)
        if number.isdecimal() and int(number) <= epoch - _KEPT:
            with suppress(FileNotFoundError):
                path.unlink()
    return epoch


def tell_that_it_ran_on(layout: JobLayout, epoch: int) -> None:
    """Record that the attempt with EPOCH lived, and its program with it, when another had taken over."""
    with suppress(OSError):
        (layout.epochs / f"{layout.claim(epoch).name}{_RAN_ON}").touch()


def has_run_on(layout: JobLayout, epoch: int) -> bool:
    """Return whether the attempt with EPOCH has recorded that it lived when another had taken over."""
    # listed, as a network file system may know for a minute that a name is not there
    with suppress(OSError):
        return f"{layout.claim(epoch).name}{_RAN_ON}" in os.listdir(layout.epochs)  # noqa: PTH208 - names are all
    return False


def _create(path: Path) -> bool:
    """Create the link PATH; return False if there is one."""
    pid = os.getpid()
    try:
        path.symlink_to(f"{os.uname().nodename} {pid} {started_at(pid)} {boot_id()} {pid_namespace()}")
    except FileExistsError:
        return False
    return True


def _has_ended(path: Path) -> bool:
    """Return whether the attempt that created PATH has ended, as only its own machine and pid namespace know."""
    with suppress(OSError, ValueError):
        host, pid, start, boot, *namespaces = os.readlink(path).split()
        is_here = (host, boot) == (os.uname().nodename, boot_id())
        if namespaces not in ([], ["0"], [str(pid_namespace())]):
            return False
        return is_here and str(started_at(int(pid))) != start
    return False
