"""The history of a job: one line of JSON for each event. Lines are only appended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from dmtcp_py.store.layout import JobLayout


def read_history(layout: JobLayout) -> list[dict[str, Any]]:
    """Return the lines of the history, oldest first, without lines that a crash left incomplete."""
    try:
        lines = layout.history.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            value = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def numbers_in_history(layout: JobLayout, event: str | None, field: str) -> list[int]:
    """Return the integers in FIELD of all history lines of EVENT (None: of every event); other values are skipped."""
    lines = (line for line in read_history(layout) if event is None or line.get("event") == event)
    return [line[field] for line in lines if isinstance(line.get(field), int)]
