"""What another user of the machine tries with a job that runs: run as that user, it prints what came of each attempt.

Its standard input is JSON: the job's folder, temporary folder, processes, the coordinator's port, DMTCP's tools, and
what dmtcp_command sends; ``only`` names those that are wanted. It prints JSON: for each attempt
its name, and None or why it failed. It uses only the standard library.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_TOOL_S = 30.0
_OBEYED_S = 5.0
_COMMANDS = ("--status", "--list", "--checkpoint", "--bcheckpoint", "--kcheckpoint", "--kill", "--quit", "--interval")


def attempts(of: dict[str, Any]) -> dict[str, Callable[[], str | None]]:
    """Return what is tried, by name; each returns why it failed, or None if it did not."""
    job, tools, port = Path(of["job"]), Path(of["tools"]), int(of["port"])
    tried: dict[str, Callable[[], str | None]] = {}
    for option in _COMMANDS if port else ():
        words = [option, "1"] if option == "--interval" else [option]
        tried[f"dmtcp_command {option}"] = lambda words=words: _command(tools, port, words)
    if port:
        joined = ["--join-coordinator", "--coord-host", "127.0.0.1", "--coord-port", str(port), "--tmpdir", of["mine"]]
        tried["dmtcp_launch into the computation"] = lambda: _joins([str(tools / "dmtcp_launch"), *joined, "true"])
        tried["a message, and gone"] = lambda: _message(port, bytes.fromhex(of["message"]), stays=False)
        tried["a message, and gone with a reset"] = lambda: _message(port, bytes.fromhex(of["message"]), resets=True)
        tried["a message, and waiting"] = lambda: _message(port, bytes.fromhex(of["message"]))
        tried["a message to another address"] = lambda: _elsewhere(port, bytes.fromhex(of["message"]))
        tried["a connection that says nothing"] = lambda: _silent(port)
    for name in of["files"]:
        tried[f"read {name}"] = lambda name=name: _opens(job / name, os.O_RDONLY)
        tried[f"write {name}"] = lambda name=name: _opens(job / name, os.O_WRONLY | os.O_APPEND)
    for name in ("generations/000099", "generations/000099.partial", "staging/x", "requests/1.ask"):
        tried[f"make {name}"] = lambda name=name: _done((job / name).mkdir)
    tried["link into requests"] = lambda: _done(lambda: (job / "requests/2.ask").symlink_to("/etc/passwd"))
    tried["list the job"] = lambda: _done(lambda: list(job.iterdir()))
    tried["put another job in its place"] = lambda: _done(lambda: job.rename(job.with_name("stolen")))
    tried["replace the lock"] = lambda: _done((job / "lock").unlink)
    tried["look into temporary folders"] = lambda: _lists(Path(of["temporary"]))
    for name, pid in of["pids"].items():
        tried[f"signal the {name}"] = lambda pid=pid: _done(lambda: os.kill(pid, signal.SIGTERM))
        tried[f"read the memory of the {name}"] = lambda pid=pid: _opens(Path(f"/proc/{pid}/mem"), os.O_RDONLY)
        tried[f"read the environment of the {name}"] = lambda pid=pid: _done(Path(f"/proc/{pid}/environ").read_bytes)
    return tried


def _done(do: Callable[[], object]) -> str | None:
    try:
        do()
    except OSError as error:
        return str(error.strerror)
    return None


def _opens(path: Path, flags: int) -> str | None:
    return _done(lambda: os.close(os.open(path, flags)))


def _lists(folder: Path) -> str | None:
    """Look into the folders in FOLDER, the names of which everybody may see in /tmp."""
    inner = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else [folder]
    return None if not inner else next(filter(None, (_done(lambda path=path: list(path.iterdir())) for path in inner)))


def _run(argv: list[str]) -> tuple[int, str]:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_TOOL_S, check=False, stdin=subprocess.DEVNULL)
    return done.returncode, f"status {done.returncode}: {' '.join((done.stdout + done.stderr).split())[-100:]}"


def _command(tools: Path, port: int, words: list[str]) -> str | None:
    argv = [str(tools / "dmtcp_command"), "--coord-host", "127.0.0.1", "--coord-port", str(port), *words]
    try:
        _, said = _run(argv)
    except subprocess.TimeoutExpired:
        return "no answer"
    # it exits with 0 whatever happens: whether the others were in vain, the job shows
    return None if "NUM_PEERS" in said or "Client List" in said else said


def _joins(argv: list[str]) -> str | None:
    status, said = _run(argv)
    return said if status else None


def _connection(port: int, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((address, port), timeout=_OBEYED_S)


def _message(port: int, data: bytes, *, stays: bool = True, resets: bool = False) -> str | None:
    """Send DATA, and return why it was in vain: where we do not stay, the job shows later whether it was."""
    try:
        with _connection(port) as made:
            if resets:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            made.sendall(data)
            if stays and made.recv(1):
                return None
    except OSError as error:
        return str(error)
    return "closed"


def _elsewhere(port: int, data: bytes) -> str | None:
    """Send DATA to the addresses of this machine but localhost."""
    found = {str(one[4][0]) for one in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        found.add(probe.getsockname()[0])
    for address in found - {"127.0.0.1"}:
        try:
            with _connection(port, address) as made:
                made.sendall(data)
                if made.recv(1):
                    return None
        except OSError:
            continue
    return "not there"


def _silent(port: int) -> str | None:
    """Hold a connection open, which stops a coordinator that waits for a message."""
    try:
        made = _connection(port)
        until = time.monotonic() + _OBEYED_S
        while time.monotonic() < until:
            if made.recv(1) == b"":
                return "closed"
    except OSError as error:
        return None if isinstance(error, TimeoutError) else str(error)
    return None


def main() -> None:
    """Try all, and print what came of it."""
    of = json.load(sys.stdin)
    found = {}
    for name, attempt in attempts(of).items():
        if name in of.get("only", [name]):
            found[name] = attempt()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
