"""Writing files: atomically or by appending, and fsynced before anything relies on them.

Does not know jobs; their paths are defined in `dmtcp_py.store.layout`.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from dmtcp_py.system.proc import boot_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PRIVATE_FILE = 0o600
PRIVATE_DIR = 0o700
_PREFIX, _BOOT = "dmtcp-run-", ".boot"
_REMOVED_WITHIN_S, _LOOK_S = 10.0, 0.01
_held: dict[Path, int] = {}
"""The temporary directories of this process, each with a descriptor that has it locked."""


def fsync_path(path: Path) -> None:
    """Flush the content of a file, or the entries of a directory, to disk."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def fsync_folders(root: Path, names: Iterable[str]) -> None:
    """Flush the entries of ROOT and of all directories on the way to the files below it with NAMES."""
    for folder in {parent for name in names for parent in Path(name).parents}:
        fsync_path(root / folder)


def write_atomic(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace the content of PATH with DATA atomically: a reader sees either the old or the new content.

    With DURABLE the new content also survives a crash of the machine once this returns.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, PRIVATE_FILE)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        fsync_path(path.parent)


def append_lines(path: Path, lines: Sequence[bytes], *, durable: bool = True) -> None:
    """Append LINES, each with a newline, to PATH in one write, entirely or not at all, and fsync it if DURABLE."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, PRIVATE_FILE)
    try:
        before = os.fstat(fd).st_size
        is_incomplete = before > 0 and os.pread(fd, 1, before - 1) != b"\n"
        data = (b"\n" if is_incomplete else b"") + b"".join(line + b"\n" for line in lines)
        if os.write(fd, data) != len(data):
            os.ftruncate(fd, before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)


def make_private_dir(path: Path) -> bool:
    """Create directory PATH with access only for this user, parents by umask; return False if it existed already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=PRIVATE_DIR)
    except FileExistsError:
        if not path.is_dir():
            raise
        return False
    return True


def remove_tree(path: Path) -> None:
    """Remove PATH and everything below it, if it exists."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        with suppress(FileNotFoundError):
            shutil.rmtree(path)


def move_file(source: Path, target: Path) -> None:
    """Move file SOURCE to TARGET; copy it if TARGET is on another file system."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copyfile(source, target)
        source.unlink()


def files_below(folder: Path) -> Iterable[Path]:
    """Yield the regular files below FOLDER in a fixed order, without following symlinks."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            if path.is_file() and not path.is_symlink():
                yield path


def size_below(folder: Path) -> int:
    """Return the total size of the files below FOLDER, without files that are removed meanwhile."""
    total = 0
    for path in files_below(folder):
        with suppress(OSError):
            total += path.lstat().st_size
    return total


def free_name(path: Path) -> Path:
    """Return PATH, or with a number the first name like it that is free."""
    numbered = (path.with_name(f"{path.name}.{number}") for number in count(2))
    return next(name for name in chain([path], numbered) if not os.path.lexists(name))


def free_bytes(path: Path) -> int:
    """Return how many bytes this user may still write on the file system of PATH."""
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


def file_time(folder: Path) -> float:
    """Return the time by the clock that stamps files in FOLDER, which on a file server may be another than this one's.

    It is the time of this machine where FOLDER cannot be written to.
    """
    probe = folder / f".clock-{os.uname().nodename}-{os.getpid()}"
    try:
        fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            os.utime(fd)
            return os.fstat(fd).st_mtime
        finally:
            os.close(fd)
            probe.unlink(missing_ok=True)
    except OSError:
        return time.time()


def why_not_room(folder: Path, size: int) -> str | None:
    """Return why SIZE bytes cannot be written to FOLDER, as a quota may say; None if they can, or it is not known.

    Has the file system reserve them for a moment, in a file without a name.
    """
    with suppress(OSError):
        fd = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            fallocate = ctypes.CDLL(None, use_errno=True).fallocate64
            if fallocate(fd, 0, ctypes.c_int64(0), ctypes.c_int64(size)):
                number = ctypes.get_errno()
                return os.strerror(number) if number in (errno.ENOSPC, errno.EDQUOT) else None
        finally:
            os.close(fd)
    return None


def make_temporary(owner: Path, parent: Path | None = None) -> Path:
    """Create a temporary directory of OWNER, with access only for this user, in PARENT or the system's default.

    The default is on a local disk, unless TMPDIR is not. Raises OSError.
    """
    folder = Path(tempfile.mkdtemp(prefix=temporary_prefix(owner), dir=parent))
    _hold(folder)
    return folder


def own_folder(owner: Path, parent: Path) -> Path:
    """Return the directory of OWNER in PARENT: the same path in every attempt. `remove_temporaries` removes it."""
    return parent / f"{temporary_prefix(owner)}{os.geteuid()}"


def claim_folder(path: Path) -> None:
    """Create directory PATH with access only for this user, or make an existing one of this user private.

    Raises FileExistsError if PATH belongs to another user or is not a directory, and other OSErrors.
    """
    until = time.monotonic() + _REMOVED_WITHIN_S
    while not _is_claimed(path) and time.monotonic() < until:
        time.sleep(_LOOK_S)


def _is_claimed(path: Path) -> bool:
    with suppress(FileExistsError):
        path.mkdir(mode=PRIVATE_DIR)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise FileExistsError(errno.EEXIST, "it belongs to another user or is not a directory", str(path))
    path.chmod(PRIVATE_DIR)
    return _hold(path)


def remove_temporaries(owner: Path, parent: Path | None = None) -> None:
    """Remove the temporary directories of OWNER that killed attempts left behind. No attempt may be running."""
    for folder in _temporaries(parent, temporary_prefix(owner)):
        with suppress(OSError):
            remove_tree(folder)
        if (fd := _held.pop(folder, None)) is not None:
            os.close(fd)


def remove_abandoned(parent: Path | None = None) -> None:
    """Remove the temporary directories of other jobs of this user whose processes on this machine were all killed.

    A job that goes on elsewhere, or never, leaves them: the guard that removes them was killed as well.
    """
    for folder in _temporaries(parent, _PREFIX):
        with suppress(OSError):
            # of another machine that shares the place, a lock may not be seen
            if (folder / _BOOT).read_text(encoding="ascii") == boot_id() and not _is_in_use(folder):
                remove_tree(folder)


def _temporaries(parent: Path | None, prefix: str) -> list[Path]:
    place, names = Path(parent or tempfile.gettempdir()), []
    with suppress(OSError):
        names = os.listdir(place)  # noqa: PTH208 - there may be thousands
    found = []
    for folder in (place / name for name in names if name.startswith(prefix)):
        with suppress(OSError):
            status = folder.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                found.append(folder)
    return found


def _hold(folder: Path) -> bool:
    """Show that FOLDER is in use as long as this process lives: by a lock, and the boot for which that counts.

    Return False if another job's attempt is about to remove it, or has.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if (before := _held.pop(folder, None)) is not None:
        os.close(before)
    _held[folder] = fd
    with suppress(OSError):
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        (folder / _BOOT).write_text(boot_id(), encoding="ascii")
    return folder.exists()


def _is_in_use(folder: Path) -> bool:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def temporary_prefix(owner: Path) -> str:
    """Return the beginning of the names of OWNER's temporary directories, which `remove_temporaries` removes."""
    return f"{_PREFIX}{hashlib.sha256(os.fsencode(owner)).hexdigest()[:12]}-"
