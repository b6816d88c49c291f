"""Data that wait in pseudo-terminals, which criu takes out and puts back as if they had been printed or typed again.

So a dump changes them, for the program that runs on too. What was printed is put right while all processes are frozen:
printed once more without the processing of output, here and at a restore. What was typed is kept where typing it again
changes nothing, and delays a checkpoint otherwise. An unfinished line that was typed is not seen: the kernel does not
count it, and criu drops it. Uses the standard library alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import struct
import termios
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dmtcp_py.engine.criu.inside.descriptors import taken
from dmtcp_py.engine.criu.inside.images import Message, read_entries, write_entries
from dmtcp_py.system.proc import open_descriptors, processes_below

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_SLAVES = "/dev/pts/"
_MASTERS = ("/dev/ptmx", "/dev/pts/ptmx")
_MASTERS_DEVICE = os.makedev(5, 2)
_DATA, _INFO, _FILES = "tty-data.img", "tty-info.img", "files.img"
_MODES = "terminals.json"
"""The modes of output to set after a restore, by the numbers of terminals."""
_TIOCGPKT = 0x80045438
_MOST_BYTES = 16384
"""What criu takes out of a terminal at most; what is behind it stays there."""
_WITHIN_S = 0.2
"""How long the kernel may need to pass on what was printed."""
_FILES_ID = 2
"""The number of a process's table of descriptors, in the image with its ids."""
_OUTPUT_MODES = 1
"""Where tcgetattr(3) has them in Python."""
_CHANGES_INPUT = termios.INLCR | termios.PARMRK
_CHANGES_TYPED = termios.ICANON | termios.ECHO | termios.ECHONL


class _DataEntry:
    TERMINAL, DATA = 1, 2


class _InfoEntry:
    ID, PACKET_MODE, DEVICE, MODES, PTY = 1, 5, 8, 9, 12
    PTY_NUMBER = 1
    INPUT, OUTPUT, LOCAL = 1, 2, 4


class _FdinfoEntry:
    FILE, DESCRIPTOR = 1, 4


class _FileEntry:
    ID, TERMINAL = 2, 19
    TERMINAL_FLAGS = 3


class _Side(NamedTuple):
    """One side of a pseudo-terminal, with the modes of its line."""

    number: int
    is_master: bool
    input_modes: int
    output_modes: int
    local_modes: int
    is_in_packet_mode: bool

    @property
    def is_kept(self) -> bool:
        """Whether what waits there can be put back as it was."""
        if self.is_master:
            return not self.is_in_packet_mode
        return not self.input_modes & _CHANGES_INPUT and not self.local_modes & _CHANGES_TYPED


def waiting_in(pid: int, init: int) -> str | None:
    """Return the first terminal of process PID, of those that the processes from INIT on made, whose data are not kept.

    Only those that wait now are seen.
    """
    own = [(place, target) for place, target, _ in open_descriptors(pid) if target.startswith((_SLAVES, *_MASTERS))]
    if not own:
        return None
    pids = processes_below(init)
    made, printing = {f"{_SLAVES}{number}" for _, _, number in _masters(pids)}, {name for _, _, name in _slaves(pids)}
    for place, target in own:
        name = f"{_SLAVES}{_number_of(place)}" if target in _MASTERS else target
        side = _where_data_wait(pid, int(place.name), is_master=target in _MASTERS) if name in made else None
        # criu does not take out what nothing can print to any more
        if side is not None and not (side.is_kept and name in printing):
            return name
    return None


def keep(images: Path, pids: Sequence[int], *, runs_on: bool) -> bool:
    """Put right what criu took out for IMAGES and, if the program RUNS ON, put back; return whether that was possible.

    PIDS are the processes, all of them frozen.
    """
    if not runs_on:
        _set_flags_again(images, pids)
    data, infos = read_entries(images / _DATA), read_entries(images / _INFO)
    sides = {info.integer(_InfoEntry.ID): _side(info) for info in infos}
    printed = set()
    for entry in data:
        side, waited = sides[entry.integer(_DataEntry.TERMINAL)], entry.content(_DataEntry.DATA)
        if not side.is_kept:
            return False
        if side.is_master and (side.output_modes & termios.OPOST or len(waited) >= _MOST_BYTES):
            again = _print_again(side, waited, pids, runs_on=runs_on)
            if again is None:
                return False
            entry.set(_DataEntry.DATA, again)
            printed.add(side.number)
    if printed:
        write_entries(images / _DATA, data)
        _restore_raw(images, infos, printed)
    return True


def put_back_modes(images: Path, pids: Iterable[int]) -> None:
    """Give the restored terminals of PIDS the modes with which `keep` did not let criu restore them."""
    with suppress(FileNotFoundError):
        modes = json.loads((images / _MODES).read_text(encoding="ascii"))
        for pid, fd, number in list(_masters(pids)):
            if str(number) in modes:
                with taken(pid, fd) as own:
                    _set_output(own, modes[str(number)])


def _print_again(side: _Side, data: bytes, pids: Sequence[int], *, runs_on: bool) -> bytes | None:
    """Have the program that RUNS ON find in SIDE what was there; return it all, of which DATA was taken out.

    None if that cannot be told.
    """
    master = next((pid, fd) for pid, fd, number in _masters(pids) if number == side.number)
    slave = next((pid, fd) for pid, fd, name in _slaves(pids) if name == f"{_SLAVES}{side.number}")
    usually = data.replace(b"\n", b"\r\n") if side.output_modes & termios.ONLCR else data
    with taken(*master) as reads, taken(*slave) as prints:
        found = _drained(reads, usually if runs_on else b"")
        if not runs_on:
            return data + found
        if len(data) < _MOST_BYTES:
            behind = b""
        elif found.endswith(usually):
            behind = found[: -len(usually)]
        else:
            return None
        with _raw_output(prints):
            return data + behind if _write(prints, data + behind) else None


