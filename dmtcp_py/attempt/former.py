"""The attempt before this one, where it did not record its end: what is left of it here, and what it did elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmtcp_py.system.reaping import end_leftovers

if TYPE_CHECKING:
    from dmtcp_py.messages import Report
    from dmtcp_py.store.store import Store


def end_leftovers_of(store: Store, report: Report) -> None:
    """Make sure that no process of an attempt that was killed on this machine still writes."""
    if store.before is None or store.before.record.released or not store.before.is_here:
        return
    if end_recorded(store):
        text = f"ended leftover processes of the previous attempt (epoch {store.before.record.epoch})"
        report.say(text, event="ended")


def end_recorded(store: Store) -> bool:
    """End what is left of the processes that the last state names; see `end_leftovers`."""
    state = store.state()
    return state is not None and end_leftovers(state.processes)


def goes_back(store: Store, report: Report, *, may: bool) -> bool:
    """Say that the attempt before has turned out to live; return whether this one goes back to its start, if it MAY."""
    host = store.before.record.host if store.before is not None else "another machine"
    text = f"the attempt before, on {host}, was not dead, and has stopped only now"
    if not may:
        report.warn(f"{text}: what its program wrote at last may be in this one's files")
        return False
    report.warn(f"{text}: going back to where this attempt began, as its program may have written to files")
    store.record("failed", what="attempt before", error="it ran on")
    return True
