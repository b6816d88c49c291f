"""Removing what nobody reads any more: the command does not wait for it, and nothing waits for the process."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from dmtcp_py.store import removal
from dmtcp_py.store.removal import remove_all
from dmtcp_py.system.files import remove_tree
from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def _folders(place: Path) -> list[Path]:
    made = [place / f"00000{number}.partial" for number in range(1, 4)]
    for folder in made:
        (folder / "files").mkdir(parents=True)
        (folder / "files/image").write_bytes(b"image")
    return made


def test_what_is_removed_at_once_needs_no_word(tmp_path: Path) -> None:
    folders = _folders(tmp_path)
    assert remove_all(folders, patience_s=LONG_S) is None
    assert not any(folder.exists() for folder in folders)


def test_what_takes_longer_is_removed_after_the_command_has_ended(tmp_path: Path) -> None:
    folders = _folders(tmp_path)
    code = """
import sys, time
from pathlib import Path
from dmtcp_py.store import removal
gate, *folders = map(Path, sys.argv[1:])
remove = removal.remove_tree
def remove_once_allowed(folder):
    while not gate.exists():
        time.sleep(0.01)
    remove(folder)
removal.remove_tree = remove_once_allowed
print(removal.remove_all(folders, patience_s=0.01))
"""
    gate = tmp_path / "gate"
    argv = [sys.executable, "-c", code, str(gate), *map(str, folders)]
    # returns only once no process has the output open any more
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LONG_S, check=True)
    assert "goes on removing files in the background" in done.stdout
    assert all(folder.exists() for folder in folders)
    gate.touch()
    wait_until(lambda: not any(folder.exists() for folder in folders))


def test_what_cannot_be_removed_is_told_and_holds_nothing_else_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = _folders(tmp_path)

    def remove(folder: Path) -> None:
        if folder == folders[0]:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        remove_tree(folder)

    monkeypatch.setattr(removal, "remove_tree", remove)
    said = remove_all(folders, patience_s=LONG_S)
    assert said is not None
    assert "could not be removed" in said
    assert [folder.exists() for folder in folders] == [True, False, False]
