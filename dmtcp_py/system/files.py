"""How files are written: atomically or by appending, and on the disk before anyone relies on them.

Knows nothing of jobs: which paths there are is `dmtcp_py.store.layout`'s business.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PRIVATE_FILE = 0o600
PRIVATE_DIR = 0o700


def fsync_path(path: Path) -> None:
    """Bring a file's content, or a directory's entries, onto the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace PATH by DATA in one step: a reader sees the old content or the new, never half of it.

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


def append_line(path: Path, line: bytes) -> None:
    """Append LINE with its newline to PATH in one write, on the disk when this returns; all of it or nothing."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, PRIVATE_FILE)
    try:
        before = os.fstat(fd).st_size
        is_torn = before > 0 and os.pread(fd, 1, before - 1) != b"\n"
        data = (b"\n" if is_torn else b"") + line + b"\n"
        if os.write(fd, data) != len(data):
            os.ftruncate(fd, before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(fd)
    finally:
        os.close(fd)


def make_private_dir(path: Path) -> bool:
    """Create PATH for this user alone, parents as the umask has it; return whether it was not there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=PRIVATE_DIR)
    except FileExistsError:
        if not path.is_dir():
            raise
        return False
    return True


def remove_tree(path: Path) -> None:
    """Remove PATH and all below it; that it is not there is no error."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        with suppress(FileNotFoundError):
            shutil.rmtree(path)


def move_file(source: Path, target: Path) -> None:
    """Move SOURCE to TARGET, by a copy where that is on another file system."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copyfile(source, target)
        source.unlink()


def files_below(folder: Path) -> Iterable[Path]:
    """Yield the regular files below FOLDER in a fixed order, following no symlink."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            if path.is_file() and not path.is_symlink():
                yield path


def size_below(folder: Path) -> int:
    """Return the sizes of the files below FOLDER added up; what goes meanwhile is left out."""
    total = 0
    for path in files_below(folder):
        with suppress(OSError):
            total += path.lstat().st_size
    return total


def free_bytes(path: Path) -> int:
    """Return what this user may still write on PATH's file system."""
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


def make_temporary(owner: Path, parent: Path | None = None) -> Path:
    """Make a folder for this user alone in PARENT, or where temporary files go: on a local disk, unless TMPDIR is not.

    Raises OSError.
    """
    return Path(tempfile.mkdtemp(prefix=_temporary_prefix(owner), dir=parent))


def own_folder(owner: Path, parent: Path) -> Path:
    """Return the folder of OWNER in PARENT that has the same path in every attempt; `remove_temporaries` removes it."""
    return parent / f"{_temporary_prefix(owner)}{os.geteuid()}"


def claim_folder(path: Path) -> None:
    """Make PATH for this user alone where it is not there.

    Raises FileExistsError where it is somebody else's or no folder, and OSError.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=PRIVATE_DIR)
        return
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise FileExistsError(errno.EEXIST, "somebody else's", str(path))
    path.chmod(PRIVATE_DIR)


def remove_temporaries(owner: Path, parent: Path | None = None) -> None:
    """Remove what attempts of OWNER, of which none lives, could not remove themselves."""
    for folder in Path(parent or tempfile.gettempdir()).glob(f"{_temporary_prefix(owner)}*"):
        with suppress(OSError):
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
                remove_tree(folder)


def _temporary_prefix(owner: Path) -> str:
    return f"dmtcp-run-{hashlib.sha256(os.fsencode(owner)).hexdigest()[:12]}-"
