"""The process that seals the generations of a job while its program runs: a child of the supervisor.

Its arguments are the job's directory, the attempt's epoch and the first generation to seal. It seals each generation
from there on, prints a line for each, and ends. It dies with the supervisor, at any step. The newest comes first: on a
busy machine, older ones may be pruned before they are sealed.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from dmtcp_py.errors import FencedError, NoSuchJobError, StoreError
from dmtcp_py.store.layout import JobLayout
from dmtcp_py.store.lock import holding
from dmtcp_py.store.records import json_of
from dmtcp_py.store.seal import finish, seal
from dmtcp_py.store.verify import is_sealed
from dmtcp_py.system.background import lower_priority


def main() -> None:
    """Seal the generations of the job that the arguments name."""
    _, root, epoch, first = sys.argv[-4:]
    lower_priority()
    layout = JobLayout(Path(root))
    for number in layout.generations_from(int(first)):
        try:
            _seal(layout, number, int(epoch))
        except FencedError:
            return
        except (FileNotFoundError, NoSuchJobError):
            # it was pruned meanwhile
            continue
        except (StoreError, OSError) as error:
            _tell(generation=number, problem=str(error))


def _seal(layout: JobLayout, number: int, epoch: int) -> None:
    """Seal generation NUMBER; if the one that it could share with is damaged or gone, without that."""

    def may_replace() -> None:
        held = holding(layout)
        if held is None or (held.record.epoch, held.record.pid) != (epoch, os.getppid()):
            raise FencedError(f"a later attempt has taken over job {layout.name}")

    began = time.monotonic()
    finish(layout, number)
    former = _nearest(layout, number)
    try:
        done = seal(layout, number, former, may_replace)
    except (StoreError, FileNotFoundError):
        if former is None:
            raise
        done = seal(layout, number, None, may_replace)
    if done is not None:
        seconds = round(time.monotonic() - began, 3)
        _tell(generation=number, size=done.size, stored=done.stored, seconds=seconds)


def _nearest(layout: JobLayout, number: int) -> int | None:
    """Return the sealed generation that probably shares most with generation NUMBER."""
    others = (one for one in layout.generation_numbers() if one != number and is_sealed(layout.generation(one)))
    return min(others, key=lambda one: abs(one - number), default=None)


def _tell(**values: object) -> None:
    sys.stdout.buffer.write(json_of(values) + b"\n")
    sys.stdout.buffer.flush()
