"""Servers for mirrors, real ones, each on a free port of this machine: sshd, XRootD, and rclone's server for S3.

Each can be stopped in mid-copy and started again with what it has.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from kit.waits import LONG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEY, SECRET = "mirror-key", "s3cret-of-the-mirror"
BUCKET = "bucket"
_SBIN = "/usr/sbin:/usr/local/sbin:/sbin"


@dataclass
class Server:
    """A server with its FOLDER, started by ARGV; URL is a mirror in it, and ENVIRON what a client needs to reach it."""

    folder: Path
    port: int
    argv: Sequence[str]
    url: str
    data: Path
    """Where what is sent to the mirror appears."""
    environ: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=_environ()
            )
        wait_until(self._answers, 30)

    def stop(self) -> None:
        """Kill it, and what it has started for connections."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, 9)
            self.process.wait(LONG_S)
            for pid in _connections_of(self.port):
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)
            self.process = None

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text(errors="replace")
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


def _connections_of(port: int) -> list[int]:
    """Return the processes of sshd for connections to PORT, which are in sessions of their own."""
    found = {one.pid for one in psutil.net_connections("tcp") if one.laddr and one.laddr.port == port and one.pid}
    return [pid for pid in found if psutil.pid_exists(pid) and "sshd" in psutil.Process(pid).name()]


def missing(kind: str) -> str | None:
    """Return why servers of KIND cannot be started here."""
    tool = {"sftp": "sshd", "root": "xrootd", "s3": "rclone"}[kind]
    return None if _which(tool) else f"there is no {tool}"


def make(kind: str, folder: Path) -> Server:
    """Return a server of KIND, not started yet, with its files in FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    return {"sftp": sftp, "root": xrootd, "s3": s3}[kind](folder)


def sftp(folder: Path, *, password: str | None = None) -> Server:
    """Return an sshd that knows one key, which an ssh(1) on the PATH of the client uses."""
    home, data, port = folder / "home", folder / "data", free_port()
    (home / ".ssh").mkdir(parents=True, exist_ok=True)
    data.mkdir(exist_ok=True)
    for key in (folder / "host", home / ".ssh" / "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    shutil.copy(home / ".ssh" / "id_ed25519.pub", folder / "authorized")
    kind, public = (folder / "host.pub").read_text().split()[:2]
    (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {public}\n")
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n"
        f"PasswordAuthentication {'yes' if password else 'no'}\n"
    )
    (folder / "client").write_text(f"IdentityFile {home}/.ssh/id_ed25519\nUserKnownHostsFile {home}/.ssh/known_hosts\n")
    # the real one takes the home directory from the list of users, not from HOME
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / "ssh").write_text(f'#!/bin/sh\nexec {_which("ssh")} -F {folder}/client "$@"\n')
    (folder / "bin" / "ssh").chmod(0o755)
    if os.geteuid() == 0:
        # only there sshd needs it
        Path("/run/sshd").mkdir(exist_ok=True)
    argv = [_which("sshd") or "sshd", "-D", "-e", "-f", str(folder / "config")]
    url = f"sftp://{getpass.getuser()}@127.0.0.1:{port}{data}/mirror"
    return Server(
        folder=folder,
        port=port,
        argv=argv,
        url=url,
        data=data / "mirror",
        environ={"PATH": f"{folder}/bin:{os.environ['PATH']}"},
    )


def xrootd(folder: Path) -> Server:
    """Return an XRootD server without authentication, which computes checksums."""
    data, port = folder / "data", free_port()
    for path in (data, folder / "admin"):
        path.mkdir(exist_ok=True)
    (folder / "config").write_text(
        f"xrd.port {port}\nall.role server\nall.export /\noss.localroot {data}\nall.adminpath {folder}/admin\n"
        f"all.pidpath {folder}/admin\nxrootd.chksum max 2 adler32\nxrd.allow host *\n"
    )
    argv = [_which("xrootd") or "xrootd", "-c", str(folder / "config"), "-n", "test", "-I", "v4"]
    if os.geteuid() == 0:
        # it does not run as root
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, "nobody", "nogroup")
        for path in folder.parents:
            if path.stat().st_uid == os.geteuid() and not path.stat().st_mode & 0o001:
                path.chmod(path.stat().st_mode | 0o011)
        argv += ["-R", "nobody"]
    return Server(folder=folder, port=port, argv=argv, url=f"root://127.0.0.1:{port}//mirror", data=data / "mirror")


def s3(folder: Path) -> Server:
    """Return a server for S3 with one bucket and one pair of credentials."""
    data, port = folder / "data", free_port()
    (data / BUCKET).mkdir(parents=True, exist_ok=True)
    argv = [
        _which("rclone") or "rclone",
        "serve",
        "s3",
        "--addr",
        f"127.0.0.1:{port}",
        "--auth-key",
        f"{KEY},{SECRET}",
        "--config",
        "/dev/null",
        "--vfs-cache-mode",
        "off",
        str(data),
    ]
    environ = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return Server(
        folder=folder, port=port, argv=argv, url=f"s3://{BUCKET}/mirror", data=data / BUCKET / "mirror", environ=environ
    )


def folder_of(tool: str) -> Path:
    """Return the directory in which TOOL is."""
    return Path(_which(tool) or tool).parent


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _which(tool: str) -> str | None:
    return shutil.which(tool, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}:{_SBIN}")


def _environ() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "XRD_"))}
