"""A personal HTCondor pool: real daemons on this host, jobs of an ordinary user where the tests run as root.

Knows how HTCondor is configured, started and asked. `tests/install-htcondor` brings the programs. Everything that ever
came of the pool, jobs included, ends with its keeper (see `kit.cluster.Daemon`). Nothing here knows dmtcp-run.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kit.cluster import Daemon
from kit.places import TESTS
from kit.waits import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

USER = "nobody"
"""Whose the jobs are where the tests run as root, who may submit none."""
_DAEMONS = "daemon"
"""Whose HTCondor's files are there."""
_INSTALL_S = 600.0
_CALL_S = 60.0
_FOLDERS = ("log", "spool", "execute", "run", "lock", "etc", "home", "private")
# no authentication beyond that of the file system, nothing but this host, and no waiting for a next round
_CONFIGURATION = """\
RELEASE_DIR = {programs}/usr
LOCAL_DIR = {folder}
LOCAL_CONFIG_FILE =
LOCAL_CONFIG_DIR =
BIN = $(RELEASE_DIR)/bin
SBIN = $(RELEASE_DIR)/sbin
LIB = $(RELEASE_DIR)/lib
LIBEXEC = $(RELEASE_DIR)/libexec/condor
LOG = $(LOCAL_DIR)/log
SPOOL = $(LOCAL_DIR)/spool
EXECUTE = $(LOCAL_DIR)/execute
RUN = $(LOCAL_DIR)/run
LOCK = $(LOCAL_DIR)/lock
ETC = $(LOCAL_DIR)/etc
SEC_PASSWORD_DIRECTORY = $(LOCAL_DIR)/private
SEC_TOKEN_SYSTEM_DIRECTORY = $(LOCAL_DIR)/private
use ROLE: Personal
use SECURITY: HOST_BASED
NETWORK_INTERFACE = 127.0.0.1
BIND_ALL_INTERFACES = false
CONDOR_HOST = 127.0.0.1
COLLECTOR_HOST = 127.0.0.1:{port}
ALLOW_READ = *
ALLOW_WRITE = *
ALLOW_ADMINISTRATOR = *
ALLOW_DAEMON = *
ALLOW_NEGOTIATOR = *
SEC_DEFAULT_AUTHENTICATION_METHODS = FS, CLAIMTOBE
UID_DOMAIN = test
FILESYSTEM_DOMAIN = test
TRUST_UID_DOMAIN = true
NUM_CPUS = 8
MEMORY = 8000
NEGOTIATOR_INTERVAL = 1
NEGOTIATOR_CYCLE_DELAY = 1
NEGOTIATOR_MIN_INTERVAL = 1
SCHEDD_INTERVAL = 1
UPDATE_INTERVAL = 2
JOB_RENICE_INCREMENT = 0
ENABLE_KERNEL_TUNING = false
ENABLE_SSH_TO_JOB = false
BASE_CGROUP =
SINGULARITY = /nonexistent
DOCKER = /nonexistent
"""


