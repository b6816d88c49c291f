"""The replacement for ssh(1) that a program on several nodes calls: ``dmtcp-run-rsh HOST COMMAND...``.

It runs inside the computation and has no connections: it leaves a request in folder SPOOL, and copies the output of the
command from files there to its own streams. All these files belong to the checkpoint, so after a restart no output is
lost or repeated. It uses the standard library only.

It is not called ssh, because DMTCP treats a program of that name specially. Standard input is not passed on.
"""

from __future__ import annotations

import array
import fcntl
import json
import os
import secrets
import stat
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

NODE = "DMTCP_RUN_NODE"
"""The environment variable with the index of the node on which a process runs, counted from 0."""
NAMES = "nodes.json"
"""The file in SPOOL with the index of the node for each name."""
_WITH_VALUE = "bceilmopBDEFIJLOQRSWw"
"""The options of ssh(1) that take a value."""
_POLL_S = 0.1
_BLOCK = 1 << 16
_NO_INPUT = "standard input cannot be passed to another node: use '< /dev/null', and a file on a shared disk"
_FAILED = 255
"""The status with which ssh(1) exits if it fails itself."""


def split(words: list[str]) -> tuple[str, list[str], bool]:
    """Return the host and the command in the WORDS of an ssh command line, and whether it leaves its input alone."""
    rest, reads_nothing = list(words), False
    while rest and rest[0].startswith("-") and len(rest[0]) > 1:
        option = rest.pop(0)
        if option == "--":
            break
        letters = option[1:]
        valued = next((place for place, letter in enumerate(letters) if letter in _WITH_VALUE), None)
        reads_nothing |= "n" in letters[:valued]
        if valued == len(letters) - 1 and rest:
            rest.pop(0)
    host = rest.pop(0) if rest else ""
    if rest[:1] == ["-n"]:
        # rsh(1) accepts the option there too
        rest.pop(0)
        reads_nothing = True
    return host.rpartition("@")[2].lower(), rest, reads_nothing


def main() -> int:
    """Run the command; return its exit status."""
    spool = Path(sys.argv[1])
    host, command, reads_nothing = split(sys.argv[2:])
    names = json.loads((spool / NAMES).read_text(encoding="utf-8"))
    index = names.get(host)
    if index is None:
        return _fail(f"'{host}' is not a node of this computation; its nodes are {', '.join(sorted(names))}")
    line = " ".join(command)
    if not line:
        return _fail(f"no command for {host}: it runs commands only, and has no login shell")
    if str(index) == os.environ.get(NODE, "0"):
        os.execv("/bin/sh", ["/bin/sh", "-c", line])  # noqa: S606 - what the caller asked for
    if not reads_nothing and _has_input():
        return _fail(_NO_INPUT)
    return _follow(
        spool,
        {"node": index, "command": line, "cwd": str(Path.cwd())},
        is_fed=lambda: not reads_nothing and _has_input(),
    )


def _has_input() -> bool:
    """Return whether standard input has data: a file that is not empty, or a pipe with something in it.

    MPICH's mpiexec starts its processes on other nodes with a pipe that stays empty.
    """
    waiting = array.array("i", [0])
    try:
        found = os.fstat(0)
        if stat.S_ISFIFO(found.st_mode):
            fcntl.ioctl(0, termios.FIONREAD, waiting)
    except OSError:
        return False
    return waiting[0] > 0 or (stat.S_ISREG(found.st_mode) and found.st_size > 0)


def _follow(spool: Path, request: dict[str, object], is_fed: Callable[[], bool]) -> int:
    """Leave REQUEST in SPOOL, copy the command's output, and return its status once it has ended.

    It fails as soon as it IS FED something that the command on the other node would not get.
    """
    stem = secrets.token_hex(8)
    files = {fd: spool / f"{stem}.{name}" for fd, name in ((1, "out"), (2, "err"))}
    offsets = dict.fromkeys(files, 0)
    path, status = spool / f"{stem}.request", spool / f"{stem}.status"
    while True:
        if not path.exists():
            # again after a restart, which removes a request whose command is not in the images
            half = spool / f".{stem}"
            half.write_text(json.dumps(request), encoding="utf-8")
            half.rename(path)
        text = _read(status, 0).decode()
        for fd, file in files.items():
            while block := _read(file, offsets[fd]):
                offsets[fd] += _write(fd, block)
        if text.endswith("\n"):
            return int(text)
        if is_fed():
            return _fail(_NO_INPUT)
        time.sleep(_POLL_S)


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(_BLOCK)
    except FileNotFoundError:
        return b""


def _write(fd: int, data: bytes) -> int:
    with suppress(BrokenPipeError):
        return os.write(fd, data)
    return len(data)


def _fail(text: str) -> int:
    sys.stderr.write(f"dmtcp-run-rsh: {text}\n")
    return _FAILED


if __name__ == "__main__":
    sys.exit(main())
