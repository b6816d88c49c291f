"""What the tests of the store share: a job's paths, a store that is held, generations made without an engine."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import pytest

from dmtcp_py.store.layout import JobLayout, job_layout
from dmtcp_py.store.records import BatchRun, Cost, Host, ImageFile, Manifest, encode, utc_now
from dmtcp_py.store.staged import StagedImages, stage
from dmtcp_py.store.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

IMAGES = {"ckpt_count.dmtcp": b"image " * 1000, "ckpt_count_files/log": b"a file of the program's"}


class Commit(Protocol):
    """Commit a generation whose images have these contents, or are staged; FIELDS replace those of its manifest."""

    def __call__(self, store: Store, images: dict[str, bytes] | StagedImages | None = None, **fields: Any) -> Manifest:
        """Return its manifest."""


@pytest.fixture
def layout(tmp_path: Path) -> JobLayout:
    """Return the paths of a job that is not there yet."""
    return job_layout(tmp_path / "jobs", "count-1")


@pytest.fixture
def warned() -> list[str]:
    """Collect what the stores of the test have warned of."""
    return []


@pytest.fixture
def opened(layout: JobLayout, warned: list[str]) -> Iterator[Callable[[], Store]]:
    """Open the job as an attempt does; let go at the end what the test has not."""
    stores: list[Store] = []

    def open_one() -> Store:
        store = open_store(layout, batch=BatchRun(), say=pytest.fail, warn=warned.append)
        stores.append(store)
        store.clean()
        return store

    yield open_one
    for store in stores:
        with suppress(OSError):
            store.lock.release()


@pytest.fixture
def store(opened: Callable[[], Store]) -> Store:
    """Hold a job's directory."""
    return opened()


@pytest.fixture
def commit() -> Commit:
    """Commit a generation as an engine's images would be."""
    return _commit


@pytest.fixture
def staged() -> Callable[[Store], StagedImages]:
    """Write images as an engine does."""
    return _stage


@pytest.fixture
def manifest_json() -> dict[str, Any]:
    """Return the plain values of a manifest of generation 1 with one image, without their hash."""
    image = ImageFile(name="ckpt_count.dmtcp", size=3, xxh3_128="0" * 32)
    values: dict[str, Any] = msgspec.json.decode(encode(_manifest(1, 1, [image])))
    del values["check"]
    return values


def _stage(store: Store, images: dict[str, bytes] | None = None) -> StagedImages:
    folder = store.make_staging()
    contents = IMAGES if images is None else images
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return stage(folder, [next(iter(contents))], processes=1)


def _commit(store: Store, images: dict[str, bytes] | StagedImages | None = None, **fields: Any) -> Manifest:
    staged = images if isinstance(images, StagedImages) else _stage(store, images)

    def describe(number: int, files: list[ImageFile]) -> Manifest:
        return msgspec.structs.replace(_manifest(number, store.epoch, files), **fields)

    return store.commit(staged, describe)


def _manifest(number: int, epoch: int, files: list[ImageFile]) -> Manifest:
    return Manifest(
        generation=number,
        lineage=1,
        epoch=epoch,
        created=utc_now(),
        reason="interval",
        program_stopped=False,
        engine="dmtcp",
        engine_version="4.2.0",
        images=files,
        restart_images=[files[0].name],
        processes=1,
        host=Host(name="here", kernel="6", machine="x86_64", libc="glibc 2"),
        cost=Cost(checkpoint_s=0.5),
    )
