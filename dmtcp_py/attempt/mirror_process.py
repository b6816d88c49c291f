"""The child processes through which an attempt talks to mirrors, and the order that each receives at its start."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from dmtcp_py.errors import EngineError
from dmtcp_py.mirror.order import Holder, Order
from dmtcp_py.store.records import json_of
from dmtcp_py.system import reaping
from dmtcp_py.system.background import argv_of
from dmtcp_py.system.child import Child, ChildStdio

if TYPE_CHECKING:
    from dmtcp_py.store.store import Store

_LITTLE_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "262144",
    "MALLOC_TRIM_THRESHOLD_": "131072",
}
"""The libraries that talk to servers have many threads and large buffers, which malloc(3) would keep."""


def process_of(module: str, order: Order) -> Child:
    """Start MODULE of `dmtcp_py.mirror` with ORDER; `end` has to be called for it. Raises EngineError."""
    child = Child(
        argv_of(f"mirror.{module}"),
        env={**_LITTLE_MEMORY, **os.environ},
        dies_with_us=True,
        stdio=ChildStdio(stdin=subprocess.PIPE, stdout=subprocess.PIPE),
    )
    reaping.SPARED.add(child.pid)
    if child.stdin is not None:
        with suppress(OSError):
            child.stdin.write(json_of(order) + b"\n")
            child.stdin.flush()
    return child


def end(child: Child) -> None:
    """End CHILD and what it has started, unless it has ended."""
    child.signal_group(signal.SIGKILL)
    with suppress(EngineError):
        # where its file system hangs, SIGKILL does not end it; the job goes on without it
        child.stop(0)
    reaping.SPARED.discard(child.pid)


def holder_of(store: Store) -> Holder:
    """Return the attempt that holds STORE."""
    record = store.lock.record
    return Holder(
        epoch=record.epoch,
        host=record.host,
        pid=record.pid,
        pid_started=record.pid_started,
        boot_id=record.boot_id,
    )
