"""Another user of the machine, who tries to see, steer and end a job that runs: `intruder.py` has the attempts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from dmtcp_py.system.tcp import tcp_sockets
from kit.engines import OtherUser
from kit.places import REPOSITORY
from kit.processes import coordinator_of, descendants
from kit.waits import LONG_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kit.bench import Process, Workbench

NOBODY = 65534
_LISTEN = "0A"
INTRUDER = Path(__file__).with_name("intruder.py")
_FILES = ("job.json", "state.json", "history.jsonl", "lock", "generations/000001/manifest.json")


def why_not() -> str:
    """Return why nobody can try here."""
    return "" if os.geteuid() == 0 else "only root can act as another user"


def intruder(folder: Path, *below: Path) -> OtherUser:
    """Return another user, who has reached all that is above the job: FOLDER, and the folders BELOW it."""
    home = folder / "intruder"
    home.mkdir(mode=0o700, exist_ok=True)
    os.chown(home, NOBODY, NOBODY)
    needed = (Path(sys.base_prefix), REPOSITORY, Path(sys.prefix))
    user = OtherUser(NOBODY, home, needed)
    for path in (folder, *below):
        path.chmod(0o755)
    return replace(user, folders=(*user.folders, folder))


def try_all(bench: Workbench, process: Process, tools: Path | None) -> dict[str, str | None]:
    """Try all that another user can; return why each attempt failed, and None for those that did not.

    TOOLS is the folder of DMTCP's tools, if the job runs under DMTCP.
    """
    root = bench.folder.parent
    user = intruder(root, bench.folder, bench.temporary)
    coordinator = coordinator_of(process) if tools is not None else None
    images = [str(path.relative_to(bench.job)) for path in bench.job.glob("generations/*/*") if path.is_file()]
    given = {
        "job": str(bench.job),
        "mine": str(user.home),
        "temporary": str(bench.temporary),
        "tools": str(tools),
        "port": port_of(coordinator) if coordinator else 0,
        "message": message_of(tools / "dmtcp_command", "--quit").hex() if tools else "",
        "files": sorted({*_FILES, images[0]}),
        "pids": {
            f"{one.name()} {one.pid}": one.pid for one in (psutil.Process(process.pid), *descendants(process.pid))
        },
    }
    return attempts(user, given)


def attempts(user: OtherUser, given: dict[str, object]) -> dict[str, str | None]:
    """Try what is possible with what is GIVEN, as USER; return why each attempt failed."""
    nothing = {"job": "/nonexistent", "mine": str(user.home), "temporary": "/nonexistent", "files": [], "pids": {}}
    done = as_user(user, [sys.executable, "-I", "-S", INTRUDER], json.dumps({**nothing, **given}))
    found: dict[str, str | None] = json.loads(done)
    return found


def as_user(user: OtherUser, argv: Sequence[str | Path], given: str = "") -> str:
    """Return what ARGV prints, run as USER in the user's home with an environment of the user's own."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(user.home), "TMPDIR": str(user.home)}
    done = subprocess.run(
        user.typing(argv),
        input=given,
        env=environ,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def port_of(coordinator: psutil.Process) -> int:
    """Return the port at which a coordinator listens, on this host or another one."""
    own = {os.readlink(path) for path in Path(f"/proc/{coordinator.pid}/fd").iterdir()}
    listening = [one for one in tcp_sockets(coordinator.pid) if f"socket:[{one.inode}]" in own and one.state == _LISTEN]
    return listening[0].port


def message_of(tool: Path, option: str) -> bytes:
    """Return what dmtcp_command sends to a coordinator."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        argv = [tool, "--coord-host", "127.0.0.1", "--coord-port", str(listener.getsockname()[1]), option]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as command:
            made, _ = listener.accept()
            with made:
                message = made.recv(1 << 16)
            command.wait(LONG_S)
    return message
