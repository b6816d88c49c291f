"""What mirrors have of jobs: listed, verified and fetched, without a job's directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import xxhash

from dmtcp_py.attempt.fetched import Hears
from dmtcp_py.errors import NoSuchJobError
from dmtcp_py.mirror.address import address_of
from dmtcp_py.mirror.bringing import bring
from dmtcp_py.mirror.contents import jobs_at, manifests_of
from dmtcp_py.mirror.errors import reported
from dmtcp_py.mirror.opening import open_place
from dmtcp_py.mirror.order import Holder, Order
from dmtcp_py.report.generations import damaged_row, row_of
from dmtcp_py.store.access import refuse_directory
from dmtcp_py.store.history import last_that_ran
from dmtcp_py.store.lock import hold_for_maintenance
from dmtcp_py.store.mirrored import image_name
from dmtcp_py.store.records import path_text
from dmtcp_py.system.files import make_private_dir
from dmtcp_py.system.proc import boot_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dmtcp_py.messages import Report
    from dmtcp_py.mirror.place import Place
    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.records import Manifest

    _Row = Callable[[Place, str, int, Manifest | None], dict[str, Any] | None]

_DAMAGED = "its manifest is damaged"


def listed_at(urls: Sequence[str], job: str | None) -> list[dict[str, Any]]:
    """Return the generations of JOB, or of all jobs, that the mirrors at URLS have. Raises MirrorError."""

    def row(_place: Place, name: str, number: int, manifest: Manifest | None) -> dict[str, Any]:
        return damaged_row(name, number, _DAMAGED) if manifest is None else row_of(name, manifest)

    return _rows(urls, job, row)


def verified_at(urls: Sequence[str], job: str | None, generation: int | None) -> list[dict[str, Any]]:
    """Read each generation at the mirrors, or only GENERATION; return the problem of each, None if it is intact."""

    def row(place: Place, name: str, number: int, manifest: Manifest | None) -> dict[str, Any] | None:
        if generation not in (None, number):
            return None
        problem = _DAMAGED if manifest is None else _problem(place, name, manifest)
        return {"job": name, "generation": number, "problem": problem}

    rows = _rows(urls, job, row)
    if generation is not None and not rows:
        raise NoSuchJobError(f"no mirror has generation {generation}", "'dmtcp-ctl list --mirror URL' shows them")
    return rows


def fetch(urls: Sequence[str], layout: JobLayout, generation: int | None, report: Report) -> list[int]:
    """Fetch the job of LAYOUT from the mirrors at URLS; return the generations that its directory has then.

    Raises LockedError if the job runs, NoSuchJobError if no mirror has it, and MirrorError.
    """
    refuse_directory(layout.root.parent)
    make_private_dir(layout.root.parent)
    is_new = make_private_dir(layout.root)
    hears = Hears(report, layout)
    try:
        with hold_for_maintenance(layout):
            bring(_order(urls, layout, generation, last_that_ran(layout)), hears.told)
    finally:
        hears.close()
        if is_new and not layout.job.exists():
            layout.lock.unlink(missing_ok=True)
            layout.root.rmdir()
    if not layout.job.exists():
        raise NoSuchJobError(f"no mirror has a job {layout.name}", "'dmtcp-ctl list --mirror URL' shows what is there")
    return layout.generation_numbers()


def _rows(urls: Sequence[str], job: str | None, row: _Row) -> list[dict[str, Any]]:
    """Return what ROW makes of each generation at the mirrors, with the mirror; not where it returns None."""
    rows = []
    for url in urls:
        address = address_of(url)
        with reported(address):
            place = open_place(address)
            for name in _jobs(place, job, address.shown):
                for number, manifest in sorted(manifests_of(place, name).items()):
                    if (found := row(place, name, number, manifest)) is not None:
                        rows.append({**found, "mirror": address.shown})
    return rows


def _order(urls: Sequence[str], layout: JobLayout, generation: int | None, epoch: int) -> Order:
    nobody = Holder(epoch=epoch, host=os.uname().nodename, pid=os.getpid(), pid_started=0.0, boot_id=boot_id())
    return Order(
        root=path_text(layout.root.absolute()),
        mirrors=list(urls),
        holder=nobody,
        generation=generation,
        local_epoch=epoch,
    )


def _jobs(place: Place, job: str | None, shown: str) -> list[str]:
    found = jobs_at(place)
    if job is None:
        return found
    begin_so = [name for name in found if name == job] or [name for name in found if name.startswith(job)]
    if len(begin_so) != 1:
        names = ", ".join(begin_so or found) or "none"
        raise NoSuchJobError(f"{len(begin_so)} jobs at {shown} begin with '{job}'", f"jobs there: {names}")
    return begin_so


def _problem(place: Place, job: str, manifest: Manifest) -> str | None:
    for image in manifest.images:
        digest, size = xxhash.xxh3_128(), 0
        try:
            for block in place.read(image_name(job, manifest.generation, image.name)):
                digest.update(block)
                size += len(block)
        except FileNotFoundError:
            return f"{image.name} is missing"
        if size != image.size:
            return f"{image.name} has {size} bytes instead of {image.size}"
        if digest.hexdigest() != image.xxh3_128:
            return f"{image.name} does not have the content that was committed"
    return None
