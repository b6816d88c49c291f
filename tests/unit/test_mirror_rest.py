"""The files of a job besides its generations, sent to a mirror in pieces and put together elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dmtcp_py.errors import StoreError
from dmtcp_py.mirror.address import address_of
from dmtcp_py.mirror.errors import DamagedError
from dmtcp_py.mirror.fetching import fetch_rest
from dmtcp_py.mirror.opening import open_place
from dmtcp_py.mirror.rest import Rest
from dmtcp_py.store.layout import JobLayout
from dmtcp_py.store.mirrored import Index, decode, encode, piece_name
from dmtcp_py.store.records import utc_now

if TYPE_CHECKING:
    from dmtcp_py.mirror.place import Place
    from dmtcp_py.store.mirrored import Piece


class Pair:
    """A job here, a mirror, and the job elsewhere."""

    def __init__(self, path: Path) -> None:
        self.here, self.elsewhere = JobLayout(path / "here" / "job"), JobLayout(path / "there" / "job")
        self.here.undo.mkdir(parents=True)
        self.elsewhere.root.mkdir(parents=True)
        self.place: Place = open_place(address_of(f"file:{path}/mirror"))
        self.rest = Rest(self.here)
        self.sent: list[int] = []

    def copy(self) -> Index:
        """Send what the mirror lacks; return the index."""

        def send(piece: Piece, data: bytes) -> None:
            self.sent.append(len(data))
            self.place.write(piece_name("job", piece), data)

        files = self.rest.files(send)
        index = Index(job="job", epoch=1, host="a", pid=1, boot_id="", beat=1, written=utc_now(), files=files)
        return decode(encode(index), Index, "index")

    def tree(self, layout: JobLayout) -> dict[str, bytes | str]:
        """Return what is in the directory of a job."""
        found = [path for path in layout.root.rglob("*") if path.is_symlink() or path.is_file()]
        return {
            str(path.relative_to(layout.root)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
            for path in found
        }


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Give a job with a journal of two parts."""
    pair = Pair(tmp_path)
    pair.here.job.write_text("{}")
    for name in ("000001", "000002"):
        (pair.here.undo / name).mkdir()
        (pair.here.undo / name / "list").write_bytes(b"\0first\0")
        (pair.here.undo / name / "lost").write_bytes(bytes(4096))
    (pair.here.undo / "now").symlink_to("000002")
    (pair.here.undo / ".partial").mkdir()
    return pair


def test_all_arrives_with_links_and_times(pair: Pair) -> None:
    fetch_rest(pair.place, pair.elsewhere, pair.copy())
    assert pair.tree(pair.elsewhere) == pair.tree(pair.here)
    lost = Path("undo/000001/lost")
    assert (pair.elsewhere.root / lost).stat().st_mtime_ns == (pair.here.root / lost).stat().st_mtime_ns


def test_what_has_grown_is_sent_from_where_it_ended(pair: Pair) -> None:
    pair.copy()
    pair.sent.clear()
    pair.copy()
    assert pair.sent == []
    with (pair.here.undo / "000002" / "list").open("ab") as file:
        file.write(b"\0second one\0")
    fetch_rest(pair.place, pair.elsewhere, pair.copy())
    assert pair.sent == [len(b"\0second one\0")]
    assert pair.tree(pair.elsewhere) == pair.tree(pair.here)


@pytest.mark.parametrize("is_told", [False, True])
def test_what_was_cut_is_sent_anew(pair: Pair, *, is_told: bool) -> None:
    path = pair.here.undo / "000002" / "list"
    pair.copy()
    path.write_bytes(b"\0other\0\0longer\0" if is_told else b"\0o\0")
    if is_told:
        pair.rest.forget()
    fetch_rest(pair.place, pair.elsewhere, pair.copy())
    assert pair.tree(pair.elsewhere) == pair.tree(pair.here)


def test_what_is_gone_here_goes_elsewhere_too(pair: Pair) -> None:
    fetch_rest(pair.place, pair.elsewhere, pair.copy())
    (pair.here.undo / "000001" / "list").unlink()
    fetch_rest(pair.place, pair.elsewhere, pair.copy())
    assert pair.tree(pair.elsewhere) == pair.tree(pair.here)


def test_a_link_out_of_the_jobs_directory_stays_here(pair: Pair, tmp_path: Path) -> None:
    (pair.here.undo / "gate").symlink_to(tmp_path / "gate")
    fetch_rest(pair.place, pair.elsewhere, decode(encode(pair.copy()), Index, "index"))
    (pair.here.undo / "gate").unlink()
    assert pair.tree(pair.elsewhere) == pair.tree(pair.here)


def test_a_damaged_piece_changes_nothing_elsewhere(pair: Pair, tmp_path: Path) -> None:
    index = pair.copy()
    fetch_rest(pair.place, pair.elsewhere, index)
    before = pair.tree(pair.elsewhere)
    for path in (tmp_path / "mirror" / "job" / "rest").iterdir():
        path.write_bytes(b"damage")
    with pytest.raises(DamagedError):
        fetch_rest(pair.place, pair.elsewhere, index)
    assert pair.tree(pair.elsewhere) | before == before | pair.tree(pair.elsewhere)
    assert (pair.elsewhere.job).read_text() == "{}"


@pytest.mark.parametrize(
    ("field", "value"), [("name", "../outside"), ("name", "/etc/x"), ("link", "../x"), ("link", ".."), ("name", "")]
)
def test_an_index_that_leads_elsewhere_is_refused(pair: Pair, field: str, value: str) -> None:
    text = encode(pair.copy()).decode()
    for old in ('"undo/now"',) if field == "name" else ('"000002"',):
        text = text.replace(f'"{field}":{old}', f'"{field}":"{value}"')
    with pytest.raises(StoreError):
        decode(text.encode(), Index, "index")
