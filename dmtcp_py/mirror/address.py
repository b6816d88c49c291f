"""Where a mirror is, as ``--mirror`` names it. Its password never appears in what is printed or recorded. PURE."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote, urlsplit, urlunsplit

from msgspec import Struct

from dmtcp_py.errors import UsageError

COMMAND, FILE, SFTP, ROOT, S3 = "command", "file", "sftp", "root", "s3"
_ALIASES = {"ssh": SFTP, "local": FILE, "xroot": ROOT, "s3a": S3}
_TESTED = (FILE, S3, SFTP, ROOT)
_SECRET = r"(?i)(authz|token|secret|password|signature|key)=([^&\s]*)"  # noqa: S105 - a pattern
_HINT = "name a place as in file:/path, sftp://host/path, s3://bucket/path, root://host//path or command:PROGRAM"


class Address(Struct, frozen=True):
    """A mirror; its TEXT may hold a password, and `shown` never does."""

    scheme: str
    text: str
    shown: str

    def __repr__(self) -> str:
        return f"Address(scheme={self.scheme!r}, shown={self.shown!r})"

    @property
    def key(self) -> str:
        """A short name for the mirror, for the file in which its state is kept."""
        return hashlib.sha256(self.shown.encode("utf-8", "surrogateescape")).hexdigest()[:12]

    @property
    def has_password(self) -> bool:
        """Whether the text holds a password or a token."""
        return self.scheme != COMMAND and self.text != self.shown

    @property
    def rest(self) -> str:
        """What follows the scheme."""
        return self.text.partition(":")[2]

    def redacted(self, text: str) -> str:
        """Return TEXT, such as the error of a library, without the secrets of this address."""
        if self.has_password:
            parts = urlsplit(self.text)
            written = [parts.password or "", *(found[2] for found in re.finditer(_SECRET, parts.query))]
            for secret in filter(None, [*written, *map(unquote, written)]):
                text = text.replace(secret, "***")
        return re.sub(_SECRET, r"\1=***", text)


def address_of(text: str) -> Address:
    """Return the mirror that TEXT names; raise UsageError if it names none, without what may be a secret in it."""
    scheme = text.partition(":")[0]
    try:
        return _address_of(text)
    except ValueError as error:
        raise UsageError(f"--mirror {scheme}:… is no address", _HINT) from error


def _address_of(text: str) -> Address:
    if text.startswith("/"):
        return Address(FILE, f"file:{text}", f"file:{text}")
    scheme, colon, rest = text.partition(":")
    scheme = _ALIASES.get(scheme, scheme)
    if not colon or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        raise UsageError(f"--mirror {_shown(text)} names no place", _HINT)
    if scheme == COMMAND:
        if not rest.strip():
            raise UsageError("--mirror command: names no program", _HINT)
        return Address(scheme, text, text)
    if scheme == FILE:
        path = re.sub("^//(localhost)?/", "/", rest)
        if not path.startswith("/") or path.startswith("//"):
            raise UsageError(f"--mirror {text} has no absolute path on this machine", _HINT)
        return Address(scheme, f"file:{path}", f"file:{path}")
    netloc, _, path = rest.removeprefix("//").partition("/")
    if "@" not in netloc and "@" in path and not re.fullmatch(r"[^:]*(:\d*)?|\[.*", netloc):
        raise UsageError(f"--mirror {scheme}://… has a '/' in a name or a secret", "write it as %2F")
    if not rest.startswith("//") or not urlsplit(text).netloc or (scheme in _TESTED and not _path(text)):
        raise UsageError(f"--mirror {_shown(text)} needs a host or bucket and a path", _HINT)
    return Address(scheme, f"{scheme}:{rest}", _shown(f"{scheme}:{rest}"))


def _path(text: str) -> str:
    return urlsplit(text).path.strip("/")


def _shown(text: str) -> str:
    """Return TEXT without password and token. What stands before a password is a user, or a key, that may be shown."""
    parts = urlsplit(text)
    user, at, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    netloc = f"{name}{':***' if colon else ''}{at}{host}"
    return urlunsplit(parts._replace(netloc=netloc, query=re.sub(_SECRET, r"\1=***", parts.query)))
