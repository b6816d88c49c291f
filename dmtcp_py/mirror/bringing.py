"""The process that looks, before an attempt starts, whether a mirror is further than the job's directory, and fetches.

Whoever started later is right: each attempt has a higher epoch than all before it, and the index of a mirror has that
of the attempt that wrote there last. The supervisor holds the lock of the job meanwhile.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec

from dmtcp_py.errors import DmtcpRunError, LockedError, NoSuchJobError, StoreError
from dmtcp_py.mirror.address import address_of
from dmtcp_py.mirror.contents import index_of, manifests_of
from dmtcp_py.mirror.copying import BEAT_S
from dmtcp_py.mirror.errors import DamagedError, MirrorError, reported
from dmtcp_py.mirror.fetching import fetch_generation, fetch_rest
from dmtcp_py.mirror.opening import open_place
from dmtcp_py.mirror.order import Order, Tell
from dmtcp_py.mirror.order import tell as tell_supervisor
from dmtcp_py.store.history import read_history
from dmtcp_py.store.records import Job, State, read_record
from dmtcp_py.system.files import free_name
from dmtcp_py.system.proc import boot_id, started_at

if TYPE_CHECKING:
    from dmtcp_py.mirror.address import Address
    from dmtcp_py.mirror.place import Place
    from dmtcp_py.store.mirrored import Index
    from dmtcp_py.store.records import Manifest

_STALE_S = 2.5 * BEAT_S
_LOOK_S = 2.0
_SILENT_S = 40.0
_FINISHED = "finished"
_SUPERSEDED = "superseded"


class _Found(msgspec.Struct, frozen=True):
    """A mirror that answered, with what it has of the job."""

    address: Address
    place: Place
    index: Index | None
    manifests: dict[int, Manifest | None]


def bring(order: Order, tell: Tell) -> int:
    """Do what ORDER says, and TELL what is done; return the epoch that the attempt has to outrank."""
    found, problems = _look(order, tell)
    has_job = order.layout.job.is_file()
    if not found and not has_job and not order.is_fresh:
        raise MirrorError(
            f"{problems[0].what}: whether there is something to resume cannot be known",
            problems[0].hint or "run the same line again once it can be reached; --fresh starts over",
        )
    for problem in problems:
        tell(warn=f"{problem}; {'it is tried again' if found or has_job else 'starting all the same'}")
    known = sorted((one for one in found if one.index is not None), key=_rank, reverse=True)
    if not known or (index := known[0].index) is None:
        return 0
    if index.epoch > order.local_epoch or not has_job:
        tell(is_behind=True)
        _refuse_running(known[0], index, tell)
        _take_over(order, known[0], index, tell)
    else:
        _refuse_unknown(order, known[0], index)
    if not order.is_fresh:
        _fetch(order, known, tell)
    return index.epoch


def _look(order: Order, tell: Tell) -> tuple[list[_Found], list[DmtcpRunError]]:
    found, problems = [], []
    for text in order.mirrors:
        address = address_of(text)
        tell()
        try:
            with reported(address):
                place, name = open_place(address, order.layout.root), order.layout.name
                index, manifests = index_of(place, name), manifests_of(place, name)
                found.append(_Found(address=address, place=place, index=index, manifests=manifests))
        except DmtcpRunError as error:
            problems.append(error)
    return found, problems


def _rank(found: _Found) -> tuple[int, int]:
    return (found.index.epoch if found.index else 0, max(found.manifests, default=0))


def _refuse_running(found: _Found, index: Index, tell: Tell) -> None:
    """Raise LockedError if the attempt that wrote INDEX still runs; waits for its next beat where that is not known."""
    if index.ended is not None:
        return
    where = f"on {index.host} as pid {index.pid}"
    refusal = LockedError(f"job {index.job} is running {where}, says mirror {found.address.shown}", "stop it there")
    # not by the name alone: containers share it
    if index.host == os.uname().nodename and index.boot_id == boot_id():
        if started_at(index.pid) == index.pid_started:
            raise refusal
        return
    tell(say=f"the attempt {where} may still be running; waiting {_STALE_S:.0f} s for a sign of it at the mirror")
    until = time.monotonic() + _STALE_S
    while time.monotonic() < until:
        time.sleep(_LOOK_S)
        tell()
        with reported(found.address):
            now = index_of(found.place, index.job)
        if now is not None and (now.epoch, now.beat) != (index.epoch, index.beat):
            raise refusal


def _refuse_unknown(order: Order, found: _Found, index: Index) -> None:
    """Raise MirrorError if the attempt that wrote INDEX went on elsewhere with what this directory had once."""
    starts = [line for line in read_history(order.layout) if line.get("epoch") == index.epoch and "pid" in line]
    if not starts or any((line.get("host"), line["pid"]) == (index.host, index.pid) for line in starts):
        return
    raise MirrorError(
        f"job {index.job} has gone on at two places: here, and on {index.host} from mirror {found.address.shown}",
        "to go on with what is here, leave this --mirror out or name a new one; to go on with what the mirror has, use "
        "another --dir",
    )


def _take_over(order: Order, found: _Found, index: Index, tell: Tell) -> None:
    """Make the job's directory what the attempt that wrote INDEX had, and set aside what it did not have."""
    layout = order.layout
    for number in layout.generation_numbers():
        there = found.manifests.get(number)
        if there is None or there.check != _check_of(order, number):
            target = free_name(layout.generation(number).with_suffix(f".{_SUPERSEDED}"))
            layout.generation(number).rename(target)
            tell(warn=f"generation {number} here is not of the attempt on {index.host} that came later: see {target}")
    with reported(found.address):
        fetch_rest(found.place, layout, index)
    if index.ended is None:
        tell(seen_at=index.written.timestamp())
        tell(
            warn=f"the attempt on {index.host} was killed: what its program did to other files than before after "
            f"{index.written:%Y-%m-%d %H:%M:%S} UTC did not reach the mirror, and will be repeated"
        )