def _drained(master: int, end: bytes) -> bytes:
    """Read all that waits in MASTER, up to END."""
    data = b""
    while select.select([master], [], [], 0 if end and data.endswith(end) else _WITHIN_S)[0]:
        data += os.read(master, _MOST_BYTES)
    return data


def _write(slave: int, data: bytes) -> bool:
    while data and select.select([], [slave], [], _WITHIN_S)[1]:
        # a terminal that can be written to may have room for a part only
        data = data[os.write(slave, data[:256]) :]
    return not data


@contextmanager
def _raw_output(terminal: int) -> Iterator[None]:
    before = termios.tcgetattr(terminal)[_OUTPUT_MODES]
    _set_output(terminal, before & ~termios.OPOST)
    try:
        yield
    finally:
        _set_output(terminal, before)


def _set_output(terminal: int, modes: int) -> None:
    found = termios.tcgetattr(terminal)
    found[_OUTPUT_MODES] = modes
    termios.tcsetattr(terminal, termios.TCSANOW, found)


def _restore_raw(images: Path, infos: list[Message], numbers: set[int]) -> None:
    """Have criu restore the terminals NUMBERS without processing of output, and record the modes to set then."""
    modes = {}
    for info in infos:
        side, line = _side(info), info.message(_InfoEntry.MODES)
        if side.number in numbers:
            modes[side.number] = side.output_modes
            line.set(_InfoEntry.OUTPUT, side.output_modes & ~termios.OPOST)
            info.set(_InfoEntry.MODES, line.encoded())
    write_entries(images / _INFO, infos)
    (images / _MODES).write_text(json.dumps(modes), encoding="ascii")


def _set_flags_again(images: Path, pids: Sequence[int]) -> None:
    """Set the flags of terminals again, which criu makes non-blocking and leaves so in a program that is to end.

    The audit looks at them afterwards.
    """
    tables = [(pid, ids.integer(_FILES_ID)) for pid in pids for ids in read_entries(images / f"ids-{pid}.img")]
    holders = {
        opened.integer(_FdinfoEntry.FILE): (pid, opened.integer(_FdinfoEntry.DESCRIPTOR))
        for pid, table in tables
        for opened in read_entries(images / f"fdinfo-{table}.img")
    }
    for entry in read_entries(images / _FILES):
        if _FileEntry.TERMINAL in entry and (holder := holders.get(entry.integer(_FileEntry.ID))):
            with taken(*holder) as own:
                flags = entry.message(_FileEntry.TERMINAL).integer(_FileEntry.TERMINAL_FLAGS)
                fcntl.fcntl(own, fcntl.F_SETFL, flags)


def _side(info: Message) -> _Side:
    """Return which side of which terminal INFO is about; one that was hung up has no modes."""
    modes = info.message(_InfoEntry.MODES)
    return _Side(
        number=info.message(_InfoEntry.PTY).integer(_InfoEntry.PTY_NUMBER) if _InfoEntry.PTY in info else -1,
        is_master=info.integer(_InfoEntry.DEVICE) == _MASTERS_DEVICE,
        input_modes=modes.integer(_InfoEntry.INPUT),
        output_modes=modes.integer(_InfoEntry.OUTPUT),
        local_modes=modes.integer(_InfoEntry.LOCAL),
        is_in_packet_mode=info.integer(_InfoEntry.PACKET_MODE) != 0,
    )


def _masters(pids: Iterable[int]) -> Iterator[tuple[int, int, int]]:
    """Yield process, descriptor and number of each terminal's master that is open in PIDS."""
    for pid in pids:
        with suppress(OSError):
            for place, target, _ in open_descriptors(pid):
                if target in _MASTERS and (number := _number_of(place)) is not None:
                    yield pid, int(place.name), number


def _slaves(pids: Iterable[int]) -> Iterator[tuple[int, int, str]]:
    """Yield process, descriptor and name of each terminal's slave that is open in PIDS."""
    for pid in pids:
        with suppress(OSError):
            for place, target, _ in open_descriptors(pid):
                if target.startswith(_SLAVES):
                    yield pid, int(place.name), target


def _number_of(master: Path) -> int | None:
    """Return the number of a terminal."""
    info = Path(str(master).replace("/fd/", "/fdinfo/")).read_text(encoding="ascii", errors="replace")
    number = info.partition("tty-index:")[2].split()
    return int(number[0]) if number else None


def _where_data_wait(pid: int, fd: int, *, is_master: bool) -> _Side | None:
    """Return which side of a terminal descriptor FD of PID is; None if no data wait there, or it may not be seen."""
    with suppress(OSError, termios.error), taken(pid, fd) as own:
        if not _asked(own, termios.FIONREAD):
            return None
        input_modes, output_modes, _, local_modes, *_ = termios.tcgetattr(own)
        return _Side(
            number=-1,
            is_master=is_master,
            input_modes=input_modes,
            output_modes=output_modes,
            local_modes=local_modes,
            is_in_packet_mode=is_master and _asked(own, _TIOCGPKT) != 0,
        )
    return None


def _asked(fd: int, request: int) -> int:
    reply = bytearray(4)
    fcntl.ioctl(fd, request, reply)
    return int(struct.unpack("=i", reply)[0])
