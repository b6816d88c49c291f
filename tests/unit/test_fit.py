"""Which differences between two machines are harmless, risky or fatal for a resume."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dmtcp_py.attempt.fit import Level, compare
from dmtcp_py.store.records import Cost, Host, Manifest, utc_now

HERE = Host(name="here", kernel="6.1.0-13", machine="x86_64", libc="glibc 2.36", cpu_flags=["fpu", "sse2", "avx2"])


def levels(engine: str, **there: Any) -> dict[str, Level]:
    manifest = Manifest(
        generation=1,
        lineage=1,
        epoch=1,
        created=utc_now(),
        reason="interval",
        program_stopped=True,
        engine=engine,
        engine_version="1",
        images=[],
        restart_images=[],
        processes=1,
        host=msgspec.structs.replace(HERE, name="there", **there),
        cost=Cost(checkpoint_s=1.0),
    )
    return {finding.about: finding.level for finding in compare(manifest, HERE)}


@pytest.mark.parametrize("name", ["dmtcp", "criu"])
def test_the_same_machine_is_fit(name: str) -> None:
    assert set(levels(name).values()) == {Level.OK}


@pytest.mark.parametrize(
    ("there", "about", "under_dmtcp", "under_criu"),
    [
        ({"machine": "aarch64"}, "processor", Level.PROBLEM, Level.PROBLEM),
        ({"cpu_flags": ["sse2", "avx512f"]}, "processor", Level.PROBLEM, Level.PROBLEM),
        ({"cpu_flags": ["sse2", "smep", "xsaves"]}, "processor", Level.OK, Level.OK),
        ({"cpu_flags": []}, "processor", Level.OK, Level.OK),
        ({"kernel": "5.14.0-362"}, "kernel", Level.OK, Level.OK),
        ({"kernel": "6.10.0"}, "kernel", Level.OK, Level.WARNING),
        ({"libc": "glibc 2.28"}, "C library", Level.OK, Level.WARNING),
    ],
)
def test_each_difference_has_its_level(
    there: dict[str, Any], about: str, under_dmtcp: Level, under_criu: Level
) -> None:
    assert levels("dmtcp", **there)[about] is under_dmtcp
    assert levels("criu", **there)[about] is under_criu
