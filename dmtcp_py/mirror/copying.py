"""What one mirror lacks of a job, and how it comes to have it: the other files, the newest generation, older ones."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from dmtcp_py.errors import DmtcpRunError, StoreError
from dmtcp_py.mirror.contents import index_of, manifests_of
from dmtcp_py.mirror.rest import Rest
from dmtcp_py.mirror.sending import Pace, send_images, send_manifest
from dmtcp_py.store.history import numbers_in_history
from dmtcp_py.store.mirrored import (
    MANIFEST,
    Index,
    encode,
    generation_name,
    generations_name,
    index_name,
    piece_name,
    rest_name,
)
from dmtcp_py.store.records import Job, read_record, utc_now
from dmtcp_py.store.retention import Generation, plan
from dmtcp_py.store.verify import read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmtcp_py.mirror.order import Holder, Order
    from dmtcp_py.mirror.place import Place
    from dmtcp_py.mirror.progress import Progress
    from dmtcp_py.store.mirrored import Piece, StoredFile

REST_S = 5.0
"""How old what a mirror has of the journal may become."""
BEAT_S = 20.0
"""How often the index is written although nothing has changed: it shows that the attempt is alive."""


class TakenOverError(DmtcpRunError):
    """Another attempt goes on with the job at the mirror."""


class _NoMoreError(Exception):
    """The generation is not wanted any more: a newer one comes first, or the program has finished."""


class Copier:
    """Copies the job of ORDER to PLACE; TELL reports, and what goes on is in PROGRESS."""

    def __init__(self, order: Order, place: Place, progress: Progress, tell: Callable[..., None]) -> None:
        self._order, self._place, self._progress, self._tell = order, place, progress, tell
        self._layout = order.layout
        self._name = self._layout.name
        self._rest = Rest(self._layout)
        self._there = manifests_of(place, self._name)
        self._pieces = set(place.names(rest_name(self._name)))
        self._files: list[StoredFile] = []
        self._beat = 0
        self._index_at = self._rest_at = 0.0
        self._damaged: set[int] = set()
        self.wants_generations = True
        self._note_there()

    def forget(self) -> None:
        """Look at all files anew: a computation has begun, before which files went back to what they were."""
        self._rest.forget()

    def copy_generations(self) -> None:
        """Copy the generations that the mirror lacks. Raises TakenOverError, and whatever the place raises."""
        while self.wants_generations and (number := self._next()) is not None:
            try:
                self._copy(number)
            except _NoMoreError:
                continue
            except FileNotFoundError:
                # it was pruned before this attempt knew that it is being copied
                if self._layout.generation(number).is_dir():
                    raise
            except StoreError as error:
                self._damaged.add(number)
                self._tell(warn=f"generation {number} is not mirrored: {error.what}")
            finally:
                self._progress.copying(None, 0)

    def copy_rest(self, ended: str | None = None) -> None:
        """Copy the other files and the index, which says how the attempt ENDED."""
        files = self._rest.files(self._send_piece)
        self._rest_at = time.monotonic()
        is_due = ended is not None or time.monotonic() - self._index_at > BEAT_S
        if files != self._files or is_due or not self._beat:
            self._write_index(files, ended)

    def has_newest(self) -> bool:
        """Return whether the mirror has the newest generation of the job, if there is one."""
        wanted = self._wanted()
        return not wanted or self._is_there(wanted[0])

    def _wanted(self) -> list[int]:
        """Return the generations that the mirror is to have, newest first."""
        try:
            first = read_record(self._layout.job, Job).first_generation
        except FileNotFoundError:
            return []
        return list(self._layout.generations_from(first)[: self._order.keep])

    def _next(self) -> int | None:
        lacking = (one for one in self._wanted() if one not in self._damaged and not self._is_there(one))
        return next(lacking, None)

    def _is_there(self, number: int) -> bool:
        there = self._there.get(number)
        try:
            return there is not None and there.check == read_manifest(self._layout, number).check
        except DmtcpRunError:
            return False

    def _copy(self, number: int) -> None:
        began = time.monotonic()
        self._there.pop(number, None)
        self._progress.copying(number, read_manifest(self._layout, number).size)
        manifest = send_images(self._place, self._layout, number, Pace(self._order.rate, self._moved_of(number)))
        # the part of the journal that begins with the generation has to be there before it counts
        self.copy_rest()
        send_manifest(self._place, self._layout, number)
        seconds = round(time.monotonic() - began, 3)
        self._there[number] = manifest
        self._prune()
        self._note_there()
        self._tell(copied=number, size=manifest.size, seconds=seconds)

    def _moved_of(self, number: int) -> Callable[[int, float], None]:
        # what was the newest when its copy began is finished, or a slow mirror would never have one
        may_stop = number != self._wanted()[0]

        def moved(size: int, patience_s: float) -> None:
            self._progress.moved(size, patience_s)
            if not self.wants_generations:
                raise _NoMoreError
            if time.monotonic() - self._rest_at > REST_S:
                self.copy_rest()
                if may_stop and (self._next() or number) > number:
                    raise _NoMoreError

        return moved

    def _send_piece(self, piece: Piece, data: bytes) -> None:
        if piece.name not in self._pieces:
            self._place.write(piece_name(self._name, piece), data)
            self._pieces.add(piece.name)
            self._progress.moved(0, 0)

    def _write_index(self, files: list[StoredFile], ended: str | None) -> None:
        self._refuse_taken_over()
        self._beat += 1
        index = Index(
            job=self._name,
            **msgspec.structs.asdict(self._order.holder),
            beat=self._beat,
            written=utc_now(),
            ended=ended,
            files=files,
        )
        self._place.write(index_name(self._name), encode(index))
        self._files, self._index_at = files, time.monotonic()
        for name in self._pieces - {piece.name for file in files for piece in file.pieces}:
            self._place.remove(f"{rest_name(self._name)}/{name}")
            self._pieces.discard(name)

    def _refuse_taken_over(self) -> None:
        found, holder = index_of(self._place, self._name), self._order.holder
        if found is None or found.epoch < holder.epoch:
            return
        if _attempt(found) != _attempt(holder):
            raise TakenOverError(f"attempt {found.epoch} on {found.host} (pid {found.pid}) goes on with the job")

    def _prune(self) -> None:
        """Remove at the mirror what the rules do not keep, and what was never completed."""
        job = read_record(self._layout.job, Job)
        there = [Generation(number, one.lineage if one else None) for number, one in self._there.items()]
        proved = numbers_in_history(self._layout, "resumed", "generation")
        for verdict in plan(there, keep=self._order.keep, lineage=job.lineage, proved=proved):
            if not verdict.keep:
                self._remove(verdict.number)
                del self._there[verdict.number]
        for name in self._place.names(generations_name(self._name)):
            if name.isdecimal() and int(name) not in self._there and int(name) not in self._wanted():
                self._remove(int(name))

    def _remove(self, number: int) -> None:
        folder = generation_name(self._name, number)
        self._place.remove(f"{folder}/{MANIFEST}")
        self._place.remove(folder)

    def _note_there(self) -> None:
        self._progress.there(self._there)


def _attempt(one: Index | Holder) -> tuple[int, str, int, str]:
    return one.epoch, one.host, one.pid, one.boot_id
