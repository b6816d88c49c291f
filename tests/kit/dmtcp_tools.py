"""A computation over several hosts, driven with DMTCP's own tools: what the engine is to do, and what stock DMTCP does.

The coordinator is on the first host, on the address that the others know it by. Each host has images, and a temporary
folder, of its own; the images lie in a folder that all hosts see, by the host's index and not by its name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kit.waits import LONG_S, happens, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kit.engines import EngineHere
    from kit.hosts import Host

CHECKPOINT_S = 60.0


@dataclass
class Computation:
    """A computation of ENGINE in FOLDER with its PLUGIN, if any; ENVIRON is added to that of its programs."""

    engine: EngineHere
    folder: Path
    plugin: Path | None
    environ: dict[str, str] = field(default_factory=dict)
    hosts: list[Host] = field(default_factory=list)
    port: int = 0
    lives: int = 0
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def tool(self, name: str) -> str:
        """Return the path of one of DMTCP's tools."""
        return str(Path(self.engine.environ["DMTCP_PREFIX"]) / "bin" / name)

    @property
    def env(self) -> dict[str, str]:
        """The environment of everything: nothing that changes DMTCP's defaults."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("DMTCP_", "SLURM_"))}
        return {**plain, **self.environ, "JALIB_STDERR_PATH": str(self.folder / "messages")}

    def begin(self, hosts: Sequence[Host]) -> None:
        """Start a coordinator for a computation on HOSTS, in this order."""
        self.hosts, self.started = list(hosts), []
        self.lives += 1
        port_file = self.folder / f"port{self.lives}"
        with (self.folder / "coordinator.log").open("ab") as log:
            argv = [self.tool("dmtcp_coordinator"), "--port", "0", "--port-file", str(port_file)]
            argv += ["--tmpdir", "/tmp", "--ckptdir", str(self.folder), "--stale-timeout", "600"]
            self.hosts[0].start(argv, cwd=self.folder, env=self.env, stdout=log, stderr=log)
        wait_until(lambda: port_file.exists() and port_file.read_text().strip())
        self.port = int(port_file.read_text())

    @property
    def address(self) -> list[str]:
        """The options by which every host finds the coordinator."""
        return ["--coord-host", self.hosts[0].address, "--coord-port", str(self.port)]

    def launch_words(self, index: int) -> list[str]:
        """Return the words before a program's own on the host with this INDEX."""
        images = self.images(index)
        images.mkdir(parents=True, exist_ok=True)
        argv = [self.tool("dmtcp_launch"), "-q", "-q", "-j", *self.address, "--tmpdir", "/tmp", "--no-gzip"]
        argv += ["--ckptdir", str(images)]
        return [*argv, *(["--with-plugin", str(self.plugin)] if self.plugin else [])]

    def images(self, index: int) -> Path:
        """Where the newest images of the host with this INDEX are."""
        return self.folder / "images" / str(index)

    def launch(self, index: int, words: Sequence[str | Path], output: str) -> subprocess.Popen[bytes]:
        """Start WORDS on a host, its stdout and stderr in file OUTPUT, which belongs to the computation."""
        redirected = ["sh", "-c", 'out=$1; shift; exec "$@" >"$out" 2>&1 </dev/null', "sh", output]
        argv = [*self.launch_words(index), *redirected, *map(str, words)]
        return self._start(index, argv)

    def _start(self, index: int, argv: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"host{index}.log").open("ab") as log:
            log.write(f"life {self.lives}\n".encode())
            process = self.hosts[index].start(argv, cwd=self.folder, env=self.env, stdout=log, stderr=log)
        self.started.append(process)
        return process

    def command(self, *options: str, timeout_s: float = 20.0) -> str:
        """Send the coordinator a command, and return what it says."""
        argv = [self.tool("dmtcp_command"), *self.address, *options]
        return self.hosts[0].run(argv, env=self.env, timeout_s=timeout_s).stdout

    def status(self) -> tuple[int, bool]:
        """Return how many processes take part, and whether all run."""
        values = dict(line.strip().split("=", 1) for line in self.command("-s").splitlines() if "=" in line)
        return int(values.get("NUM_PEERS", 0)), values.get("RUNNING", "").strip() == "yes"

    def wait_running(self, peers: int, timeout_s: float = CHECKPOINT_S) -> bool:
        """Wait until PEERS processes run; return whether they do in TIMEOUT_S."""
        return happens(lambda: self.status() == (peers, True), timeout_s)

    def checkpoint(self, timeout_s: float = CHECKPOINT_S) -> bool:
        """Write images of all; return whether they were complete, and all ran on, in TIMEOUT_S."""
        peers, _ = self.status()
        for index in range(len(self.hosts)):
            shutil.rmtree(self.images(index))
            self.images(index).mkdir()
        with suppress(subprocess.TimeoutExpired):
            self.command("-c", timeout_s=timeout_s)

        def is_complete() -> bool:
            images = list(self.folder.glob("images/*/*.dmtcp"))
            unfinished = list(self.folder.glob("images/*/*.temp"))
            return len(images) == peers and not unfinished and self.status() == (peers, True)

        return happens(is_complete, timeout_s)

    def kill(self) -> None:
        """Let every host die."""
        for host in self.hosts:
            host.kill_all()

    def restart(self, hosts: Sequence[Host], timeout_s: float = CHECKPOINT_S) -> bool:
        """Go on from the images on HOSTS, which take the places of the former ones; return whether all run."""
        self.begin(hosts)
        images = {index: sorted(map(str, self.images(index).glob("*.dmtcp"))) for index in range(len(hosts))}
        for index, found in images.items():
            argv = ["setarch", "-R", self.tool("dmtcp_restart"), "-q", "-q", "-j", *self.address]
            argv += ["--tmpdir", "/tmp", "--ckptdir", str(self.images(index)), *found]
            if found:
                self._start(index, argv)
        return self.wait_running(sum(map(len, images.values())), timeout_s)

    def wait_end(self, timeout_s: float = LONG_S) -> list[int]:
        """Wait for the ends of what was started last, and return their statuses."""
        return [process.wait(timeout_s) for process in self.started]
