"""A private copy of a newer release's CRIU, from the archive that this machine's apt trusts; the system is not changed.

apt uses a state, a cache and an empty list of installed packages of its own, so it fetches CRIU with all that it needs
down to the C library, and checks signatures and hashes as always. The packages are not installed, but unpacked into the
user's data directory, where CRIU runs with the loader and the libraries among them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from dmtcp_py.engine.criu.installation import Installation, private_prefix
from dmtcp_py.engine.criu.privileges import data_folder, setpriv_copy
from dmtcp_py.errors import EngineError
from dmtcp_py.system.child import Child, ChildStdio
from dmtcp_py.system.files import make_private_dir, remove_tree
from dmtcp_py.system.tools import run_tool
from dmtcp_py.system.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Say = Callable[[str], None]

_LEAST_FREE_BYTES = 200 << 20
_ASK_S = 30.0
_UPDATE_S = 180.0
_FETCH_S = 600.0
_UNPACK_S = 60.0
_REPORT_S = 5.0
_CONNECT_S = 10
_INSTALL = ("install", "-y", "--no-install-recommends", "criu")
_AFTER_SUCCESS = "APT::Update::Post-Invoke-Success"
_UNAVAILABLE = (
    "404  Not Found",
    "does not have a Release file",
    "no installation candidate",
    "Unable to locate",
    "unmet",
    # the mirror is out of date, or the clock is wrong; stable has no such date
    "is expired",
)
_HINT = "check the network and apt's proxy, then run 'dmtcp-ctl setup --engine criu' again; nothing was changed"
_INSTALL_OTHERWISE = "install DMTCP or CRIU with your system's package manager"


class _Archive(Struct, frozen=True):
    """A distribution's archive: its keys, and the releases from which to fetch CRIU, the best first."""

    origin: str
    keyring: Path
    suites: tuple[str, ...]
    components: str


_ARCHIVES = (
    _Archive(
        origin="Debian",
        keyring=Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
        suites=("testing", "unstable", "stable"),
        components="main",
    ),
    _Archive(
        origin="Ubuntu",
        keyring=Path("/usr/share/keyrings/ubuntu-archive-keyring.gpg"),
        suites=("devel",),
        components="universe main",
    ),
)

_WRAPPER = """\
#!/bin/sh
# CRIU of {origin} {suite}, with the loader and the libraries that came with it
here=${{0%/*}}
exec "$here/{loader}" --library-path "$here/{libraries}" --argv0 criu "$here/{binary}" "$@"
"""


def fetch(say: Say) -> Installation:
    """Install CRIU in the user's data directory, completely or not at all, and return it.

    Raises EngineError if that is impossible on this machine, or fails.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise EngineError(f"{tool} is not here, so CRIU cannot be fetched", _INSTALL_OTHERWISE)
    archive, uri = _source()
    with _locked_data_folder() as folder:
        if (private_prefix() / "criu").is_file():
            # another setup has just installed it
            return Installation(private_prefix() / "criu")
        free = shutil.disk_usage(folder).free
        if free < _LEAST_FREE_BYTES:
            needs = format_size(_LEAST_FREE_BYTES)
            raise EngineError(
                f"{format_size(free)} are free in {folder}, and CRIU needs {needs} to unpack", "free some space"
            )
        problem = None
        for suite in archive.suites:
            work = Path(tempfile.mkdtemp(prefix="fetching-", dir=folder))
            try:
                _fetch_from(archive, suite, uri, work, say)
                return Installation(private_prefix() / "criu")
            except _UnavailableError as error:
                problem = error
                say(str(error.what))
            finally:
                remove_tree(work)
        raise EngineError(problem.what if problem else "no release of the archive is known", _HINT)


def remove() -> list[Path]:
    """Remove what `fetch` and `make_setpriv_copy` installed; return what was removed."""
    found = [path for path in (private_prefix(), setpriv_copy()) if path.exists()]
    for path in (*found, *data_folder().glob("fetching-*")):
        remove_tree(path)
    with suppress(OSError):
        data_folder().rmdir()
    return found


class _UnavailableError(EngineError):
    """A release has no CRIU that can be fetched; another one may have."""


def _source() -> tuple[_Archive, str]:
    """Return the distribution's archive and the mirror of it that this machine's apt uses."""
    ask = ["apt-get", "indextargets", "-o", "APT::Get::IndexTargets::ReleaseInfo=false"]
    form = ["--format", "$(RELEASE)|$(COMPONENT)|$(REPO_URI)", "Created-By: Packages"]
    rows = [line.split("|") for line in run_tool([*ask, *form], timeout_s=_ASK_S).output.splitlines()]
    identity = _os_identity()
    for archive in _ARCHIVES:
        if archive.origin.lower() not in identity or not archive.keyring.is_file():
            continue
        for row in rows:
            # the archives for updates and security do not have the other releases
            if len(row) == 3 and row[1] == "main" and not {"-", "/"} & set(row[0]):  # noqa: PLR2004 - the format above
                return archive, row[2].rstrip("/")
    raise EngineError("apt's sources here include no archive of Debian or Ubuntu", _INSTALL_OTHERWISE)


def _os_identity() -> list[str]:
    """Return the distribution's name, then those from which it is derived."""
    fields = {}
    for line in Path("/etc/os-release").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition("=")
        fields[name] = value.strip("\"'")
    return [fields.get("ID", ""), *fields.get("ID_LIKE", "").split()]


@contextmanager
def _locked_data_folder() -> Iterator[Path]:
    """Lock the data directory against other setups, remove what a killed one left, and yield the directory."""
    folder = data_folder()
    try:
        make_private_dir(folder)
        fd = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise EngineError(
            f"{folder} cannot be made: {error.strerror}", "set XDG_DATA_HOME to a folder that you can write to"
        ) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EngineError(f"another setup is running in {folder}", "wait until it has ended") from None
        for path in folder.glob("fetching-*"):
            remove_tree(path)
        yield folder
    finally:
        with suppress(OSError):
            # empty if the setup failed
            folder.rmdir()
        os.close(fd)


