"""Within a machine of `kit.machine`: the job of an ordinary user on NFS, whose server lets root do nothing.

Killed and resumed, the program has to leave what it leaves without dmtcp-run, in a folder of a group of that user too.
``python squashed.py DMTCP-RUN CRIU STEPS FOLDER...``, with the folders that the user has to reach.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))
from kit.machine import MARK
from kit.places import PROGRAM_FILES, TESTS

if TYPE_CHECKING:
    from collections.abc import Callable

_UID, _GROUP, _OTHER = 41877, 50771, 41878
_KILLS = 2
_LIMIT_S = 900
_EXPORT, _PLACE = Path("/mnt/export"), Path("/mnt/place")
_MOUNTS = {
    "NFS 4": ["nfs4", "vers=4.2", "127.0.0.1:/"],
    "NFS 3": ["nfs", "vers=3,nolock", "127.0.0.1:/mnt/export"],
}


def main() -> None:
    """Print a line for each version of NFS: its name, and nothing or what is wrong."""
    run, criu, steps, *folders = sys.argv[1:]
    _PLACE.mkdir()
    for number, (name, (kind, options, source)) in enumerate(_MOUNTS.items()):
        mount = ["mount", "-t", kind, "-o", f"nosharecache,{options}", source, str(_PLACE)]
        subprocess.run(mount, check=True, timeout=_LIMIT_S)
        job = _Job(f"{number}", run, criu, int(steps), folders)
        began = time.monotonic()
        problem = " ".join(job.problem().split())
        subprocess.run(["umount", "--lazy", str(_PLACE)], check=True, timeout=_LIMIT_S)
        sys.stdout.write(f"{MARK}{name}\t{time.monotonic() - began:.0f} s\t{problem}\n")
        sys.stdout.flush()


class _Job:
    """The job in a folder of its own on the export, named NAME."""

    def __init__(self, name: str, run: str, criu: str, steps: int, folders: list[str]) -> None:
        self._name = name
        self._run = run
        self._criu = criu
        self._steps = steps
        self._folders = folders
        for part in ("home", "plain"):
            _make(_EXPORT / name / part, _UID, _UID, 0o700)
        for part in ("shared", "plainly-shared"):
            _make_shared(_EXPORT / name / part)

    def problem(self) -> str:
        """Return what is wrong; nothing where it ends as without dmtcp-run."""
        with suppress(PermissionError):
            os.listdir(_PLACE / self._name / "home")  # noqa: PTH208 - only whether root may
            return "root may look into the user's folder"
        alone = self._start("plain", "plainly-shared", [])
        if alone.wait(_LIMIT_S):
            return f"alone it ends with {alone.returncode}: {self._said('plain')}"
        for number in range(1, _KILLS + 1):
            life = self._start("home", "shared", [self._run, "-v", "--engine", "criu", "-i", "2"])
            ended = self._wait(life, lambda least=number: self._newest() >= least) or self._wait_for_more(life)
            if ended:
                return f"{ended} in life {number}: {self._said('home')}"
            life.kill()
            life.wait(_LIMIT_S)
        last = self._start("home", "shared", [self._run, "-v", "--engine", "criu", "-i", "2"])
        if last.wait(_LIMIT_S):
            return f"it ends with {last.returncode}: {self._said('home')}"
        return self._difference()

    def _start(self, home: str, shared: str, run: list[str]) -> subprocess.Popen[bytes]:
        place = _PLACE / self._name
        options = ["--stdout", "out.txt"] if run else []
        program = [sys.executable, str(PROGRAM_FILES / "shares.py"), str(place / shared), str(self._steps)]
        who = f"{_UID}:{_GROUP}"
        # root may not enter the folder
        inner = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(place / home), *run, *options, *program]
        folders = sorted({sys.base_prefix, *self._folders}, key=len)
        argv = [sys.executable, "-I", "-S", str(TESTS / "as-user"), who, *folders, "--", *inner]
        cache = dict.fromkeys(("XDG_CACHE_HOME", "XDG_DATA_HOME"), f"/mnt/{self._name}-cache")
        _make(Path(cache["XDG_CACHE_HOME"]), _UID, _UID, 0o700)
        environ = {**os.environ, "HOME": str(place / home), "DMTCP_RUN_CRIU": self._criu, "TMPDIR": "/mnt/tmp", **cache}
        _make(Path("/mnt/tmp"), _UID, _UID, 0o700)
        out = (_EXPORT / self._name / f"{home}.out").open("ab") if not run else subprocess.DEVNULL
        with (_EXPORT / self._name / f"{home}.said").open("ab") as said:
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=said, env=environ, cwd="/")

    def _said(self, home: str) -> str:
        return (_EXPORT / self._name / f"{home}.said").read_text(errors="replace")

    def _output(self) -> bytes:
        path = _EXPORT / self._name / "home" / "out.txt"
        return path.read_bytes() if path.exists() else b""

    def _newest(self) -> int:
        found = (_EXPORT / self._name / "home" / ".dmtcp-run").glob("*/generations/[0-9]*")
        return max((int(path.name) for path in found if path.name.isdecimal()), default=0)

    def _wait_for_more(self, life: subprocess.Popen[bytes]) -> str:
        size = len(self._output())
        return self._wait(life, lambda: len(self._output()) > size)

    def _wait(self, life: subprocess.Popen[bytes], condition: Callable[[], bool]) -> str:
        until = time.monotonic() + _LIMIT_S
        while not condition():
            if life.poll() is not None:
                return f"it ends with {life.returncode}"
            if time.monotonic() > until:
                return "nothing happens"
            time.sleep(0.2)
        return ""

    def _difference(self) -> str:
        folder = _EXPORT / self._name
        if self._output() != (folder / "plain.out").read_bytes():
            return f"another output: {self._output()!r} {self._said('home')}"
        if _content(folder / "shared") != _content(folder / "plainly-shared"):
            return f"other files: {_content(folder / 'shared')} {_content(folder / 'plainly-shared')}"
        return ""


def _make(folder: Path, uid: int, gid: int, mode: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, uid, gid)
    folder.chmod(mode)


def _make_shared(folder: Path) -> None:
    """Make a setgid folder of the group, with files of somebody else which the group may read or write."""
    _make(folder, _OTHER, _GROUP, 0o2770)
    for name, mode in (("read", 0o640), ("table", 0o660)):
        (folder / name).write_bytes(bytes(200))
        os.chown(folder / name, _OTHER, _GROUP)
        (folder / name).chmod(mode)


def _content(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return owner, group and content of each file in FOLDER."""
    found = {path.name: path.stat() for path in sorted(folder.iterdir())}
    return {name: (seen.st_uid, seen.st_gid, (folder / name).read_bytes()) for name, seen in found.items()}


if __name__ == "__main__":
    main()
