"""What a person sees while a generation is verified: a bar with -v on a terminal, and a note for status."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dmtcp_py.attempt.fetched import Bar
from dmtcp_py.messages import VERBOSE
from dmtcp_py.store.records import Verifying, json_of, utc_now
from dmtcp_py.store.verify import read_manifest
from dmtcp_py.system.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dmtcp_py.messages import Report
    from dmtcp_py.store.layout import JobLayout

_NOTED_EVERY_S = 1.0


@contextmanager
def shown(report: Report, layout: JobLayout, number: int) -> Iterator[Callable[[int], None]]:
    """Yield what is to be told how many more bytes of generation NUMBER were verified. Raises StoreError."""
    size = sum(image.size for image in read_manifest(layout, number).images)
    bar = Bar(is_drawn=report.verbosity >= VERBOSE and not report.as_json)
    done, noted_at = 0, time.monotonic()  # nobody sees a verification that is over by then

    def on_read(count: int) -> None:
        nonlocal done, noted_at
        done += count
        bar.at(done)
        if time.monotonic() - noted_at >= _NOTED_EVERY_S:
            noted_at = time.monotonic()
            with suppress(OSError):  # a full disk is no reason not to resume
                noted = Verifying(generation=number, done=done, size=size, updated=utc_now())
                write_atomic(layout.verifying, json_of(noted), durable=False)

    bar.begin(size)
    try:
        yield on_read
    finally:
        bar.end()
        with suppress(OSError):
            layout.verifying.unlink(missing_ok=True)
