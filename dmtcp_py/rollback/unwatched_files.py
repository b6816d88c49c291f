"""Files that a process changed by name though nothing recorded it: found before a resume after a crash, and refused.

A process is not watched if the library that writes the journal does not see what it does: it is statically linked, made
by Go, dropped its environment, or has another user or root directory. Files that it holds open at a checkpoint are put
back as those of any other; what it does to files by name since then cannot be. So before its images are resumed, the
directories in which such processes are known to write are looked at: all below their working directories, and those of
the files that they had open or that their command lines name. Anything there that changed since the image was taken,
and that no record explains (the journal, files held open, streams, other jobs of the same directory), is refused by
name: it may have been written by such a process, which would write it once more. A program that writes to its standard
output and to files that it keeps open alone resumes as any other.

What lies elsewhere is not looked at: a warning at the checkpoint and one at the resume say so. Directories that
everybody may write to, as /tmp, are looked at only where they are a working directory. What was there when the image
was taken is recognized by its stamp, whatever the clocks say. Only where there was too much for that, and in images of
older releases, the time of an image decides, as the file system says on which it was written.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dmtcp_py.errors import FilesChangedError, StoreError
from dmtcp_py.rollback import held_files
from dmtcp_py.rollback.journal import begun_at, read_entries
from dmtcp_py.rollback.parts import UNFINISHED, has_begun, numbers_of, undone
from dmtcp_py.rollback.undo import ACCEPT
from dmtcp_py.rollback.watched_folders import folders_in
from dmtcp_py.store.history import read_history
from dmtcp_py.store.layout import JobLayout, jobs_in
from dmtcp_py.store.records import Job, path_of, read_record
from dmtcp_py.system.stamps import differs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dmtcp_py.rollback.held_files import HeldFiles
    from dmtcp_py.store.records import Manifest

MOST_ENTRIES = 500_000
"""More are not looked at, and refused as unknown."""

Key = tuple[int, int]


class _Explained(NamedTuple):
    """What is known to have been changed by others than unwatched processes, or is put back."""

    inodes: set[Key]
    paths: set[Path]
    undone: set[Path]
    undone_ns: int
    """What rollbacks put back explains what changed until then."""
    jobs: Path
    """The directory of the jobs."""

    def covers(self, path: Path, found: os.stat_result) -> bool:
        """Whether it is known why PATH, FOUND so, has changed."""
        is_back = path in self.undone and found.st_ctime_ns <= self.undone_ns
        return is_back or path in self.paths or (found.st_dev, found.st_ino) in self.inodes


def check(images: Path, root: Path, manifest: Manifest, *, accept: bool, warn: Callable[[str], None]) -> None:
    """Refuse to resume the generation in folder IMAGES if an unwatched process may have changed a file by name.

    ROOT is the folder of the journal. After a checkpoint-and-stop nothing ran, unless a later part has begun. With
    ACCEPT such files are named by WARN. Raises FilesChangedError with the first; nothing is touched.
    """
    held, part = held_files.read(images), manifest.undo_part
    if not held.unwatched or part is None or (manifest.program_stopped and has_begun(root, part)):
        return
    names = ", ".join(held.unwatched)
    found = next(_changed(held, _explained(held, root, part)), None)
    if found is None:
        where = ", ".join(held.trees) or "its directories"
        warn(
            f"what {names} did to files by name since generation {manifest.generation} was taken is not recorded: no "
            f"such file was found in {where}, but any that it wrote elsewhere will be written once more"
        )
        return
    text = f"{found}, and {names} may have done that: what it does to files by name is not recorded"
    if not accept:
        raise FilesChangedError(text, ACCEPT)
    warn(f"{text}; left as it is")


def _changed(held: HeldFiles, explained: _Explained) -> Iterator[str]:
    """Yield, as sentences, what changed since the images were taken and is not EXPLAINED."""
    left, parents = MOST_ENTRIES, {path.parent for path in explained.paths | explained.undone}
    for folder, names in folders_in(held.trees, held.writes_in, explained.jobs):
        is_explained, made = False, 0
        for name in names:
            left -= 1
            if left < 0:
                yield f"there are more files in {', '.join(held.trees)} than are looked at, which may have changed"
                return
            path = folder / name
            with suppress(OSError):
                found = path.lstat()
                if stat.S_ISDIR(found.st_mode) or not _is_changed(path, found, held):
                    continue
                made += 1
                if explained.covers(path, found):
                    is_explained = True
                else:
                    yield f"{path} changed since then"
        with suppress(OSError):
            was_changed = _is_changed_folder(folder, folder.stat(), held)
            is_explained = is_explained or folder in parents
            if was_changed and not is_explained and not made:
                yield f"something in {folder} was made, moved or removed since then"


def _is_changed(path: Path, found: os.stat_result, held: HeldFiles) -> bool:
    if held.seen is None:
        return max(found.st_ctime_ns, found.st_mtime_ns) > held.taken_ns
    stamp = held.seen.get(str(path))
    return stamp is None or differs(found, stamp)


def _is_changed_folder(folder: Path, found: os.stat_result, held: HeldFiles) -> bool:
    if held.seen is None:
        return found.st_mtime_ns > held.taken_ns
    stamp = held.seen.get(str(folder))
    return stamp is None or found.st_mtime_ns != stamp.mtime_ns


def _explained(held: HeldFiles, root: Path, part: str) -> _Explained:
    job = JobLayout(root.parent)
    inodes = {(file.device, file.inode) for file in held.files} | _streams()
    paths = {Path(file.path) for file in held.files} | {Path(name) for name in (*held.fifos, *held.streams)}
    for number in numbers_of(root):
        if number >= int(part):
            for entry in read_entries(root / f"{number:06}"):
                paths |= {entry.path, entry.moved_to or entry.path}
    for other in jobs_in(job.root.parent):
        paths |= _paths_of(other, is_own=other.root == job.root)
    with suppress(OSError):
        inodes |= {(found.st_dev, found.st_ino) for found in (path.stat() for path in paths if path.is_symlink())}
    numbers = numbers_of(root)
    last = begun_at(root / f"{numbers[-1]:06}") if numbers and not (root / UNFINISHED).exists() else time.time()
    return _Explained(
        inodes=inodes, paths=paths, undone=undone(root), undone_ns=int(last * 1e9), jobs=job.root.parent.resolve()
    )


def _paths_of(job: JobLayout, *, is_own: bool) -> set[Path]:
    """Return what JOB is known to write: its streams, and if it is another, files that it held open, or recorded."""
    found: set[Path] = set()
    with suppress(OSError, StoreError):
        record = read_record(job.job, Job)
        found |= {Path(name) for name in (record.stdout, record.stderr) if name}
        # those of dmtcp-run itself, which the program may have inherited
        found |= {path_of(name) for line in read_history(job) for name in line.get("streams", ())}
    if is_own:
        return found
    for number in job.generation_numbers():
        with suppress(OSError, ValueError, KeyError):
            held = held_files.read(job.generation(number))
            found |= {Path(file.path) for file in held.files} | set(map(Path, held.streams))
    for number in numbers_of(job.undo):
        found |= {entry.path for entry in read_entries(job.undo / f"{number:06}")}
    return found


def _streams() -> set[Key]:
    """Return the files that are our own standard streams."""
    found = set()
    for fd in range(3):
        with suppress(OSError):
            status = os.fstat(fd)
            found.add((status.st_dev, status.st_ino))
    return found
