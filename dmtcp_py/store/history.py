"""The history of a job: one line of JSON for each event. Lines are only appended."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dmtcp_py.store.layout import JobLayout

_DECODER = msgspec.json.Decoder()
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_history(layout: JobLayout) -> list[dict[str, Any]]:
    """Return the lines of the history, oldest first, without lines that a crash left incomplete."""
    try:
        data = layout.history.read_bytes()
    except FileNotFoundError:
        return []
    try:
        values = _DECODER.decode_lines(data)
    except _NO_JSON:
        values = list(_readable(data.splitlines()))
    return [value for value in values if isinstance(value, dict)]


def _readable(lines: Iterable[bytes]) -> Iterator[Any]:
    for line in lines:
        with suppress(*_NO_JSON):
            yield _DECODER.decode(line)


def last_that_ran(layout: JobLayout) -> int:
    """Return the epoch of the last attempt whose program ran, 0 before there is one; a refused one changed nothing."""
    begun = (numbers_in_history(layout, event, "epoch") for event in ("started", "resumed"))
    return max((epoch for epochs in begun for epoch in epochs), default=0)


def numbers_in_history(layout: JobLayout, event: str | None, field: str) -> list[int]:
    """Return the integers in FIELD of all history lines of EVENT (None: of every event); other values are skipped."""
    lines = (line for line in read_history(layout) if event is None or line.get("event") == event)
    return [line[field] for line in lines if isinstance(line.get(field), int)]
