"""All kinds of steps."""

from __future__ import annotations

from random_programs import children, descriptors, files, memory, objects, processes, signals

KINDS = (
    *processes.KINDS,
    *signals.KINDS,
    *files.KINDS,
    *memory.KINDS,
    *descriptors.KINDS,
    *objects.KINDS,
    *children.KINDS,
)
BY_NAME = {kind.name: kind for kind in KINDS}
