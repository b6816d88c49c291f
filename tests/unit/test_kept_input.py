"""What is kept of the input from a pipe: read again, compared, cut, removed, and bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dmtcp_py.store.kept_input import Comparison, KeptInput

if TYPE_CHECKING:
    from pathlib import Path


def kept(folder: Path, *parts: bytes, most: int = 1 << 20, warnings: list[str] | None = None) -> KeptInput:
    """Return what is kept of an input with PARTS, each closed by a checkpoint."""
    found = KeptInput(folder, (warnings if warnings is not None else []).append, most)
    for part in parts:
        found.append(part)
        found.close_segment()
    return found


def test_what_was_kept_is_read_by_position(tmp_path: Path) -> None:
    kept(tmp_path, b"one", b"two", b"three")
    again = KeptInput(tmp_path, print)
    assert again.end == 11
    found = [again.read(position, 100) for position in (0, 2, 3, 6, 10, 11)]
    assert found == [b"one", b"e", b"two", b"three", b"e", b""]
    assert again.content_end(4) == 11


def test_what_a_killed_attempt_had_read_is_kept(tmp_path: Path) -> None:
    first = kept(tmp_path, b"one")
    first.append(b"two")
    again = KeptInput(tmp_path, print)
    again.recover(is_trusted=True)
    assert (again.end, again.content_end(0)) == (6, 6)


def test_what_was_not_synced_when_the_machine_crashed_is_forgotten(tmp_path: Path) -> None:
    first = kept(tmp_path, b"one")
    first.append(b"two")
    again = KeptInput(tmp_path, print)
    again.recover(is_trusted=False)
    assert again.end == 3
    again.append(b"TWO")
    assert again.read(3, 9) == b"TWO"


def test_the_end_of_the_input_is_kept(tmp_path: Path) -> None:
    first = kept(tmp_path, b"one")
    first.close_segment(is_last=True)
    assert KeptInput(tmp_path, print).is_complete
    assert KeptInput(tmp_path, print).end == 3


@pytest.mark.parametrize("block", [1, 2, 4, 11])
@pytest.mark.parametrize("forgotten", [0, 3, 6, 11])
def test_the_same_input_is_recognized_and_each_other_byte(tmp_path: Path, block: int, forgotten: int) -> None:
    kept(tmp_path, b"one", b"two", b"three").forget_before(forgotten)
    same = b"onetwothree"
    for wrong in range(-1, len(same)):
        data = bytearray(same)
        if wrong >= 0:
            data[wrong] ^= 1
        comparison = Comparison(KeptInput(tmp_path, print))
        is_same = all(comparison.add(bytes(data[at : at + block])) for at in range(0, len(data), block))
        assert is_same == (wrong < 0)


def test_content_that_no_generation_needs_is_removed(tmp_path: Path) -> None:
    found = kept(tmp_path, b"one", b"two", b"three")
    found.forget_before(5)
    assert [found.read(position, 9) for position in (0, 3)] == [b"", b"two"]
    assert found.content_end(3) == 11


def test_content_beyond_the_bound_is_not_kept_and_that_is_said_once(tmp_path: Path) -> None:
    warnings: list[str] = []
    found = kept(tmp_path, b"one", most=5, warnings=warnings)
    found.append(b"two")
    found.close_segment()
    found.append(b"three")
    found.close_segment()
    assert (found.end, found.content_end(0)) == (11, 3)
    assert len(warnings) == 1
    assert sum(path.stat().st_size for path in tmp_path.glob("0*")) <= 5
    comparison = Comparison(KeptInput(tmp_path, print))
    assert comparison.add(b"onetwothree")


def test_content_is_kept_again_once_there_is_room(tmp_path: Path) -> None:
    found = kept(tmp_path, b"one", most=5)
    found.append(b"two")
    found.close_segment()
    found.forget_before(6)
    found.append(b"six")
    found.close_segment()
    assert found.read(6, 9) == b"six"


def test_damaged_content_is_not_used(tmp_path: Path) -> None:
    kept(tmp_path, b"one", b"two")
    (tmp_path / f"{3:020}").write_bytes(b"TWO")
    again = KeptInput(tmp_path, print)
    assert again.content_end(0) == 3
    assert again.cut(3)
    assert KeptInput(tmp_path, print).end == 3


def test_it_is_not_cut_within_a_part(tmp_path: Path) -> None:
    found = kept(tmp_path, b"one", b"two")
    assert not found.cut(4)
    assert found.end == 6
