"""The steps of a computation in a user namespace, done once in its namespaces: a small program is dumped and restored.

Prints the step that failed. Uses the standard library alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmtcp_py.engine.criu.inside import mounts
from dmtcp_py.engine.criu.inside.argv import inside_argv
from dmtcp_py.engine.criu.inside.user_namespace import StepError, step

if TYPE_CHECKING:
    from collections.abc import Sequence

CRIU_FAILED = 78
"""The status if criu failed, and not the kernel's policy."""
_LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
_PID, _TOOL_PID = 300, 20
_CRIU_S = 30.0
_NOT_LOADED = "cannot be preloaded"
_HARMLESS = ("RLIMIT_NOFILE", "kdat cache")


class CriuError(Exception):
    """criu cannot do it on this kernel."""


def main(words: Sequence[str]) -> None:
    """Try it; WORDS: how, as JSON."""
    order = json.loads(words[0])
    try:
        step("mounting /dev/shm", mounts.mount_shm)
        step("mounting /dev/pts", mounts.mount_pts)
        step("choosing a process number", lambda: _set_last_pid(_PID - 1))
        init = _start(order)
        _run(order, "check")
        _run(order, "dump", "--tree", str(init.pid))
        _reap_all(init)
        step("choosing a process number", lambda: _set_last_pid(_TOOL_PID - 1))
        _run(order, "restore", "--restore-detached", "--restore-sibling")
    except StepError as error:
        sys.exit(str(error))
    except CriuError as error:
        print(error, file=sys.stderr)  # noqa: T201 - for the caller
        sys.exit(CRIU_FAILED)


def _set_last_pid(pid: int) -> None:
    _LAST_PID.write_text(str(pid), encoding="ascii")


def _start(order: dict[str, Any]) -> subprocess.Popen[str]:
    """Start a program below an init, as the keeper does."""
    nothing = [{"path": os.devnull, "flags": os.O_RDONLY}, *({"path": os.devnull, "flags": os.O_WRONLY},) * 2]
    values = {
        "command": ["sleep", "60"],
        "environ": {"PATH": os.environ.get("PATH", os.defpath)},
        "streams": nothing,
        "ignored": [],
        "own_ipc": order["own_ipc"],
    }
    pipe = subprocess.PIPE
    init = subprocess.Popen(
        inside_argv("engine.criu.inside.init"), stdin=pipe, stdout=pipe, start_new_session=True, text=True
    )
    if init.stdin and init.stdout:
        with init.stdin, init.stdout:
            init.stdin.write(json.dumps(values))
            init.stdin.close()
            text = init.stdout.read()
        if text or init.pid != _PID:
            raise StepError(text or "starting a program: the kernel gave it another process number")
    return init


def _reap_all(init: subprocess.Popen[str]) -> None:
    """Reap what the dump ended: a process number is in use until then, as that of a session too."""
    init.wait()
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _run(order: dict[str, Any], action: str, *words: str) -> None:
    """Have criu do ACTION; raise CriuError with its reason."""
    folder = Path(order["folder"])
    log = folder / f"{action}.log"
    options = [] if action == "check" else [*order["options"], "--images-dir", str(folder)]
    unprivileged = ["--unprivileged"] if "--unprivileged" in order["options"] and action == "check" else []
    argv = [*order["criu"], action, *options, *unprivileged, "--log-file", str(log), *words]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_CRIU_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CriuError(f"criu {action} did not end within {_CRIU_S:.0f} s") from None
    said = done.stderr + done.stdout
    if _NOT_LOADED in said:
        raise CriuError("the library for criu cannot be loaded into it")
    if done.returncode:
        logged = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        errors = [line for line in logged if "Error (" in line and not any(word in line for word in _HARMLESS)]
        printed = [line.strip() for line in said.splitlines() if line.strip()]
        reasons = [line.partition("Error ")[2].strip() for line in errors] or printed
        raise CriuError(f"criu {action}: {reasons[0] if reasons else 'it gave no reason'}")
