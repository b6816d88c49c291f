"""That nothing is run from the user's data directory which somebody else can have put there."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.engine.criu import installation, privileges
from dmtcp_py.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

SOMEBODY = 41878
PLACES = ["dmtcp-py/criu/criu", "dmtcp-py/criu", "dmtcp-py"]


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give a data directory with a CRIU and a setpriv of this user's."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("DMTCP_RUN_CRIU", raising=False)
    for path in (privileges.setpriv_copy(), installation.private_prefix() / "criu"):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o700)
    return tmp_path


def uses_private_criu() -> bool:
    with suppress(EngineError):
        return installation.private_prefix() / "criu" in [one.path for one in installation.candidates()]
    return False


def setpriv_is_refused() -> bool:
    return "is not used" in (privileges.missing_privilege() or "")


@pytest.mark.usefixtures("data")
def test_the_users_own_criu_is_used() -> None:
    assert uses_private_criu()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("mode", [0o722, 0o770], ids=["by all", "by the group"])
def test_a_criu_that_others_can_write_or_replace_is_not_used(data: Path, place: str, mode: int) -> None:
    (data / place).chmod(mode)
    assert not uses_private_criu()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("place", PLACES)
def test_a_criu_of_somebody_else_is_not_used(data: Path, place: str) -> None:
    os.chown(data / place, SOMEBODY, SOMEBODY)
    assert not uses_private_criu()


@pytest.mark.usefixtures("data")
def test_a_setpriv_that_others_can_write_or_replace_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privileges, "missing_capabilities", lambda: ["cap_setpcap"])
    monkeypatch.setattr(privileges, "is_root", lambda: False)
    assert not setpriv_is_refused()
    privileges.setpriv_copy().chmod(0o722)
    assert setpriv_is_refused()
