"""A virtual machine that sees the files of this one, with a kernel that can do what this one's may not: serve NFS.

What is written there stays in its memory. Needs qemu, busybox, cpio and kmod, and fetches Debian's kernel. Processors
are emulated, so that everything takes some twenty times as long.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from kit.waits import LONG_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MARK = "TRIAL\t"
"""Begins a line that is for the tests; the kernel prints lines of its own."""
NFS_TOOLS = ("exportfs", "rpc.mountd", "rpc.nfsd", "rpcbind")
_TOOLS = ("qemu-system-x86_64", "busybox", "cpio", "modprobe", "depmod", "apt-get", "dpkg")
_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CRIUS_MODULES = ("unix_diag", "inet_diag", "tcp_diag", "udp_diag", "raw_diag", "netlink_diag", "af_packet_diag")
"""What the kernel would load itself if it were in /lib/modules."""
_FIRST_MODULES = ("9p", "9pnet_virtio", "virtio_pci", "overlay")
_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module; done
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=524288,cache=loose root /lower
mount -t tmpfs changes /changes; mkdir /changes/upper /changes/work
mount -t overlay -o lowerdir=/lower,upperdir=/changes/upper,workdir=/changes/work root /root
mount -t proc proc /root/proc; mount -t sysfs sys /root/sys; mount -t devtmpfs dev /root/dev
mkdir -p /root/dev/shm /root/dev/pts
mount -t tmpfs -o mode=1777 shm /root/dev/shm; mount -t devpts -o ptmxmode=0666 pts /root/dev/pts
mount -t tmpfs run /root/run; mount -t tmpfs nfs /root/var/lib/nfs; mount -t tmpfs mnt /root/mnt
ifconfig lo 127.0.0.1 up
exec switch_root /root /bin/sh {folder}/inside
"""
_SERVES_NFS = """export PATH={folders} HOME=/root
for module in sunrpc nfsd nfs nfsv4 nfsv3 {more}; do modprobe -d {kernel} $module; done
mkdir -p /var/lib/nfs/v4recovery /var/lib/nfs/sm /mnt/export
touch /var/lib/nfs/etab /var/lib/nfs/rmtab
mount -t nfsd nfsd /proc/fs/nfsd
# nothing of Debian's, which has the server look up groups in its own list of users
: >/etc/nfs.conf
echo '/mnt/export 127.0.0.1(rw,{squash},insecure,fsid=0,no_subtree_check)' >/etc/exports
exportfs -ra; rpcbind -w; rpc.mountd; rpc.nfsd 4
{line}
echo o >/proc/sysrq-trigger; sleep 60
"""


def run_with_nfs(folder: Path, argv: Sequence[str], *, squash: str) -> Iterator[str]:
    """Run ARGV as root in a machine that exports /mnt/export with SQUASH; give the lines that it marks with `MARK`."""
    problem = why_not(NFS_TOOLS)
    assert problem == "", problem
    kernel = _kernel(folder)
    values = {"kernel": kernel, "squash": squash, "line": " ".join(argv), "folders": _FOLDERS}
    (folder / "inside").write_text(_SERVES_NFS.format(**values, more=" ".join(_CRIUS_MODULES)))
    initial = _initial(folder, kernel)
    with subprocess.Popen(_machine(kernel, initial), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as machine:
        assert machine.stdout is not None
        try:
            for line in machine.stdout:
                # the kernel may have begun the line
                _, mark, rest = line.decode(errors="replace").rstrip("\r\n").partition(MARK)
                if mark:
                    yield rest
        finally:
            machine.kill()


def why_not(more: Sequence[str] = NFS_TOOLS) -> str:
    """Return why there can be no such machine here with the tools MORE; nothing if there can."""
    lacking = [tool for tool in (*_TOOLS, *more) if shutil.which(tool, path=_FOLDERS) is None]
    return f"there is no {', '.join(lacking)} here" if lacking else ""


def _kernel(folder: Path) -> Path:
    """Fetch Debian's kernel, and return the folder in which it is as in a root."""
    depends = _run(["apt-cache", "depends", "--important", "linux-image-amd64"], folder)
    package = next(word for word in depends.split() if word.startswith("linux-image-") and word[12].isdecimal())
    _run(["apt-get", "download", "-qq", package], folder)
    (archive,) = folder.glob("linux-image-*.deb")
    _run(["dpkg", "-x", str(archive), "kernel"], folder)
    archive.unlink()
    (modules,) = (folder / "kernel/lib/modules").iterdir()
    _run(["depmod", "-b", str(folder / "kernel"), modules.name], folder)
    return folder / "kernel"


def _initial(folder: Path, kernel: Path) -> Path:
    """Make the first file system of the machine, which mounts this machine's."""
    root, (modules,) = folder / "initial", (kernel / "lib/modules").iterdir()
    for name in ("bin", "modules", "root", "proc", "dev", "sys", "lower", "changes"):
        (root / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", root / "bin/busybox")
    order: dict[str, None] = {}
    for name in _FIRST_MODULES:
        needed = _run(["modprobe", "-d", str(kernel), "-S", modules.name, "--show-depends", name], folder)
        for line in needed.splitlines():
            if line.startswith("insmod"):
                path = Path(line.split()[1])
                shutil.copy(path, root / "modules" / path.name)
                order[path.name] = None
    (root / "modules/order").write_text("\n".join(order))
    (root / "init").write_text(_INIT.format(folder=folder))
    (root / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(root)) for path in [root, *root.rglob("*")])
    packed = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], input=names.encode(), cwd=root, capture_output=True, check=True
    ).stdout
    (folder / "initial.gz").write_bytes(gzip.compress(packed))
    return folder / "initial.gz"


def _machine(kernel: Path, initial: Path) -> list[str]:
    (image,) = (kernel / "boot").glob("vmlinuz-*")
    return [
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "1500", "-nographic", "-no-reboot"),
        *("-kernel", str(image), "-initrd", str(initial)),
        *("-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on"),
        *("-virtfs", "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap"),
    ]


def _run(argv: list[str], folder: Path) -> str:
    done = subprocess.run(argv, cwd=folder, stdout=subprocess.PIPE, text=True, check=True, timeout=LONG_S)
    return done.stdout
