"""Two copies of a job on one host, or on two whose locks are their own: one runs it, the other stops with status 11."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults import copies, shared
from faults.figures import table, wrong
from kit.long_form import NO_LONG_TESTS

if TYPE_CHECKING:
    from kit.bench import Workbench
    from kit.engines import EngineHere

pytestmark = pytest.mark.timeout(600)
_needs_shared = pytest.mark.skipif(bool(shared.why_not()), reason=shared.why_not() or "can be had")


_STORAGES = [pytest.param(storage, marks=_needs_shared) for storage in (shared.FUSE, shared.NO_LOCKS)]
_ONE_HOST = [copies.ONE_HOST, pytest.param(copies.NO_LOCKS_HERE, marks=_needs_shared)]


@pytest.mark.parametrize("storage", [*_ONE_HOST, *_STORAGES])
def test_of_two_copies_that_start_at_once_one_runs(bench: Workbench, one_engine: EngineHere, storage: str) -> None:
    assert one_engine
    trials = list(copies.campaign(bench, [0], [(copies.AT_ONCE, storage)]))
    assert wrong(trials) == [], table(trials)


@_needs_shared
def test_where_there_are_no_locks_a_first_that_wakes_stops_and_the_second_goes_on(
    bench: Workbench, one_of_each: EngineHere
) -> None:
    """Its images are taken there, too, and what it had made is not removed."""
    assert one_of_each
    trials = list(copies.campaign(bench, [0], [(copies.FROZEN, shared.NO_LOCKS)]))
    assert wrong(trials) == [], table(trials)


@pytest.mark.parametrize("storage", _ONE_HOST)
def test_nothing_takes_over_from_a_copy_that_is_frozen_on_the_same_host(
    bench: Workbench, one_engine: EngineHere, storage: str
) -> None:
    assert one_engine
    trials = list(copies.campaign(bench, [0], [(copies.FROZEN_HERE, storage)]))
    assert wrong(trials) == [], table(trials)


@_needs_shared
@NO_LONG_TESTS
@pytest.mark.parametrize("storage", _STORAGES)
@pytest.mark.parametrize("how", [copies.WHILE, copies.FROZEN, copies.STALLED, copies.PARTED])
def test_of_two_copies_on_two_hosts_one_runs(bench: Workbench, one_of_each: EngineHere, how: str, storage: str) -> None:
    assert one_of_each
    trials = list(copies.campaign(bench, range(5), [(how, storage)]))
    assert wrong(trials) == [], table(trials)
