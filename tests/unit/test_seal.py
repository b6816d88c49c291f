"""Sealed generations: smaller, and as safe as before. Each holds what was committed, whatever becomes of the others."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import errno
import os
import random
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from dmtcp_py.errors import FencedError, StoreError
from dmtcp_py.store.restorable import restorable
from dmtcp_py.store.retention import Verdict
from dmtcp_py.store.seal import LEAST_BYTES, finish, seal
from dmtcp_py.store.verify import verify
from dmtcp_py.system.files import size_below

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dmtcp_py.store.layout import JobLayout
    from dmtcp_py.store.store import Store

IMAGE, RECORD = "ckpt_count.dmtcp", "files.json"
PAGE = 4096
PAGES = 1000
SIZES = (LEAST_BYTES, LEAST_BYTES + 1, LEAST_BYTES + PAGE, 3 * LEAST_BYTES - 1, 5 * LEAST_BYTES + 123)


def memory(seed: int, pages: int = PAGES) -> list[bytes]:
    """Return pages that compress by half or so, each different."""
    chosen = random.Random(seed)
    return [chosen.randbytes(PAGE // 2) + bytes(PAGE // 2) for _ in range(pages)]


def anything() -> None:
    """Allow every replacement."""


class Job:
    """A job whose generations are made without an engine."""

    def __init__(self, layout: JobLayout, store: Store, commit: Any) -> None:
        self.layout, self.store, self._commit = layout, store, commit
        self.images: dict[int, dict[str, bytes]] = {}

    def commit(self, image: bytes, *, is_sealed: bool = True, **more: bytes) -> int:
        """Commit IMAGE, and MORE files by name, as a generation; return its number."""
        images = {IMAGE: image, **more}
        number: int = self._commit(self.store, images, restart_images=[IMAGE]).generation
        self.images[number] = images
        if is_sealed:
            self.seal(number, number - 1 or None)
        return number

    def seal(self, number: int, former: int | None, may_replace: Callable[[], None] = anything) -> None:
        seal(self.layout, number, former, may_replace)

    def read(self, number: int) -> dict[str, bytes]:
        """Return the images of a generation as an engine would read them."""
        with restorable(self.layout, number, self.store.make_staging) as (manifest, folder):
            return {image.name: (folder / image.name).read_bytes() for image in manifest.images}

    def intact(self) -> list[int]:
        """Return the generations that verify, after making sure that they are what was committed."""
        found = []
        for number in self.layout.generation_numbers():
            try:
                verify(self.layout, number)
            except StoreError:
                with pytest.raises(StoreError):
                    self.read(number)
                continue
            assert self.read(number) == self.images[number]
            found.append(number)
        return found

    def folder(self, number: int) -> Path:
        return self.layout.generation(number)


@pytest.fixture
def job(layout: JobLayout, store: Store, commit: Any) -> Job:
    return Job(layout, store, commit)


@pytest.mark.parametrize("size", SIZES)
def test_a_sealed_image_is_byte_for_byte_what_was_committed(job: Job, size: int) -> None:
    image = b"".join(memory(size, size // PAGE + 1))[:size]
    number = job.commit(image)
    assert not (job.folder(number) / IMAGE).exists()
    assert job.intact() == [number]


def test_an_image_of_another_length_and_at_another_place_is_what_was_committed(job: Job) -> None:
    pages = memory(1)
    job.commit(b"".join(pages))
    job.commit(b"".join([*memory(2, 7), *pages[:400], *memory(3, 1), *pages[300:], b"end"]))
    job.commit(b"".join(pages[500:]))
    assert job.intact() == [1, 2, 3]
    assert (job.folder(2) / "sealed").stat().st_size < 0.1 * (job.folder(1) / "sealed").stat().st_size


def test_small_files_and_records_stay_readable_in_place(job: Job) -> None:
    record = b" " * (2 * LEAST_BYTES)
    number = job.commit(b"".join(memory(1)), **{RECORD: record, "little": b"text"})
    assert (job.folder(number) / RECORD).read_bytes() == record
    assert (job.folder(number) / "little").read_bytes() == b"text"
    assert job.intact() == [number]


def test_five_generations_that_differ_by_a_tenth_take_at_most_1_6_times_one(job: Job, layout: JobLayout) -> None:
    pages = memory(0)
    for step in range(5):
        pages[step * 137 : step * 137 + PAGES // 10] = memory(step + 1, PAGES // 10)
        job.commit(b"".join(pages))
    one = (job.folder(1) / "sealed").stat().st_size
    assert sum((job.folder(number) / "sealed").stat().st_size for number in range(1, 6)) < 1.6 * one
    assert job.intact() == [1, 2, 3, 4, 5]
    assert len(zlib.compress(b"".join(pages), 1)) > 0.95 * one
    assert layout.generation_numbers() == [1, 2, 3, 4, 5]


def test_what_no_generation_needs_does_not_pile_up(job: Job) -> None:
    pages = memory(0)
    for step in range(30):
        pages[step * 50 % PAGES : step * 50 % PAGES + 100] = memory(step + 1, 100)
        pages = pages[:PAGES]
        job.commit(b"".join(pages))
        job.store.prune(keep=2, lineage=1)
    inodes = {path.stat().st_ino: path.stat().st_size for path in job.layout.generations.glob("*/sealed*")}
    job.commit(b"".join(memory(99)))
    one = (job.folder(31) / "sealed").stat().st_size
    assert sum(inodes.values()) < 3 * one
    assert job.intact() == [29, 30, 31]


@pytest.mark.parametrize("doomed", [(1,), (2,), (3,), (1, 2), (1, 3), (2, 3), (1, 2, 3)])
def test_removing_generations_harms_no_other(job: Job, doomed: tuple[int, ...]) -> None:
    pages = memory(0)
    for step in range(4):
        pages[step * 100 : step * 100 + 100] = memory(step + 1, 100)
        job.commit(b"".join(pages))
    for number in doomed:
        job.store.remove([Verdict(number, keep=False, rule="test")])
    assert job.intact() == [number for number in range(1, 5) if number not in doomed]


def test_damage_takes_down_exactly_the_generations_that_name_the_block(job: Job) -> None:
    first, second, third = memory(1, 512), memory(2, 512), memory(3, 512)
    job.commit(b"".join([*first, *second]))
    job.commit(b"".join([*first, *third]))
    job.commit(b"".join([*memory(4, 512), *third]))
    # the first pack has FIRST, which generations 1 and 2 need, and SECOND, which only 1 does; the next has THIRD
    pack = job.folder(1) / "sealed"
    for path, place, whole in (
        (pack, 0.1, [3]),
        (pack, 0.7, [2, 3]),
        (job.folder(2) / "sealed", 0.4, [1]),
        (job.folder(3) / "sealed", 0.4, [1, 2]),
    ):
        before = path.read_bytes()
        at = int(len(before) * place)
        with path.open("r+b") as file:
            file.seek(at)
            file.write(bytes([before[at] ^ 1]))
        assert job.intact() == whole, (path, place)
        with path.open("r+b") as file:
            file.write(before)
    assert job.intact() == [1, 2, 3]


def test_a_torn_pack_is_named(job: Job) -> None:
    job.commit(b"".join(memory(1)))
    job.commit(b"".join([*memory(1)[:900], *memory(2, 100)]))
    path = job.folder(2) / "sealed"
    content = path.read_bytes()
    for size in (0, 1, 31, 32, len(content) // 2, len(content) - 1):
        os.truncate(path, size)
        with pytest.raises(StoreError, match=f"{job.folder(2)}"):
            verify(job.layout, 2)
        assert job.intact() == [1]
    path.write_bytes(content)
    assert job.intact() == [1, 2]


def test_a_missing_link_or_one_to_another_pack_takes_down_only_its_generation(job: Job) -> None:
    job.commit(b"".join(memory(1)))
    job.commit(b"".join([*memory(1)[:900], *memory(2, 100)]))
    job.commit(b"".join(memory(3)))
    (link,) = job.folder(2).glob("sealed-*")
    link.unlink()
    assert job.intact() == [1, 3]
    link.hardlink_to(job.folder(3) / "sealed")
    assert job.intact() == [1, 3]
    link.unlink()
    link.symlink_to(job.folder(1) / "sealed")
    assert job.intact() == [1, 3]


def test_a_pack_that_others_may_write_is_not_read(job: Job) -> None:
    job.commit(b"".join(memory(1)))
    (job.folder(1) / "sealed").chmod(0o620)
    with pytest.raises(StoreError, match="can be written by others"):
        verify(job.layout, 1)


def test_a_damaged_image_is_not_sealed(job: Job) -> None:
    number = job.commit(b"".join(memory(1)), is_sealed=False)
    with (job.folder(number) / IMAGE).open("r+b") as file:
        file.write(b"other")
    with pytest.raises(StoreError, match="does not have the content that was committed"):
        job.seal(number, None)
    assert (job.folder(number) / IMAGE).exists()
    assert not job.layout.left_of_sealing()


def test_nothing_is_sealed_with_blocks_that_are_damaged(job: Job) -> None:
    job.commit(b"".join(memory(1)))
    second = job.commit(b"".join(memory(1)), is_sealed=False)
    with (job.folder(1) / "sealed").open("r+b") as file:
        file.seek(PAGE)
        file.write(b"other")
    with pytest.raises(StoreError, match="cannot be sealed"):
        job.seal(second, 1)
    assert (job.folder(second) / IMAGE).exists()
    assert job.intact() == [second]


def test_an_attempt_that_was_overtaken_replaces_nothing(job: Job) -> None:
    number = job.commit(b"".join(memory(1)), is_sealed=False)

    def refuse() -> None:
        raise FencedError("a later attempt has taken over")

    with pytest.raises(FencedError):
        job.seal(number, None, refuse)
    assert sorted(path.name for path in job.folder(number).iterdir()) == [IMAGE, "manifest.json"]


def test_where_there_are_no_hard_links_each_generation_holds_all(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    job.commit(b"".join(memory(1)))
    monkeypatch.setattr(os, "link", refuse)
    job.commit(b"".join(memory(1)))
    assert [path.name for path in job.folder(2).glob("sealed*")] == ["sealed"]
    assert size_below(job.folder(2)) > 0.9 * size_below(job.folder(1))
    assert job.intact() == [1, 2]


def test_images_that_were_sealed_but_not_removed_are_removed_later(job: Job) -> None:
    image = b"".join(memory(1))
    number = job.commit(image)
    path = job.folder(number) / IMAGE
    path.write_bytes(image)
    path.chmod(0o600)
    assert job.intact() == [number]
    finish(job.layout, number)
    assert not path.exists()
    path.write_bytes(image)
    with (job.folder(number) / "sealed").open("r+b") as file:
        file.write(b"damage")
    finish(job.layout, number)
    assert path.exists()
    assert job.intact() == [number]
