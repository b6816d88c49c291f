"""Runs a line again by the path that its directory had before, where a scheduler has moved that."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dmtcp_py.batch import htcondor
from dmtcp_py.errors import MovedError
from dmtcp_py.system.old_path import by_old_path, lead


def go_on_by_old_path(moved: MovedError) -> MovedError:
    """In a sandbox that a scheduler moves, run this line again where the sandbox has its old path.

    Return the error to report where that cannot be done.
    """
    here, sandbox = Path.cwd(), htcondor.sandbox(os.environ)
    if sandbox is None or not here.is_relative_to(sandbox):
        return moved
    below, old_here = here.relative_to(sandbox), Path(moved.old)
    old = Path(*old_here.parts[: len(old_here.parts) - len(below.parts)])
    words = [by_old_path(word, sandbox, old) for word in sys.orig_argv[1:]]
    try:
        lead(old, sandbox)
        os.chdir(old / below)
        os.environ["PWD"] = str(old / below)
        os.execv(sys.executable, [sys.executable, *words])  # noqa: S606 - this line
    except OSError as error:
        return MovedError(
            f"this job was started in {old}, and HTCondor has moved it to {sandbox}; the old path cannot be mounted "
            f"here: {error.strerror}",
            "add 'requirements = HasUserNamespaces' to the submit file; --fresh starts over",
            old=moved.old,
        )
