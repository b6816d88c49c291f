"""What dmtcp-run and the program that it runs write for each other in the directory of the job.

Each message is a symbolic link whose target is the text: one call writes or reads it, without a descriptor. So no
checkpoint finds a file of the job open in the program. Runs in the program too, so this module uses the standard
library alone.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dmtcp_py.store.layout import JobLayout

VARIABLE = "DMTCP_RUN_JOB_DIR"
"""The environment variable with which the program finds the directory of its job."""
BATCH_VARIABLE = "DMTCP_RUN_BATCH_JOB"
"""The batch job in which the program was launched. A job that it submits inherits both, and is not inside."""
ASK, TAKEN, _SECTION = ".ask", ".taken", ".section"
_MOST_CHARS = 150
"""Of a text in a link, whose target has at most 1024 bytes on XFS."""
_numbers = itertools.count(1)


class Life(NamedTuple):
    """The time between a launch or restart of the program and its end. Times are seconds since the epoch."""

    name: str
    """Different in each life of a job."""
    attempt: int
    began: float
    generation: int | None = None
    """The generation that was resumed; None after a launch."""
    stops: float | None = None
    """When the last checkpoint before the time limit begins."""
    ends: float | None = None
    """When the time limit comes."""
    is_checkpointing: bool = False
    """Whether a checkpoint is being taken, or begins as soon as no section is left."""


def variables(layout: JobLayout, batch_job: str | None) -> Mapping[str, str]:
    """Return what leads the program to the directory of its job."""
    return {VARIABLE: str(layout.root.absolute()), BATCH_VARIABLE: batch_job or ""}


def write_life(layout: JobLayout, life: Life) -> None:
    """Replace what the program can read of its LIFE. Raises OSError."""
    write_link(layout.life, life._asdict())


def read_life(layout: JobLayout) -> Life | None:
    """Return the life that goes on; None if there is none, or a newer dmtcp-py wrote it."""
    values = read_link(layout.life)
    with suppress(TypeError):
        return None if values is None else Life(**{name: values[name] for name in Life._fields if name in values})
    return None


def write_link(path: Path, values: Mapping[str, Any]) -> None:
    """Have the link at PATH contain VALUES; replaces one that exists. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{_unique_name()}.tmp")
    temporary.symlink_to(_text(values))
    try:
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def read_link(path: Path) -> dict[str, Any] | None:
    """Return the values in the link at PATH; None if there is no such link."""
    with suppress(OSError, ValueError):
        values = json.loads(os.readlink(path))
        return values if isinstance(values, dict) else None
    return None


def put_request(layout: JobLayout, action: str) -> Path:
    """Request ACTION from the running attempt; return the link that will have the answer. Raises OSError."""
    path = layout.requests / f"{time.time_ns()}-{_unique_name()}{ASK}"
    who, now = f"the program, pid {os.getpid()}", datetime.now(timezone.utc).isoformat()
    path.symlink_to(_text({"action": action, "asked_by": who, "asked": now}))
    return path.with_suffix(TAKEN)


def write_answer(path: Path, values: Mapping[str, Any]) -> None:
    """Answer the request in the link at PATH with VALUES, of which texts may be shortened. Raises OSError."""
    write_link(path, {name: value[:_MOST_CHARS] if isinstance(value, str) else value for name, value in values.items()})


def put_section(layout: JobLayout, until: float) -> Path:
    """Ask for no checkpoint UNTIL then, or until the returned link is removed. Raises OSError."""
    path = layout.requests / f"{_unique_name()}{_SECTION}"
    path.symlink_to(_text({"until": until}))
    return path


def last_section_end(layout: JobLayout) -> float | None:
    """Return when the last of the sections that go on has to be over; None if none goes on."""
    ends = [values.get("until") for path in _sections(layout) if (values := read_link(path))]
    return max((end for end in ends if isinstance(end, int | float) and end > time.time()), default=None)


def clear_sections(layout: JobLayout) -> None:
    """Remove the sections of an earlier life."""
    for path in _sections(layout):
        with suppress(OSError):
            path.unlink()


def _sections(layout: JobLayout) -> list[Path]:
    try:
        with os.scandir(layout.requests) as entries:
            return [layout.requests / entry.name for entry in entries if entry.name.endswith(_SECTION)]
    except FileNotFoundError:
        return []


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def _unique_name() -> str:
    # a resumed process has the numbers that it had: the time makes the name another one
    return f"{os.uname().nodename}-{os.getpid()}-{next(_numbers)}-{time.monotonic_ns()}"
