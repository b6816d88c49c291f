"""The machine that this is, as a generation describes it. Only reads."""

from __future__ import annotations

import os
from pathlib import Path

from dmtcp_py.store.records import Host


def this_host() -> Host:
    """Return the description of this machine."""
    import platform  # noqa: PLC0415 - 10 ms, not needed to start a program

    uname = os.uname()
    return Host(
        name=uname.nodename,
        kernel=uname.release,
        machine=uname.machine,
        libc=" ".join(platform.libc_ver()),
        cpu_flags=_cpu_flags(),
    )


def _cpu_flags() -> list[str]:
    """Return the names of the processor's features: an image that uses one dies on a machine without it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return value.split()
    return []
