"""Periodic timers behind descriptors (timerfd_create(2)) that had expired and were not read at a dump.

The kernel shows such a timer with no time left, as one that is not armed, and criu restores it so: it would never fire
again. Uses the standard library alone.
"""

from __future__ import annotations

import ctypes
import fcntl
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmtcp_py.engine.criu.inside.descriptors import checked, descriptors_of, taken

if TYPE_CHECKING:
    from collections.abc import Iterable

_TARGET = "anon_inode:[timerfd]"
_FIELDS = re.compile(r"^(ticks|it_value|it_interval):\s*\(?(\d+)(?:,\s*(\d+)\))?$", re.MULTILINE)
_TFD_IOC_SET_TICKS = 0x40085400


def expired(pid: int) -> list[dict[str, Any]]:
    """Return the timers of process PID that would be lost: descriptor, interval and unread ticks."""
    found = []
    for fd in descriptors_of(pid, _TARGET):
        text = Path(f"/proc/{pid}/fdinfo/{fd}").read_text(encoding="ascii")
        fields = {key: (int(first), int(second or 0)) for key, first, second in _FIELDS.findall(text)}
        if fields["it_value"] == (0, 0) and fields["it_interval"] != (0, 0):
            found.append({"pid": pid, "fd": fd, "interval": fields["it_interval"], "ticks": fields["ticks"][0]})
    return found


def arm(timers: Iterable[dict[str, Any]]) -> list[str]:
    """Arm TIMERS again; return what could not be done."""
    lost = []
    for timer in timers:
        try:
            _arm(timer)
        except OSError as error:
            lost.append(f"timer {timer['fd']} of process {timer['pid']}: {error.strerror}")
    return lost


def _arm(timer: dict[str, Any]) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    with taken(timer["pid"], timer["fd"]) as fd:
        checked(library.timerfd_settime(fd, 0, struct.pack("=4q", *timer["interval"], *timer["interval"]), None))
        if timer["ticks"]:
            fcntl.ioctl(fd, _TFD_IOC_SET_TICKS, struct.pack("=Q", timer["ticks"]))
