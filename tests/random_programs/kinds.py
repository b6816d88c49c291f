"""All kinds of steps."""

from __future__ import annotations

from random_programs import (
    children,
    computing,
    descriptors,
    files,
    memory,
    objects,
    paths,
    processes,
    signals,
    sockets,
    surroundings,
    system_v,
    threads,
    timers,
)

SUBJECTS = (
    processes,
    surroundings,
    signals,
    timers,
    files,
    paths,
    memory,
    computing,
    sockets,
    descriptors,
    objects,
    system_v,
    children,
    threads,
)
KINDS = tuple(kind for subject in SUBJECTS for kind in subject.KINDS)
BY_NAME = {kind.name: kind for kind in KINDS}
