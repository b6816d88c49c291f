"""By what a file is recognized as unchanged: not by the order of times, as the clock of its host may have gone back.

Uses the standard library alone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import os

_SECOND_NS = 1_000_000_000
_RECENT_NS = 2 * _SECOND_NS


class Stamp(NamedTuple):
    """What the file system said of a file while nothing wrote to it."""

    inode: int
    size: int
    mtime_ns: int
    """0 where the next change might not be seen in it."""
    ctime_ns: int


def stamp_of(found: os.stat_result) -> Stamp:
    """Return the stamp of a file, of which stat says FOUND."""
    return Stamp(
        inode=found.st_ino,
        size=found.st_size,
        mtime_ns=0 if _may_hide_a_change(found) else found.st_mtime_ns,
        ctime_ns=found.st_ctime_ns,
    )


def differs(found: os.stat_result, stamp: Stamp) -> bool:
    """Whether the file of STAMP, of which stat says FOUND now, may have changed.

    A copy, as on another machine, has another inode and its own time of change; it may have its time in seconds alone.
    """
    if found.st_size != stamp.size:
        return True
    if found.st_ino == stamp.inode:
        return (found.st_mtime_ns, found.st_ctime_ns) != (stamp.mtime_ns, stamp.ctime_ns)
    return found.st_mtime_ns not in (stamp.mtime_ns, stamp.mtime_ns // _SECOND_NS * _SECOND_NS)


def _may_hide_a_change(found: os.stat_result) -> bool:
    """Whether the file system knows whole seconds only, of which the present one has not passed."""
    is_coarse = not (found.st_mtime_ns % _SECOND_NS or found.st_ctime_ns % _SECOND_NS)
    return is_coarse and abs(time.time_ns() - found.st_ctime_ns) < _RECENT_NS
