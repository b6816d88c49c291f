"""What a program can ask of the dmtcp-run that runs it, and learn from it. Outside a job nothing of it has an effect.

>>> from dmtcp_py import here
>>> here.resumed, here.attempt, here.time_left_s
(False, 0, None)
>>> here.checkpoint() is None
True
>>> with here.inhibit(at_most_s=30):
...     print("no checkpoint is taken here")
no checkpoint is taken here

``resumed``, ``attempt`` and ``time_left_s`` are looked up each time, so read them as ``here.resumed``: a name that was
imported from this module would stay what it was in the first life.

resumed
    Whether this life began with a checkpoint, not with the program's start.
attempt
    The number of this run of the line: 1 for the first, 0 outside a job.
time_left_s
    Seconds until the last checkpoint before the time limit begins, after which the program stops; None without a
    limit. Never negative.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.batch.htcondor import allocation_around
from dmtcp_py.store import inside
from dmtcp_py.store.layout import JobLayout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dmtcp_py.store.inside import Life

    resumed: bool
    attempt: int
    time_left_s: float | None

__all__ = ("attempt", "checkpoint", "inhibit", "resumed", "time_left_s")

MOST_INHIBITED_S = 600.0
"""The longest section without a checkpoint that can be asked for."""
_KEPT_WHOLE_S = 60.0
_KEPT_WHOLE_SHARE = 0.1
"""So much of an attempt at most is spent on waiting for the time limit rather than beginning a section."""
_MOST_WAIT_S = 2 * MOST_INHIBITED_S
_LOOK_S = 0.05
_mine = threading.local()


def __getattr__(name: str) -> bool | float | None:
    if name not in ("resumed", "attempt", "time_left_s"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = _job()
    life = None if found is None else inside.read_life(found)
    if name == "attempt":
        return 0 if life is None else life.attempt
    if name == "resumed":
        return life is not None and life.generation is not None
    return None if life is None or life.stops is None else max(life.stops - time.time(), 0.0)


def checkpoint(timeout_s: float = 600.0) -> int | None:
    """Take a checkpoint now, and return the number of its generation once it is committed.

    A program that is resumed from that checkpoint goes on here, with the same number. Returns None if there was no
    checkpoint: dmtcp-run then says why. Raises RuntimeError within `inhibit`.
    """
    if _is_inhibiting():
        raise RuntimeError("checkpoint() within inhibit() would wait for its end")
    job = _job()
    before = None if job is None else inside.read_life(job)
    if job is None or before is None:
        return None
    try:
        answer = inside.put_request(job, "checkpoint")
    except OSError:
        return None
    try:
        return _answered(job, before, answer, timeout_s)
    finally:
        for link in (answer, answer.with_suffix(inside.ASK)):
            with suppress(OSError):
                link.unlink()


@contextmanager
def inhibit(at_most_s: float = 60.0) -> Iterator[None]:
    """Have no checkpoint taken within, for AT_MOST_S: a checkpoint that is due waits for the end of the block.

    While one is being taken, or waits for another process, the block begins after it. The last checkpoint waits less:
    after a signal for 5 seconds; before a time limit for a part of the time that is kept free, so that shortly before
    a limit the block begins only in the next attempt. Raises ValueError for more than ten minutes.
    """
    if not 0 < at_most_s <= MOST_INHIBITED_S:
        raise ValueError(f"at_most_s must be above 0 and at most {MOST_INHIBITED_S:.0f}, not {at_most_s}")
    link = _begin_section(at_most_s, is_inner=_is_inhibiting())
    owner = _mine.pid = os.getpid()
    _mine.depth = getattr(_mine, "depth", 0) + 1
    try:
        yield
    finally:
        if os.getpid() == owner:
            _mine.depth -= 1
            with suppress(OSError):
                if link is not None:
                    link.unlink()


def _job() -> JobLayout | None:
    """Return the paths of the job in which this process runs; None outside a job."""
    folder, batch_job = os.environ.get(inside.VARIABLE), allocation_around(os.environ).job_id
    # a script may have removed the scheduler's variables
    is_another = batch_job is not None and batch_job != os.environ.get(inside.BATCH_VARIABLE)
    return None if not folder or is_another else JobLayout(Path(folder))


def _is_inhibiting() -> bool:
    """Return whether this thread is within a section; one that forked within it has left it in the child."""
    if getattr(_mine, "pid", None) != os.getpid():
        _mine.depth = 0
    return bool(_mine.depth)


def _answered(job: JobLayout, before: Life, answer: Path, timeout_s: float) -> int | None:
    until = time.monotonic() + timeout_s
    while True:
        life, values = inside.read_life(job), inside.read_link(answer)
        if life is None or life.name != before.name:
            # resumed from a checkpoint that was taken while this waited
            return None if life is None else life.generation
        if values is not None and values.get("ok") is not None:
            return values.get("generation")
        if time.monotonic() >= until:
            return None
        time.sleep(_LOOK_S)


def _begin_section(at_most_s: float, *, is_inner: bool) -> Path | None:
    """Begin a section and return its link; None if there is nobody to see it. One that IS_INNER never waits."""
    until = time.monotonic() + _MOST_WAIT_S
    while (job := _job()) is not None and (life := inside.read_life(job)) is not None:
        if is_inner or not _must_wait(life, at_most_s):
            try:
                link = inside.put_section(job, time.time() + at_most_s)
            except OSError:
                return None
            # a checkpoint that is announced from here on waits; one that was resumed from has no section any more
            if is_inner or (not _must_wait(inside.read_life(job) or life, at_most_s) and os.path.lexists(link)):
                return link
            with suppress(OSError):
                link.unlink()
        if time.monotonic() >= until:
            warnings.warn("inhibit: dmtcp-run does not end its checkpoint; one may be taken", RuntimeWarning, 3)
            return None
        time.sleep(_LOOK_S)
    return None


def _must_wait(life: Life, at_most_s: float) -> bool:
    """Return whether a checkpoint is under way, or the last one comes before a section could end."""
    if life.is_checkpointing or life.stops is None or life.ends is None:
        return life.is_checkpointing
    now = time.time()
    kept = min(at_most_s, _KEPT_WHOLE_S, (life.stops - life.began) * _KEPT_WHOLE_SHARE)
    return life.stops - kept <= now < life.ends
