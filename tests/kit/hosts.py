"""Hosts for tests: network namespaces of one machine, each with an address, a host name, /tmp and /dev/shm of its own.

They see each other and nothing else, share the file system but for those two, and need root. Nothing of them has a
name outside: two runs cannot collide, and they go when the last process in them goes. The end of the tests kills what
runs there; a SIGKILL of the tests leaves it, without a network.

    with Hosts(2, tmp_path) as hosts:
        hosts[0].run(["hostname"])                              # node0
        server = hosts[1].start(["python3", "server.py"], cwd=tmp_path)
        hosts[1].kill_all()                                     # as a node that dies
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from typing_extensions import Self

_TOOLS = ("ip", "unshare", "nsenter", "mount", "hostname")
_NAMESPACES = ("--net", "--uts", "--mount")

# Ends with us: then its standard input is at its end. Folders that are to be seen under the new /tmp are held open.
_SWITCH = """
ip link add switch type bridge && ip link set switch up || exit 1
echo ready
exec cat
"""
_HOST = """
name=$1 address=$2 switch=$3 private=$4; shift 4
hostname "$name" && ip link set lo up || exit 1
ip link add eth0 type veth peer name "$name" netns "$switch" || exit 1
ip addr add "$address/24" dev eth0 && ip link set eth0 up || exit 1
nsenter --target "$switch" --net ip link set "$name" master switch up || exit 1
mount --bind "$private/hosts" /etc/hosts || exit 1
mount -t tmpfs shm /dev/shm || exit 1
exec 9<"$private/tmp" && mount --no-canonicalize --bind /proc/self/fd/9 "$private/tmp" || exit 1
held=9
for folder; do
    held=$((held - 1))
    eval "exec $held<\\"\\$folder\\"" || exit 1
done
mount --bind "$private/tmp" /tmp || exit 1
held=9
for folder; do
    held=$((held - 1))
    mkdir -p "$folder" && mount --no-canonicalize --bind "/proc/self/fd/$held" "$folder" || exit 1
done
exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-
echo ready
exec cat
"""


def why_not() -> str:
    """Return why there can be no such hosts here; empty where there can."""
    lacking = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if lacking:
        return f"there is no {', '.join(lacking)} here (iproute2, util-linux)"
    if os.geteuid() != 0:
        return "network namespaces as hosts need root"
    probe = ["unshare", *_NAMESPACES, "ip", "link", "add", "eth0", "type", "veth"]
    tried = subprocess.run(probe, capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"no network namespaces here: {tried.stderr.strip()}"


@dataclass(frozen=True)
class Host:
    """One of the hosts: its NAME and ADDRESS, and a process that keeps its namespaces."""

    index: int
    name: str
    address: str
    keeper: subprocess.Popen[str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def argv(self, words: Sequence[str | Path], cwd: Path | None = None) -> list[str]:
        """Return the line that runs WORDS on this host."""
        enter = ["nsenter", "--target", str(self.keeper.pid), *_NAMESPACES, "--"]
        there = ["env", "--chdir", str(cwd)] if cwd else []
        return [*enter, *there, *map(str, words)]

    def start(self, words: Sequence[str | Path], *, cwd: Path | None = None, **popen: Any) -> subprocess.Popen[bytes]:
        """Start WORDS on this host, in CWD as it is seen there."""
        popen.setdefault("stdin", subprocess.DEVNULL)
        popen.setdefault("start_new_session", True)
        process = subprocess.Popen(self.argv(words, cwd), **popen)
        self.started.append(process)
        return process

    def run(
        self, words: Sequence[str | Path], *, cwd: Path | None = None, timeout_s: float = LONG_S, **popen: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run WORDS on this host to their end."""
        popen.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(
            self.argv(words, cwd), capture_output=True, text=True, timeout=timeout_s, check=False, **popen
        )

    def pids(self) -> list[int]:
        """Return the processes on this host."""
        here = Path(f"/proc/{self.keeper.pid}/ns/net").stat().st_ino
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if int(folder.name) != self.keeper.pid and (folder / "ns/net").stat().st_ino == here:
                    found.append(int(folder.name))
        return found

    def kill_all(self) -> None:
        """SIGKILL every process on this host, and wait until they are gone or their parents' business."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.pids())
        for process in self.started:
            process.wait(LONG_S)


class Hosts:
    """COUNT hosts named node0, node1 and so on; FOLDER, and each of SHARED, is the same on all of them.

    PREFIX is of the names. What else lies under the machine's /tmp they do not see.
    """

    def __init__(self, count: int, folder: Path, *, shared: Sequence[Path] = (), prefix: str = "node") -> None:
        self._folder = folder / ".hosts"
        self._shared = [folder, *shared]
        self._names = [f"{prefix}{index}" for index in range(count)]
        self._keepers: list[subprocess.Popen[str]] = []
        self.hosts: list[Host] = []

    def __enter__(self) -> Self:
        """Make them."""
        try:
            self._make()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill all that runs on them; with that they are gone."""
        self._end()

    def __getitem__(self, index: int) -> Host:
        """Return the host with this INDEX."""
        return self.hosts[index]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.hosts)

    @property
    def rsh(self) -> Path:
        """A script that is called as ssh is, ``rsh HOST WORDS...``: a shell with a new environment runs WORDS there."""
        return self._folder / "rsh"

    @contextmanager
    def cut_off(self, host: Host) -> Iterator[None]:
        """Drop all traffic to and from HOST in this block, without an error on either side."""
        port = ["nsenter", "--target", str(self._keepers[0].pid), "--net", "ip", "link", "set", host.name]
        subprocess.run([*port, "nomaster"], check=True)
        try:
            yield
        finally:
            subprocess.run([*port, "master", "switch"], check=True)

    def _make(self) -> None:
        self._folder.mkdir()
        addresses = {name: f"10.77.0.{index + 1}" for index, name in enumerate(self._names)}
        known = "".join(f"{address} {name}\n" for name, address in addresses.items())
        switch = self._keep([], _SWITCH)
        for index, (name, address) in enumerate(addresses.items()):
            private = self._folder / name
            (private / "tmp").mkdir(parents=True)
            (private / "tmp").chmod(0o1777)
            (private / "hosts").write_text(f"127.0.0.1 localhost\n{known}")
            words = [name, address, str(switch.pid), str(private), *map(str, self._shared)]
            self.hosts.append(Host(index, name, address, self._keep(words, _HOST)))
        cases = "".join(f"{host.name}|{host.address}) pid={host.keeper.pid} ;;\n" for host in self.hosts)
        self.rsh.write_text(
            f'#!/bin/sh\nhost=$1; shift\ncase "$host" in\n{cases}*) echo "rsh: no host $host" >&2; exit 255 ;;\nesac\n'
            f'exec env -i PATH="$PATH" HOME="$HOME" nsenter --target "$pid" {" ".join(_NAMESPACES)} -- sh -c "$*"\n'
        )
        self.rsh.chmod(0o755)

    def _keep(self, words: Sequence[str], script: str) -> subprocess.Popen[str]:
        keeper = subprocess.Popen(
            ["unshare", *_NAMESPACES, "--propagation", "private", "--", "/bin/sh", "-c", script, "host", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._keepers.append(keeper)
        assert keeper.stdout is not None
        told = keeper.stdout.readline()
        assert told == "ready\n", told + keeper.stdout.read()
        return keeper

    def _end(self) -> None:
        for host in self.hosts:
            host.kill_all()
        for keeper in self._keepers:
            keeper.kill()
            keeper.communicate()
        self._keepers.clear()
        self.hosts.clear()