@dataclass
class Pool:
    """A pool in FOLDER, of one node, whose jobs can reach the folders in NEEDED."""

    folder: Path
    programs: Path
    needed: tuple[Path, ...]
    _daemon: Daemon | None = field(default=None)

    @property
    def home(self) -> Path:
        """The home directory of who submits jobs."""
        return self.folder / "home"

    @property
    def execute(self) -> Path:
        """Where the sandboxes are."""
        return self.folder / "execute"

    def start(self) -> None:
        """Start the daemons; returns when the node offers itself."""
        for name in _FOLDERS:
            (self.folder / name).mkdir(exist_ok=True)
        if _is_root():
            for name in _FOLDERS:
                shutil.chown(self.folder / name, USER if name == "home" else _DAEMONS)
        self.folder.chmod(0o755)
        (self.folder / "private").chmod(0o700)
        text = _CONFIGURATION.format(programs=self.programs, folder=self.folder, port=_free_port())
        if _is_root():
            account = pwd.getpwnam(_DAEMONS)
            text += f"CONDOR_IDS = {account.pw_uid}.{account.pw_gid}\n"
        (self.folder / "etc/condor_config").write_text(text)
        master = [str(self.programs / "usr/sbin/condor_master"), "-f"]
        words = [*_seeing(self.needed), *master] if _is_root() else master
        self._daemon = Daemon(words, self._environ({}), self.folder / "log/master.out")
        self._daemon.start()
        wait_until(self._is_ready)

    def close(self) -> None:
        """End everything that came of the pool."""
        if self._daemon is not None:
            self._daemon.end()
            self._daemon = None

    def submit(self, file: Path, environ: dict[str, str], *appended: str) -> str:
        """Submit FILE with the lines APPENDED, as a user types it in the file's folder, and return the job's id."""
        words = [word for line in appended for word in ("-append", line)]
        done = self._ask("condor_submit", *words, file.name, cwd=file.parent, environ=environ)
        assert done.returncode == 0, done.stderr
        found = re.search(r"submitted to cluster (\d+)", done.stdout)
        assert found, done.stdout
        return f"{found[1]}.0"

    def call(self, tool: str, *words: str) -> str:
        """Run a TOOL of HTCondor's as the user, and return its output; it may not fail."""
        done = self._ask(tool, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ad(self, job: str) -> dict[str, object]:
        """Return what HTCondor knows of JOB: its ad in the queue, or the one in the history when it has left that."""
        for tool in ("condor_q", "condor_history"):
            done = self._ask(tool, "-json", job)
            if done.returncode == 0 and done.stdout.strip() not in ("", "[]"):
                ads: list[dict[str, object]] = json.loads(done.stdout)
                if ads:
                    return ads[0]
        return {}

    def sandbox(self, job: str) -> Path | None:
        """Return the sandbox in which JOB runs; None if it runs in none."""
        cluster, _, process = job.partition(".")
        for path in self.execute.glob("dir_*/.job.ad"):
            text = path.read_text()
            if f"\nClusterId = {cluster}\n" in text and f"\nProcId = {process}\n" in text:
                return path.parent
        return None

    def log(self) -> str:
        """Return the last lines of the logs, for the message of an assertion."""
        paths = sorted((self.folder / "log").glob("S*Log*"))
        return "".join(
            f"\n--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-12:]) for path in paths
        )

    def _is_ready(self) -> bool:
        has_node = bool(self._ask("condor_status", "-af", "Name").stdout.strip())
        return has_node and self._ask("condor_q").returncode == 0

    def _ask(
        self, tool: str, *words: str, cwd: Path | None = None, environ: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        argv = [str(self.programs / "usr/bin" / tool), *words]
        if _is_root():
            account = pwd.getpwnam(USER)
            argv = ["setpriv", "--reuid", USER, "--regid", str(account.pw_gid), "--clear-groups", *argv]
        return subprocess.run(
            argv,
            cwd=cwd or self.home,
            env=self._environ(environ or {}),
            capture_output=True,
            text=True,
            timeout=_CALL_S,
            check=False,
        )

    def _environ(self, more: dict[str, str]) -> dict[str, str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("_CONDOR", "DMTCP_"))}
        path = f"{Path(sys.executable).parent}:{environ['PATH']}"
        ours = {"PATH": path, "HOME": str(self.home), "CONDOR_CONFIG": str(self.folder / "etc/condor_config")}
        return {**environ, **more, **ours}


def programs() -> tuple[Path | None, str]:
    """Return the folder with HTCondor's programs, installed if need be; or None, and why there is none."""
    # below a folder that all can enter, and that outlasts a reboot
    folder = Path("/var/tmp", f"dmtcp-run-tests-htcondor-{os.geteuid()}")
    folder.mkdir(mode=0o755, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        return None, f"{folder} belongs to somebody else"
    try:
        done = subprocess.run(
            [TESTS / "install-htcondor", folder], capture_output=True, text=True, timeout=_INSTALL_S, check=False
        )
    except subprocess.TimeoutExpired:
        return None, "HTCondor could not be installed in time"
    lines = (done.stdout + done.stderr).strip().splitlines() or ["no reason given"]
    return (folder, "") if done.returncode == 0 else (None, f"HTCondor cannot be installed here: {lines[-1]}")


def why_not() -> str:
    """Return why there can be no pool here; an empty text if there can."""
    missing = [tool for tool in ("apt-get", "setpriv") if not shutil.which(tool)]
    return f"not installed: {', '.join(missing)}" if missing else ""


def _seeing(folders: Iterable[Path]) -> list[str]:
    """Return what makes root run the rest of a line where USER can reach FOLDERS, also below private ones."""
    uid = str(pwd.getpwnam(USER).pw_uid)
    return [sys.executable, "-I", "-S", str(TESTS / "as-user"), "--stay-root", uid, *map(str, folders), "--"]


def _is_root() -> bool:
    return os.geteuid() == 0


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
