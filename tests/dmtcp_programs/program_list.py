"""The programs in the folder that DMTCP_TESTS names, and what they need to be started."""

from __future__ import annotations

import os
from pathlib import Path

from dmtcp_programs.still_runs import StillRuns
from kit.places import REPOSITORY
from kit.programs import Program
from zoo.life import Terms
from zoo.measure import Collection

GROUP = "DMTCP's test programs"
TERMS = Terms(kills=2, most_repeats=0, generation_s=60, end_s=20, beyond_s=1)
VARIABLE = "DMTCP_TESTS"
_WORDS = {"vfork1": ("while true; do date; sleep 1; done",), "syscall-tester": ("1000",)}
"""What stands behind their names; the others need nothing."""
_READ = ("forkexec", "readline")
"""Programs that come to their end with their input."""
_NOT_ALONE = ("frisbee", "ssh1", "dmtcp1-m32")
"""Programs that need others beside them: two more of their own at fixed ports, a server."""
_ELF = b"\x7fELF"


def folder() -> Path | None:
    """Return the folder with the built programs; None if none is named, or if it is not there."""
    named = os.environ.get(VARIABLE)
    return Path(named).resolve() if named and Path(named).is_dir() else None


def _programs() -> tuple[Program, ...]:
    built = folder()
    if built is None:
        return ()
    paths = sorted(path for path in built.iterdir() if _is_program(path))
    return tuple(_program(path) for path in paths if path.name not in _NOT_ALONE)


def _program(path: Path) -> Program:
    # some look for their libraries in a folder "test" where they are started
    words = (f"./test/{path.name}", *_WORDS.get(path.name, ()))
    return Program(
        path.name,
        GROUP,
        words,
        environ=(("LD_LIBRARY_PATH", str(path.parent)),),
        waits_for_input=path.name in _READ,
        beside=(("test", path.parent),),
        quirks=("no setting",),
    )


def _is_program(path: Path) -> bool:
    if path.suffix == ".so" or not path.is_file() or not os.access(path, os.X_OK):
        return False
    with path.open("rb") as file:
        return file.read(len(_ELF)) == _ELF


PROGRAMS = Collection(
    "dmtcp_programs", _programs(), REPOSITORY / "docs" / "dmtcp-programs.json", TERMS, lives=StillRuns
)
