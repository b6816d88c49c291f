"""What of a resumed run is not as in the run that was left alone: files, streams and their content."""

from __future__ import annotations

import fnmatch
import os
from dataclasses import dataclass
from pathlib import Path

_OURS = ("stderr.txt",)
_JOBS = ".dmtcp-run"


@dataclass(frozen=True)
class Comparison:
    """The folders of a run that was RESUMED and of one that was left ALONE; names that match IGNORED do not count."""

    resumed: Path
    alone: Path
    ignored: tuple[str, ...] = ()

    def different(self) -> list[str]:
        """Return the names of the files that are not the same in both."""
        names = {str(path.relative_to(root)) for root in (self.resumed, self.alone) for path in _files(root)}
        return sorted(
            name
            for name in names.difference(_OURS)
            if not any(fnmatch.fnmatch(name, pattern) for pattern in self.ignored)
            and _content(self.resumed / name) != _content(self.alone / name)
        )

    def first_difference(self, name: str) -> str:
        """Return where file NAME differs first."""
        mine, plain = _content(self.resumed / name), _content(self.alone / name)
        if mine is None or plain is None:
            return f"{name} is {'missing' if mine is None else 'left behind'}"
        pair = (mine.splitlines(), plain.splitlines())
        for number, (ours, theirs) in enumerate(zip(*pair, strict=False), 1):
            if ours != theirs:
                return f"{name} line {number} is {ours[:60]!r}, not {theirs[:60]!r}"
        return f"{name} has {len(pair[0])} lines, not {len(pair[1])}"

    def more_in(self, name: str) -> list[str]:
        """Return the lines that file NAME has besides those of the other run; none where it does not have all those."""
        if name in self.ignored:
            return []
        mine, own = ((root / name).read_text(errors="replace").splitlines() for root in (self.resumed, self.alone))
        more = []
        for line in mine:
            if own and line == own[0]:
                own.pop(0)
            else:
                more.append(line)
        return [] if own else more


def _files(root: Path) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != _JOBS]
        found += [Path(folder) / name for name in names]
    return found


def _content(path: Path) -> bytes | None:
    if path.is_file():
        return path.read_bytes()
    return b"special" if path.exists() else None
