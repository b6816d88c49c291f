"""All kinds of steps."""

from __future__ import annotations

from random_programs import (
    children,
    computing,
    descriptors,
    files,
    locks,
    memory,
    objects,
    paths,
    processes,
    settings,
    signals,
    signals_of_files,
    sockets,
    surroundings,
    system_v,
    threads,
    timers,
)

SUBJECTS = (
    processes,
    settings,
    surroundings,
    signals,
    timers,
    files,
    paths,
    memory,
    computing,
    sockets,
    descriptors,
    signals_of_files,
    objects,
    system_v,
    children,
    threads,
    locks,
)
KINDS = tuple(kind for subject in SUBJECTS for kind in subject.KINDS)
BY_NAME = {kind.name: kind for kind in KINDS}
