"""How ssh(1) is called: with the user's keys, agent and ``~/.ssh/config``, for hosts that it knows."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from msgspec import Struct

from dmtcp_py.mirror.errors import MirrorError

_SETTINGS = (
    "LogLevel=ERROR",
    "ConnectTimeout=20",
    "ServerAliveInterval=15",
    # an image from an impostor would run its code here
    "StrictHostKeyChecking=yes",
    "ClearAllForwardings=yes",
    # the fastest first
    "Ciphers=aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr",
)
_WITHOUT_PASSWORD = ("BatchMode=yes",)
_WITH_PASSWORD = ("PreferredAuthentications=password,keyboard-interactive", "NumberOfPasswordPrompts=1")
_ASKPASS = Path(__file__).with_name("askpass")
_PASSWORD = "DMTCP_RUN_SSH_PASSWORD"  # noqa: S105 - a name
_LEAST_ENDING_S = 5.0


class Login(Struct, frozen=True):
    """Who logs in where. HOST may be a name of ``~/.ssh/config``."""

    host: str
    port: int | None
    user: str | None
    password: str | None

    def start(self, command: str, *options: str) -> subprocess.Popen[bytes]:
        """Start ssh(1) with OPTIONS, and pipes to COMMAND at the host."""
        pipe = subprocess.PIPE
        argv = ["ssh", *options, *self._options(), "--", self.host, command]
        return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, env=self._environ())

    def failure(self, process: subprocess.Popen[bytes]) -> Exception:
        """Return why PROCESS, an ssh(1) that has closed its output, has failed."""
        said = " ".join(os.fsdecode(process.stderr.read()).split()) if process.stderr else ""
        if "Host key verification failed" in said or "REMOTE HOST IDENTIFICATION" in said:
            hint = f"type 'ssh {self.host}' once to see its key, and accept it if it is right"
            return MirrorError(f"mirror at {self.host}: its host key is not in known_hosts, or is another one", hint)
        if "Permission denied" in said:
            return MirrorError(
                f"mirror at {self.host} refuses the user or the key", f"'ssh {self.host}' has to work here"
            )
        return ConnectionError(said or f"ssh to {self.host} has ended")

    def _options(self) -> list[str]:
        settings = (*_SETTINGS, *(_WITHOUT_PASSWORD if self.password is None else _WITH_PASSWORD))
        port = [] if self.port is None else ["-p", str(self.port)]
        user = [] if self.user is None else ["-l", self.user]
        return ["-T", "-x", *port, *user, *(word for setting in settings for word in ("-o", setting))]

    def _environ(self) -> dict[str, str]:
        if self.password is None:
            return dict(os.environ)
        # DISPLAY: older versions look at it, and open no window
        asked = {"SSH_ASKPASS": str(_ASKPASS), "SSH_ASKPASS_REQUIRE": "force", _PASSWORD: self.password}
        return {"DISPLAY": ":0", **os.environ, **asked}


def end(process: subprocess.Popen[bytes]) -> None:
    """End PROCESS, an ssh(1)."""
    process.kill()
    process.communicate(timeout=_LEAST_ENDING_S)
