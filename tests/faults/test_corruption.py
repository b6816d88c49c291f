"""Damage to images is found before the program runs; DMTCP alone would not find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dmtcp_py.native import built
from faults import lists
from faults.corruption import campaign
from faults.figures import End, table, wrong
from kit.bench import counted
from kit.processes import kill_all
from kit.waits import LONG_S

if TYPE_CHECKING:
    from pathlib import Path

    from kit.bench import Workbench
    from kit.engines import EngineHere

_SEEDS = range(60)
_STEPS = 100
_WITHOUT_VERIFICATION = """
from dmtcp_py.store import restorable
from dmtcp_py.store.verify import read_manifest
restorable.verify = lambda layout, number, *_, **__: read_manifest(layout, number)
from dmtcp_py.cli.run import main
main()
"""
_BALLAST = bytes(range(256)) * 64
"""What the program that counts has in its memory, many times, and computes with."""


def test_random_damage_is_found(bench: Workbench, one_of_each: EngineHere) -> None:
    assert one_of_each
    damages = list(campaign(bench, _SEEDS))
    assert wrong(damages) == [], table(damages)
    assert sum(damage.end is End.DETECTED for damage in damages) > len(damages) / 2


@pytest.mark.skipif(built("files") is None, reason="built without a C compiler")
def test_random_damage_to_the_list_of_changed_files_is_found(tmp_path: Path) -> None:
    damages = list(lists.campaign(tmp_path, range(200)))
    assert wrong(damages) == [], table(damages)
    assert sum(damage.end is End.DETECTED for damage in damages) > len(damages) / 2


def test_without_verification_dmtcp_gives_a_wrong_answer_with_status_0(bench: Workbench, one_dmtcp: EngineHere) -> None:
    """A bit is another one in each byte of the program's data: what verification is for."""
    assert one_dmtcp
    line = ["-i", "0", "--job", "counts", "--stdout", "out.txt", *bench.counting(_STEPS, megabytes=1)]
    process = bench.start(*line)
    bench.wait_steps(1)
    assert bench.ctl("checkpoint", "counts").returncode == 0
    kill_all(process)
    image = next((bench.job / "generations/000001").glob("*.dmtcp"))
    data = image.read_bytes()
    assert _BALLAST in data
    image.write_bytes(data.replace(_BALLAST, bytes(byte ^ 1 for byte in _BALLAST)))
    without = bench.python("without.py", _WITHOUT_VERIFICATION)
    wrong = bench.start_line([*without, *line])
    assert wrong.wait(LONG_S) == 0
    assert (bench.folder / "out.txt").read_bytes() != counted(_STEPS)
