"""Fixtures: a real HTCondor pool, one a module, whose jobs an ordinary user has."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kit import condor
from kit.condor import Pool
from kit.places import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def pool(engines_needed: tuple[Path, ...]) -> Iterator[Pool]:
    """Start a pool, and end all that came of it."""
    if reason := condor.why_not():
        pytest.skip(reason)
    programs, reason = condor.programs()
    if programs is None:
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="condor-"))
    pool = Pool(folder, programs, (Path(sys.base_prefix), Path(sys.prefix), REPOSITORY, *engines_needed))
    try:
        pool.start()
        yield pool
    finally:
        pool.close()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def engines_needed() -> tuple[Path, ...]:
    """Return the folders that the engines need."""
    from conftest import CRIU  # noqa: PLC0415

    return tuple(Path(engine.environ["DMTCP_RUN_CRIU"]).parent for engine in CRIU)