def _check_of(order: Order, number: int) -> str | None:
    from dmtcp_py.store.verify import read_manifest  # noqa: PLC0415 - rarely needed

    try:
        return read_manifest(order.layout, number).check
    except DmtcpRunError:
        return None


def _fetch(order: Order, mirrors: list[_Found], tell: Tell) -> None:
    """Fetch the generation to resume, unless the directory has it: the newest, or an older one if that is damaged."""
    layout = order.layout
    job = read_record(layout.job, Job)
    here = layout.generations_from(job.first_generation)
    wanted = _wanted(order, job, mirrors)
    if order.generation is None:
        newest = max((one[0] for one in wanted), default=0)
        if _is_finished(order, job) or (here and here[0] >= newest):
            return
    if order.generation is not None and not wanted and order.generation not in here:
        numbers = sorted({number for found in mirrors for number in found.manifests})
        raise NoSuchJobError(f"no mirror has generation {order.generation}", f"there are {numbers or 'none'}")
    _fetch_first(order, wanted, here, tell)


def _fetch_first(order: Order, wanted: list[tuple[int, _Found, Manifest]], here: tuple[int, ...], tell: Tell) -> None:
    """Fetch the first of WANTED that is intact, unless it is HERE."""
    failures: list[tuple[int, DmtcpRunError]] = []
    for number, found, manifest in wanted:
        # what cannot be fetched now may well be there: an older one would lose work
        for failed, error in failures:
            if failed > number and not isinstance(error, DamagedError):
                raise error
        if number in here:
            return
        try:
            _fetch_one(order, found, manifest, tell)
        except DmtcpRunError as error:
            failures.append((number, error))
            if len(failures) == len(wanted):
                raise
            tell(warn=f"generation {number} cannot be fetched: {error.what}; trying another one")
        else:
            return


def _wanted(order: Order, job: Job, mirrors: list[_Found]) -> list[tuple[int, _Found, Manifest]]:
    """Return what can be fetched, best first."""
    every = [
        (number, found, manifest)
        for found in mirrors
        for number, manifest in found.manifests.items()
        if manifest is not None and manifest.lineage == job.lineage and number >= job.first_generation
    ]
    if order.generation is not None:
        return [one for one in every if one[0] == order.generation]
    of_job = [one for one in every if _is_current(order, mirrors, one[1]) or _is_committed(order, one[2])]
    return sorted(of_job, key=lambda one: one[0], reverse=True)


def _is_current(order: Order, mirrors: list[_Found], found: _Found) -> bool:
    """Return whether the newest attempt of all wrote to the mirror FOUND."""
    return _rank(found)[0] >= max(order.local_epoch, _rank(mirrors[0])[0])


def _is_committed(order: Order, manifest: Manifest) -> bool:
    """Return whether the history has the commit: an overtaken attempt made others, also at a mirror."""
    facts = {"event": "checkpointed", "epoch": manifest.epoch, "generation": manifest.generation}
    return any(facts.items() <= line.items() for line in read_history(order.layout))


def _fetch_one(order: Order, found: _Found, manifest: Manifest, tell: Tell) -> None:
    number, done = manifest.generation, 0
    tell(fetching=number, size=manifest.size, mirror=found.address.shown)

    def progress(size: int, patience_s: float) -> None:
        nonlocal done
        done += size
        tell(done=done, patience_s=patience_s)

    with reported(found.address):
        fetch_generation(found.place, order.layout, manifest, progress)
    tell(fetched=number, size=manifest.size, mirror=found.address.shown)


def _is_finished(order: Order, job: Job) -> bool:
    try:
        state = read_record(order.layout.state, State)
    except (FileNotFoundError, StoreError):
        return False
    return state.lineage == job.lineage and state.phase == _FINISHED


class _Watch:
    """Ends this process if nothing moves any more: some servers accept a connection and never answer."""

    def __init__(self, order: Order) -> None:
        self._order, self._until = order, time.monotonic() + _SILENT_S
        self._is_behind = False
        threading.Thread(target=self._watch, daemon=True).start()

    def tell(self, **values: Any) -> None:
        """Report VALUES to the supervisor."""
        self._until = time.monotonic() + _SILENT_S + values.pop("patience_s", 0.0)
        # what is here is older than what a mirror has
        self._is_behind |= values.pop("is_behind", False) or "fetching" in values
        if values:
            tell_supervisor(**values)

    def _watch(self) -> None:
        while (left := self._until - time.monotonic()) > 0:
            time.sleep(left)
        shown = ", ".join(address_of(text).shown for text in self._order.mirrors)
        what = f"no answer from {shown} within {_SILENT_S:.0f} s"
        layout = self._order.layout
        if not self._is_behind and layout.job.is_file() and layout.generation_numbers():
            tell_supervisor(warn=f"{what}; going on with what is here")
            tell_supervisor(epoch=0)
        else:
            hint = "run the same line again once it answers; --fresh starts over"
            tell_supervisor(error=what, hint=hint, is_locked=False)
        os._exit(0)


def main() -> None:
    """Do what the order on standard input says, and report how it went."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    os.umask(0o077)
    heard = _Watch(order)
    try:
        tell_supervisor(epoch=bring(order, heard.tell))
    except DmtcpRunError as error:
        tell_supervisor(error=error.what, hint=error.hint, is_locked=isinstance(error, LockedError))
    # libraries have threads of their own that may wait for a server
    sys.stdout.flush()
    os._exit(0)
