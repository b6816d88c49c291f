"""Random damage to a generation, which has to be found before the program runs, so that the older one is used.

A seed stands for one damage. Each is made in place, looked at as a resume does, and taken back.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dmtcp_py.errors import DmtcpRunError
from dmtcp_py.store.layout import JobLayout
from dmtcp_py.store.verify import read_manifest, verify
from faults.figures import End, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from kit.bench import Workbench

_MOST_BYTES = 64
_STEPS = 600


def make_generations(bench: Workbench) -> JobLayout:
    """Run a job until it has two generations, and stop it."""
    process = bench.start("-i", "0", "--job", "damaged", "--stdout", "out.txt", *bench.counting(_STEPS))
    bench.wait_steps(1)
    for action in ("checkpoint", "stop"):
        done = bench.ctl(action, "damaged")
        assert done.returncode == 0, done.stderr
    process.wait()
    return JobLayout(bench.jobs / "damaged")


def campaign(bench: Workbench, seeds: Iterable[int]) -> Iterator[Trial]:
    """Do the damage of each of SEEDS to the newest of two generations, and yield what came of it."""
    layout = make_generations(bench)
    older, newest = layout.generation_numbers()[-2:]
    committed = read_manifest(layout, newest)
    for seed in seeds:
        chosen = random.Random(seed)
        kind = chosen.choice(sorted(KINDS))
        folder = layout.generation(newest)
        images = [image.name for image in committed.images]
        names = (
            images if kind in _OF_IMAGES else ["manifest.json"] if kind in _OF_MANIFESTS else ["manifest.json", *images]
        )
        file = folder / chosen.choice(names)
        with kept(file, layout.generation(older) / file.relative_to(folder)):
            KINDS[kind](file, layout.generation(older) / file.relative_to(folder), chosen)
            end = _look(layout, newest, older, committed)
        yield Trial(kind, end, f"seed {seed}, {file.relative_to(layout.root)}")


def _look(layout: JobLayout, newest: int, older: int, committed: Any) -> End:
    """Look at the generations as a resume does."""
    try:
        read = verify(layout, newest)
    except DmtcpRunError:
        return End.DETECTED if _verifies(layout, older) else End.WRONG
    return End.SURVIVED if read == committed else End.WRONG


def _verifies(layout: JobLayout, number: int) -> bool:
    try:
        verify(layout, number)
    except DmtcpRunError:
        return False
    return True


@contextmanager
def kept(*files: Path) -> Iterator[None]:
    """Take back what is done to FILES; their content is written once more only where it changed."""
    copies = [file.with_name(f".{file.name}.kept") for file in files]
    for file, copy in zip(files, copies, strict=True):
        if file.exists():
            shutil.copy2(file, copy)
    try:
        yield
    finally:
        for file, copy in zip(files, copies, strict=True):
            if copy.exists():
                shutil.rmtree(file) if file.is_dir() and not file.is_symlink() else file.unlink(missing_ok=True)
                copy.rename(file)


def _flip(file: Path, _other: Path, chosen: random.Random) -> None:
    with file.open("r+b") as opened:
        place = chosen.randrange(file.stat().st_size)
        byte = os.pread(opened.fileno(), 1, place)[0]
        os.pwrite(opened.fileno(), bytes([byte ^ 1 << chosen.randrange(8)]), place)


def _overwrite(file: Path, _other: Path, chosen: random.Random) -> None:
    with file.open("r+b") as opened:
        size = chosen.randint(1, _MOST_BYTES)
        os.pwrite(opened.fileno(), chosen.randbytes(size), chosen.randrange(max(1, file.stat().st_size - size)))


def _cut(file: Path, _other: Path, chosen: random.Random) -> None:
    os.truncate(file, chosen.randrange(file.stat().st_size))


def _empty(file: Path, _other: Path, _chosen: random.Random) -> None:
    os.truncate(file, 0)


def _lengthen(file: Path, _other: Path, chosen: random.Random) -> None:
    with file.open("ab") as opened:
        opened.write(chosen.randbytes(chosen.randint(1, _MOST_BYTES)))


def _remove(file: Path, _other: Path, _chosen: random.Random) -> None:
    file.unlink()


def _put_other(file: Path, other: Path, _chosen: random.Random) -> None:
    """Put the file of the other generation in place of this one."""
    if other.exists():
        shutil.copyfile(other, file)
    else:
        file.unlink()


def _zero_block(file: Path, _other: Path, chosen: random.Random) -> None:
    """Leave a block as if it had never been written to disk."""
    size = file.stat().st_size
    start = chosen.randrange(0, max(size, 1), 4096)
    with file.open("r+b") as opened:
        before = os.pread(opened.fileno(), min(4096, size - start), start)
        os.pwrite(opened.fileno(), bytes(len(before)) if any(before) else b"\1", start)


def _edit(file: Path, _other: Path, chosen: random.Random) -> None:
    """Make one value of the manifest another valid one."""
    values = json.loads(file.read_text())
    name = chosen.choice([name for name in values if name != "check"])
    values[name] = _another(values[name], chosen)
    file.write_text(json.dumps(values))


def _another(value: Any, chosen: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + chosen.choice([-1, 1])
    if isinstance(value, str):
        return value[:-1] if value and chosen.random() < 0.5 else value + "x"
    if isinstance(value, list):
        return value[:-1] if value else ["x"]
    if isinstance(value, dict):
        return dict(list(value.items())[:-1]) if value else {"x": "x"}
    return 1


KINDS: dict[str, Callable[[Path, Path, random.Random], None]] = {
    "a bit flipped": _flip,
    "bytes overwritten": _overwrite,
    "truncated": _cut,
    "zero length": _empty,
    "lengthened": _lengthen,
    "missing": _remove,
    "that of another generation": _put_other,
    "a block of zeros": _zero_block,
    "a value edited": _edit,
}
_OF_IMAGES = {"a block of zeros"}
_OF_MANIFESTS = {"a value edited"}
