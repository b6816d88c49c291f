"""SFTP as ssh(1) would connect: known hosts, the agent, keys and ``~/.ssh/config``; unknown hosts are refused."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko
from fsspec.implementations.sftp import SFTPFileSystem
from paramiko.sftp import CMD_DATA, CMD_READ, CMD_STATUS, CMD_WRITE, int64

from dmtcp_py.mirror.errors import MirrorError

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT_S = 20.0
_ALIVE_S = 15
_WINDOW_BYTES = 8 << 20
_REQUEST_BYTES = (32 << 10) - 512
"""What fits with its header into one packet of OpenSSH's: 32 kB would become two."""
_MOST_REQUESTS = 128
_FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""They need no hash besides, which takes longer than the rest. Older versions of paramiko do not have them."""


class _KnownHosts(SFTPFileSystem):  # type: ignore[misc]
    """fsspec's file system, but with host keys checked: an image from an impostor would run its code here."""

    cachable = False

    def _connect(self) -> None:
        self.client = paramiko.SSHClient()
        self.client.load_system_host_keys()
        with suppress(FileNotFoundError):
            self.client.load_host_keys("/etc/ssh/ssh_known_hosts")
        self.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        self.client.connect(self.host, transport_factory=_transport, **self.ssh_kwargs)
        transport = self.client.get_transport()
        transport.set_keepalive(_ALIVE_S)
        self.ftp = paramiko.SFTPClient.from_transport(transport, window_size=_WINDOW_BYTES)
        self.ftp.get_channel().settimeout(3 * _TIMEOUT_S)


def _transport(sock: Any, **values: Any) -> paramiko.Transport:
    transport = paramiko.Transport(sock, **values)
    options = transport.get_security_options()
    fast = [name for name in _FAST_CIPHERS if name in options.ciphers]
    options.ciphers = (*fast, *(name for name in options.ciphers if name not in fast))
    return transport


class _Answers:
    """Collects the answers to read requests, which paramiko hands over here if they come before their turn."""

    def __init__(self) -> None:
        self._early: dict[int, Any] = {}

    def _async_response(self, kind: int, message: Any, number: int) -> None:
        self._early[number] = (kind, message)

    def wait(self, sftp: Any, number: int) -> tuple[int, Any]:
        if number not in self._early:
            kind, message = sftp._read_response(waitfor=number)  # noqa: SLF001 - see `read`
            return kind, message
        kind, message = self._early.pop(number)
        if kind == CMD_STATUS:
            # raises what the server refused
            sftp._convert_status(message)  # noqa: SLF001 - as above
        return kind, message


def read(file: Any, size: int) -> Iterator[bytes]:
    """Yield the SIZE bytes of FILE, an SFTPFile, with many requests on their way.

    What paramiko itself has for that takes all of a file into memory, or waits after every request.
    """
    sftp, answers, asked, begun = file.sftp, _Answers(), deque[tuple[int, int]](), 0
    while asked or begun < size:
        while begun < size and len(asked) < _MOST_REQUESTS:
            part = min(_REQUEST_BYTES, size - begun)
            number = sftp._async_request(answers, CMD_READ, file.handle, int64(begun), part)  # noqa: SLF001 - as above
            asked.append((number, part))
            begun += part
        number, part = asked.popleft()
        kind, message = answers.wait(sftp, number)
        data = message.get_binary() if kind == CMD_DATA else b""
        if len(data) != part:
            raise OSError(f"the server sent {len(data)} bytes where {part} were asked for")
        yield bytes(data)


class Writer:
    """Writes to FILE, an SFTPFile, from its byte START on, with many requests on their way.

    paramiko's own pipeline loses answers if anything else is asked in between.
    """

    def __init__(self, file: Any, start: int) -> None:
        self._file, self._offset = file, start
        self._answers, self._asked = _Answers(), deque[int]()

    def __enter__(self) -> Writer:  # noqa: PYI034 - typing.Self is of Python 3.11
        return self

    def __exit__(self, *failure: object) -> None:
        try:
            if failure[0] is None:
                self._wait(0)
        finally:
            self._file.close()

    def write(self, data: bytes) -> None:
        """Send DATA; raise OSError if the server has refused something before."""
        for first in range(0, len(data), _REQUEST_BYTES):
            part = bytes(data[first : first + _REQUEST_BYTES])
            request = (CMD_WRITE, self._file.handle, int64(self._offset), part)
            self._asked.append(self._file.sftp._async_request(self._answers, *request))  # noqa: SLF001 - see `read`
            self._offset += len(part)
            self._wait(_MOST_REQUESTS)

    def _wait(self, most: int) -> None:
        while len(self._asked) > most:
            self._answers.wait(self._file.sftp, self._asked.popleft())


def connected(*, host: str, port: int | None, user: str | None, password: str | None) -> SFTPFileSystem:
    """Return the file system at HOST, which may be a name of ``~/.ssh/config``."""
    config = _config(host)
    values: dict[str, Any] = {
        "port": port or int(config.get("port", 22)),
        "username": user or config.get("user"),
        "password": password,
        "key_filename": config.get("identityfile"),
        "timeout": _TIMEOUT_S,
        "banner_timeout": _TIMEOUT_S,
        "auth_timeout": _TIMEOUT_S,
        # with a password in the address nothing else is to be tried
        "allow_agent": password is None,
        "look_for_keys": password is None,
    }
    name = config.get("hostname", host)
    try:
        return _KnownHosts(name, **values)
    except paramiko.AuthenticationException:
        raise MirrorError(f"mirror at {host} refuses the user or the key", f"'ssh {host}' has to work here") from None
    except paramiko.SSHException as error:
        raise MirrorError(
            f"mirror at {host}: {error}", f"type 'ssh {host}' once to see its key, and accept it if it is right"
        ) from None


def _config(host: str) -> dict[str, Any]:
    path = Path(os.path.expanduser("~/.ssh/config"))  # noqa: PTH111 - HOME may be relative or missing
    with suppress(OSError, paramiko.ConfigParseError):
        return dict(paramiko.SSHConfig.from_path(str(path)).lookup(host))
    return {}
