"""The command ``dmtcp-run-rsh``, which a program on several nodes finds on its PATH, and which runs `rsh`."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

from dmtcp_py.engine.dmtcp.nodes import rsh
from dmtcp_py.system.files import make_private_dir, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

RSH = "dmtcp-run-rsh"
_COMMAND = """\
#!{python} -IS
import runpy
import sys
sys.argv[1:1] = [{spool!a}]
runpy.run_path({rsh!a}, run_name="__main__")
"""
_MOST_INTERPRETER = 120


def command_path(spool: Path) -> Path:
    """Return the path of the command for a computation with this SPOOL."""
    return spool.parent / RSH


def make_command(spool: Path) -> None:
    """Write the command; it is the same for every attempt."""
    path = command_path(spool)
    make_private_dir(path.parent)
    # one exec only: a process that calls exec twice as a checkpoint begins does not survive it (3.2, 4.2, 5.0)
    text = _COMMAND.format(python=sys.executable, rsh=rsh.__file__, spool=str(spool))
    if not _fits_first_line(sys.executable):
        words = [sys.executable, "-IS", rsh.__file__, str(spool)]
        text = f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n'
    write_atomic(path, os.fsencode(text))
    path.chmod(0o700)


def _fits_first_line(interpreter: str) -> bool:
    """Return whether INTERPRETER can be named in the first line of a script, by the kernel's rules and by Python's."""
    return len(interpreter) <= _MOST_INTERPRETER and " " not in interpreter and interpreter.isascii()