def _fetch_from(archive: _Archive, suite: str, uri: str, work: Path, say: Say) -> None:
    _configure(archive, suite, uri, work)
    say(f"1/3 reading the package list of {archive.origin} {suite} from {uri}")
    _apt(work, ["update"], _UPDATE_S)
    plan = _parse_plan(_apt(work, ["--print-uris", *_INSTALL], _ASK_S))
    total = format_size(sum(plan.values()))
    say(f"2/3 fetching CRIU and what it needs: {len(plan)} packages, {total}")
    archives = work / "cache/archives"

    def report() -> None:
        done = sum(path.stat().st_size for path in archives.rglob("*.deb"))
        say(f"2/3 {format_size(done)} of {total}")

    _apt(work, ["--download-only", *_INSTALL], _FETCH_S, report)
    say(f"3/3 unpacking into {private_prefix()}")
    unpacked = work / "criu"
    unpacked.mkdir()
    for package in sorted(archives.glob("*.deb")):
        result = run_tool(["dpkg-deb", "-x", str(package), str(unpacked)], timeout_s=_UNPACK_S)
        if result.status != 0:
            raise EngineError(f"{package.name} could not be unpacked: {_reason(result.output)}", _HINT)
    _wrap(archive, suite, unpacked)
    remove_tree(private_prefix())
    unpacked.rename(private_prefix())


def _parse_plan(listing: str) -> dict[str, int]:
    """Return the packages of ``apt-get --print-uris`` with their sizes."""
    rows = [line.split() for line in listing.splitlines() if line.startswith("'")]
    return {row[1]: int(row[2]) for row in rows if len(row) > 2 and row[2].isdigit()}  # noqa: PLR2004 - URI name size


def _wrap(archive: _Archive, suite: str, unpacked: Path) -> None:
    """Write the script that runs the unpacked CRIU, also after the folder is moved."""
    loaders = [path for path in sorted(unpacked.glob("usr/lib/*/ld*.so.[0-9]")) if path.is_file()]
    binaries = [path for path in (unpacked / "usr/sbin/criu", unpacked / "usr/bin/criu") if path.is_file()]
    if not loaders or not binaries:
        raise _UnavailableError(f"the packages of {archive.origin} {suite} have an unknown layout")
    loader = loaders[0].relative_to(unpacked)
    text = _WRAPPER.format(
        origin=archive.origin,
        suite=suite,
        loader=loader,
        libraries=loader.parent,
        binary=binaries[0].relative_to(unpacked),
    )
    wrapper = unpacked / "criu"
    wrapper.write_bytes(os.fsencode(text))
    wrapper.chmod(0o755)


def _configure(archive: _Archive, suite: str, uri: str, work: Path) -> None:
    """Make apt's folders in WORK, with settings that have apt use them instead of the machine's."""
    for place in ("state/lists/partial", "cache/archives/partial"):
        (work / place).mkdir(parents=True)
    (work / "status").touch()
    sources = (
        f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {archive.components}\nSigned-By: {archive.keyring}\n"
    )
    (work / "criu.sources").write_bytes(os.fsencode(sources))
    settings = {
        "Dir::State": work / "state",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        "Dir::Etc::sourcelist": work / "criu.sources",
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::preferences": "-",
        "Dir::Etc::preferencesparts": "-",
        "Acquire::Languages": "none",
        "Acquire::Retries": 1,
        "Acquire::http::Timeout": _CONNECT_S,
        "Acquire::https::Timeout": _CONNECT_S,
        "APT::Sandbox::User": "",
        "APT::Update::Error-Mode": "any",
        "Dpkg::Use-Pty": 0,
    }
    # do not run the hooks that the machine has for its own updates
    lines = [f"#clear {hook};" for hook in ("APT::Update::Pre-Invoke", "APT::Update::Post-Invoke", _AFTER_SUCCESS)]
    lines += [f'{name} "{value}";' for name, value in settings.items()]
    (work / "apt.conf").write_bytes(os.fsencode("\n".join([*lines, ""])))


def _apt(work: Path, words: Sequence[str], limit_s: float, report: Callable[[], None] = lambda: None) -> str:
    """Run apt-get with the settings in WORK and return its output; call REPORT every few seconds while it runs."""
    environ = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    log = work / "output"
    with log.open("wb") as file:
        child = Child(
            ["apt-get", "-c", str(work / "apt.conf"), "-q", *words],
            env=environ,
            dies_with_us=True,
            stdio=ChildStdio(stdin=subprocess.DEVNULL, stdout=file.fileno(), stderr=file.fileno()),
        )
    try:
        until = time.monotonic() + limit_s
        while (ending := child.wait(_REPORT_S)) is None:
            if time.monotonic() > until:
                raise EngineError(f"apt-get {words[0]} did not end within {limit_s:.0f} s", _HINT)
            report()
    finally:
        child.stop(grace_s=0)
        child.signal_group(signal.SIGKILL)
    output = log.read_text(encoding="utf-8", errors="replace")
    if ending.status != 0:
        why = _reason(output)
        if any(text in output for text in _UNAVAILABLE):
            raise _UnavailableError(why)
        raise EngineError(f"apt-get {words[0]}: {why}", _HINT)
    return output


def _reason(output: str) -> str:
    """Return the line of apt's output that says what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "Err:", "W:"))]
    found = next((line for line in errors if line.startswith("E:")), (errors or lines or ["it gave no reason"])[-1])
    return found.removeprefix("E:").strip()
