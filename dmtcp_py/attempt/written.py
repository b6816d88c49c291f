"""A progress bar of the images that an engine writes, with -v on a terminal. Only reads the staging directory."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dmtcp_py.attempt.fetched import Bar
from dmtcp_py.messages import VERBOSE
from dmtcp_py.system.files import files_below

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dmtcp_py.messages import Report

_LOOK_S = 0.1
_LEAST_BYTES = 1 << 16
"""What an engine leaves in the directory before it writes images is smaller."""


@contextmanager
def drawn(report: Report, staging: Path, expected_bytes: int | None) -> Iterator[None]:
    """Draw how much of the images in STAGING is written, of EXPECTED_BYTES if that is known, while the block runs."""
    bar = Bar(is_drawn=report.verbosity >= VERBOSE and not report.as_json)
    if not bar.is_drawn:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_draw, args=(bar, staging, expected_bytes, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        bar.end()


def _draw(bar: Bar, staging: Path, expected_bytes: int | None, ended: threading.Event) -> None:
    has_begun = False
    while not ended.wait(_LOOK_S):
        done = 0
        with suppress(OSError):
            done = sum(path.stat().st_size for path in files_below(staging.resolve()))
        if done >= _LEAST_BYTES and not has_begun:
            bar.begin(expected_bytes)
            has_begun = True
        bar.at(done)
