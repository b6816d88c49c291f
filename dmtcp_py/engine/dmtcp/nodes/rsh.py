"""What a program of several nodes calls in place of ssh(1): ``dmtcp-run-rsh HOST COMMAND...``.

It runs inside the computation, so it has no connection to anything: it leaves a request in folder SPOOL, and copies
the output of the command, which goes to files there, to its own. All of these files belong to the checkpoint, so that
after a restart nothing of them is missing or comes twice. Needs nothing but Python's own modules.

Its name is one of our own, as DMTCP does something else with what is called ssh. Standard input is not handed over.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

NODE = "DMTCP_RUN_NODE"
"""The environment variable that tells a process on which node of the computation it is, counted from 0."""
NAMES = "nodes.json"
"""The file in SPOOL that tells which names mean which node."""
_WITH_VALUE = "bceilmopBDEFIJLOQRSWw"
"""The options of ssh(1) that take a value."""
_LOOK_S = 0.1
_BLOCK = 1 << 16
_FAILED = 255
"""As ssh(1) exits where it failed itself."""


def split(words: list[str]) -> tuple[str, list[str], bool]:
    """Return the host and the command among the WORDS of an ssh line, and whether its input is to be left alone."""
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
        # rsh(1) takes it there too
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
        return _fail(f"'{host}' is no node of this computation; its nodes are {', '.join(sorted(names))}")
    line = " ".join(command)
    if not line:
        return _fail(f"no command for {host}: there is no login on the nodes of a computation")
    if str(index) == os.environ.get(NODE, "0"):
        os.execv("/bin/sh", ["/bin/sh", "-c", line])  # noqa: S606 - what the caller asked for
    if not reads_nothing and _has_input():
        return _fail("standard input cannot be handed to another node: use '< /dev/null', and a file that both see")
    return _follow(spool, {"node": index, "command": line, "cwd": str(Path.cwd())})


def _has_input() -> bool:
    """Whether there may be something on standard input: a file that is not empty, or a pipe."""
    try:
        found = os.fstat(0)
    except OSError:
        return False
    return stat.S_ISFIFO(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_size > 0)


def _follow(spool: Path, request: dict[str, object]) -> int:
    """Leave REQUEST in SPOOL, copy what the command writes, and return its status once it has ended."""
    stem = secrets.token_hex(8)
    files = {fd: spool / f"{stem}.{name}" for fd, name in ((1, "out"), (2, "err"))}
    offsets = dict.fromkeys(files, 0)
    asked, status = spool / f"{stem}.request", spool / f"{stem}.status"
    while True:
        if not asked.exists():
            # also after a restart, where it was made too late to be known there
            half = spool / f".{stem}"
            half.write_text(json.dumps(request), encoding="utf-8")
            half.rename(asked)
        text = _read(status, 0).decode()
        for fd, path in files.items():
            while block := _read(path, offsets[fd]):
                offsets[fd] += _write(fd, block)
        if text.endswith("\n"):
            return int(text)
        time.sleep(_LOOK_S)


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
