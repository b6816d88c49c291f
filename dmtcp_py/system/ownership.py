"""Who else could change a file, or put another one in its place."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ACL = "system.posix_acl_access"
_LAST_OF_DISTRIBUTIONS = 99
"""Groups up to here come with the distribution (Debian policy, 9.2.2), and no user has one of them as the first."""
_MOST_LINKS = 40
_ALL_USERS = 2**32 - 1


def write_problem(found: os.stat_result, path: Path) -> str | None:
    """Return how others than the owner could write to PATH, whose stat is FOUND; None if they could not.

    A sticky directory counts as one that they cannot write to: what is in it stays its owner's.
    """
    if stat.S_ISLNK(found.st_mode) or (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
        return None
    others = found.st_mode & stat.S_IWOTH
    group = found.st_mode & stat.S_IWGRP and (_has_acl(path) or not _is_own_group(found.st_gid))
    return f"can be written by others (mode {stat.S_IMODE(found.st_mode):o})" if others or group else None


def replaceable(paths: Iterable[Path], *, is_named: bool) -> str | None:
    """Return what would let another user change one of PATHS, or put something else in its place; None if nothing.

    It looks at all directories and symbolic links on the way. The owners of this package and of this Python are not
    others: their code runs here in any case. If a path IS NAMED by the user, its owner is not one either.
    """
    seen: set[Path] = set()
    for path in paths:
        for step in _way_to(path):
            if step not in seen:
                seen.add(step)
                if problem := _problem(step, is_named=is_named):
                    return f"{step} {problem}"
    return None


def _problem(path: Path, *, is_named: bool) -> str | None:
    found = path.lstat()
    if is_named:
        is_open = not stat.S_ISLNK(found.st_mode) and found.st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH
        return f"can be written by everybody (mode {stat.S_IMODE(found.st_mode):o})" if is_open else None
    if found.st_uid not in _trusted():
        return f"belongs to user {found.st_uid}"
    return write_problem(found, path)


def _way_to(path: Path) -> Iterator[Path]:
    """Yield each directory, link and file that the kernel meets on the way to PATH. Raises OSError."""
    here, left, links = Path("/"), [*path.absolute().parts[1:]], 0
    yield here
    while left:
        name = left.pop(0)
        if name == "..":
            here = here.parent
            continue
        step = here / name
        yield step
        if not step.is_symlink():
            here = step
            continue
        links += 1
        if links > _MOST_LINKS:
            return
        target = Path(os.readlink(step))
        if target.is_absolute():
            here = Path("/")
        left = [*(part for part in target.parts if part != "/"), *left]


@cache
def _trusted() -> frozenset[int]:
    owners = {0, os.geteuid(), Path(__file__).stat().st_uid, Path(sys.executable).stat().st_uid}
    with suppress(OSError, ValueError):
        # in a user namespace without root, what is root's looks as if it were everybody's else
        if sum(int(line.split()[2]) for line in Path("/proc/self/uid_map").read_text().splitlines()) < _ALL_USERS:
            owners.add(int(Path("/proc/sys/kernel/overflowuid").read_text()))
    return frozenset(owners)


def _has_acl(path: Path) -> bool:
    """Return whether the bits of the group stand for others too (acl(5))."""
    with suppress(OSError):
        return bool(os.getxattr(path, _ACL))
    return False


@cache
def _is_own_group(gid: int) -> bool:
    """Return whether nobody but trusted users is in a group: one of the distribution's, or the user's own."""
    import grp  # noqa: PLC0415 - it may have to ask a server, and is seldom needed
    import pwd  # noqa: PLC0415 - as above

    users = []
    for uid in _trusted():
        with suppress(KeyError):
            users.append(pwd.getpwuid(uid))
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return False
    if not {*group.gr_mem} <= {user.pw_name for user in users}:
        return False
    return gid <= _LAST_OF_DISTRIBUTIONS or any((user.pw_gid, user.pw_name) == (gid, group.gr_name) for user in users)
