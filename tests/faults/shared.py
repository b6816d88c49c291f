"""Folders that two hosts share, each through a mount of its own: what flock does on one, the other may not see.

A host is of `kit.hosts`, here with an identity of a boot of its own too. The same campaign runs on each kind of shared
storage that can be mounted where it runs: bindfs, which leaves locks to each host's kernel, and bindfs with a library
that has it refuse each lock, as a file server without a lock service does.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kit.hosts import Hosts
from kit.hosts import why_not as why_no_hosts
from kit.places import REPOSITORY
from kit.waits import LONG_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.hosts import Host

FUSE = "FUSE, whose locks are each host's own"
NO_LOCKS = "FUSE that refuses locks (ENOLCK)"
_REFUSING = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

extern int fuse_version(void);
static int refuse(void) { return -ENOLCK; }

/* The operations of a file system are functions in a row: lock is the 36th of libfuse 2 and the 32nd of libfuse 3,
   flock the 44th and the 39th. */
int fuse_main_real(int count, char **words, void *const *given, size_t size, void *data)
{
    int (*next)(int, char **, void *const *, size_t, void *) = dlsym(RTLD_NEXT, "fuse_main_real");
    int is_old = fuse_version() < 30;
    void *operations[64] = { 0 };
    memcpy(operations, given, size);
    operations[is_old ? 35 : 31] = operations[is_old ? 43 : 38] = refuse;
    return next(count, words, operations, size, data);
}
"""


@dataclass(frozen=True)
class Shared:
    """Two hosts; BACKING is what they share, as this machine sees it, and PLACE where they have it."""

    hosts: Hosts
    backing: Path
    place: Path


@contextmanager
def shared_by_two(folder: Path, storage: str) -> Iterator[Shared]:
    """Make two hosts below FOLDER that share a folder on STORAGE."""
    backing, place = folder / "backing", folder / "place"
    for path in (backing, place):
        path.mkdir(parents=True)
    with ExitStack() as stack:
        shared = [path for path in (Path(sys.prefix), REPOSITORY) if path.is_relative_to("/tmp")]
        hosts = stack.enter_context(Hosts(2, folder, shared=shared))
        for host in hosts.hosts:
            _have_own_boot(host, folder)
            stack.callback(host.run, ["umount", "--lazy", place])
            _on(host, MOUNTS[storage](backing, place))
        yield Shared(hosts, backing, place)


def _have_own_boot(host: Host, folder: Path) -> None:
    identity = folder / f"boot-{host.name}"
    identity.write_text(f"{uuid.uuid4()}\n")
    _on(host, ["mount", "--bind", str(identity), "/proc/sys/kernel/random/boot_id"])


def _on(host: Host, argv: list[str]) -> None:
    done = host.run(argv, timeout_s=LONG_S)
    assert done.returncode == 0, f"{argv}: {done.stderr}"


def _bindfs(backing: Path, place: Path) -> list[str]:
    return ["bindfs", str(backing), str(place)]


def _bindfs_without_locks(backing: Path, place: Path) -> list[str]:
    source, library = backing.with_name("refusing.c"), backing.with_name("refusing.so")
    source.write_text(_REFUSING)
    subprocess.run(["cc", "-shared", "-fPIC", "-w", "-o", library, source], check=True, timeout=LONG_S)
    return ["env", f"LD_PRELOAD={library}", *_bindfs(backing, place)]


MOUNTS = {FUSE: _bindfs, NO_LOCKS: _bindfs_without_locks}


def storages() -> list[str]:
    """Return the kinds of shared storage that can be had here."""
    if shutil.which("bindfs") is None:
        return []
    return [FUSE, NO_LOCKS] if shutil.which("cc") else [FUSE]


def why_not() -> str:
    """Return why two hosts cannot share a folder here; nothing if they can."""
    return why_no_hosts() or ("" if storages() else "there is no shared storage here (bindfs)")
