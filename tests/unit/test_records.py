"""Records that come from the disk: what is read, what is ignored, what is refused."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtcp_py.errors import StoreError
from dmtcp_py.store.decoding import FORMAT
from dmtcp_py.store.records import (
    Job,
    LockRecord,
    Manifest,
    Request,
    State,
    decode,
    encode,
    json_of,
    plain,
    read_record,
)

if TYPE_CHECKING:
    from pathlib import Path

fast = settings(database=None, deadline=None, max_examples=200)
NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=timezone.utc)
JOB = Job(lineage=3, first_generation=7, command=["./count", "60"], cwd="/here", created=NOON)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test writes its record."""
    return tmp_path / "record.json"


def read_manifest(path: Path, values: dict[str, Any]) -> Manifest:
    path.write_text(json.dumps(values))
    return read_record(path, Manifest)


def test_what_was_written_is_what_is_read(path: Path) -> None:
    path.write_bytes(encode(JOB))
    assert read_record(path, Job) == JOB


def test_records_are_json_that_people_can_read(path: Path) -> None:
    path.write_bytes(encode(JOB))
    assert '\n  "lineage": 3,\n' in path.read_text()
    assert path.read_text().endswith("}\n")
    assert json.loads(path.read_text())["created"] == "2026-01-02T12:00:00Z"


def test_names_in_messages_that_are_no_text_become_escapes(path: Path) -> None:
    answer = Request(action="stop", asked_by="me", asked=NOON, answer="cannot write /\udcff\udcfe/\xe9")
    path.write_bytes(encode(answer))
    assert read_record(path, Request).answer == "cannot write /\\xff\\xfe/\xe9"
    line = json.loads(json_of({"time": NOON, "reason": "\udcff", "next_job": None, "tried": ["\udcfe"]}))
    assert line == {"time": "2026-01-02T12:00:00Z", "reason": "\\xff", "next_job": None, "tried": ["\\xfe"]}


def test_plain_values_are_what_json_can_print() -> None:
    assert json.loads(json.dumps(plain(JOB)))["command"] == ["./count", "60"]


def test_fields_that_are_not_known_are_ignored(path: Path, manifest_json: dict[str, Any]) -> None:
    known = read_manifest(path, manifest_json)
    host = {**manifest_json["host"], "sockets": 2}
    assert read_manifest(path, {**manifest_json, "host": host, "colour": {"of": ["the", "sky"]}}) == known


@pytest.mark.parametrize("kind", [Job, State, Manifest])
def test_a_newer_format_is_refused_and_named(path: Path, kind: type[Job | State | Manifest]) -> None:
    path.write_text(json.dumps({"format": FORMAT + 1, "all": "else has changed"}))
    with pytest.raises(StoreError, match=f"format {FORMAT + 1}, written by a newer dmtcp-py") as refused:
        read_record(path, kind)
    assert str(path) in refused.value.what
    assert "newer dmtcp-py" in refused.value.hint


def test_a_record_without_a_format_is_of_the_first(path: Path, manifest_json: dict[str, Any]) -> None:
    del manifest_json["format"]
    assert read_manifest(path, manifest_json).format == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not JSON",
        b"{",
        b'{"lineage": 3,',
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"\xff\xfe{}",
        b"\0" * 4096,
        b'{"lineage": 1e999}',
        b'{"cwd": "\\ud800"}',
        b"[" * 100_000,
    ],
    ids=lambda data: repr(data[:16]),
)
def test_what_is_no_record_is_refused_with_its_path(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(StoreError) as refused:
        read_record(path, Job)
    assert str(path) in refused.value.what


@given(data=st.binary(max_size=200))
@fast
def test_any_bytes_are_a_record_or_refused(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(StoreError):
        decode(data, Manifest, tmp_path_factory.getbasetemp())


@pytest.mark.parametrize(
    "name", ["generation", "lineage", "epoch", "created", "engine", "images", "restart_images", "host"]
)
def test_a_missing_field_is_refused_and_named(path: Path, manifest_json: dict[str, Any], name: str) -> None:
    del manifest_json[name]
    with pytest.raises(StoreError, match=f"`{name}`"):
        read_manifest(path, manifest_json)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", "1"),
        ("format", None),
        ("generation", "1"),
        ("created", "yesterday"),
        ("images", {}),
        ("images", [{"name": "ckpt.dmtcp", "size": "3", "xxh3_128": ""}]),
        ("images", ["ckpt_count.dmtcp"]),
        ("host", None),
    ],
)
def test_a_field_of_another_type_is_refused(
    path: Path, manifest_json: dict[str, Any], name: str, value: object
) -> None:
    with pytest.raises(StoreError, match="damaged"):
        read_manifest(path, {**manifest_json, name: value})


OUTSIDE = [
    "../../etc/passwd",
    "../000001/ckpt_count.dmtcp",
    "/etc/passwd",
    "//etc/passwd",
    "..",
    ".",
    "",
    "a/../../b",
    "a/..",
    "./a",
    "a//b",
    "a/",
    "ckpt\0.dmtcp",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_elsewhere_is_refused(path: Path, manifest_json: dict[str, Any], name: str) -> None:
    manifest_json["images"].append({"name": name, "size": 1, "xxh3_128": "0" * 32})
    with pytest.raises(StoreError, match="names a file outside its generation"):
        read_manifest(path, manifest_json)


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_restart_image_that_leads_elsewhere_is_refused(path: Path, manifest_json: dict[str, Any], name: str) -> None:
    manifest_json["restart_images"].append(name)
    with pytest.raises(StoreError):
        read_manifest(path, manifest_json)


@given(name=st.text(alphabet="./ab\0", max_size=8))
@fast
def test_a_name_that_is_accepted_stays_in_its_folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp()
    values = {**TEMPLATE, "images": [{"name": name, "size": 1, "xxh3_128": ""}], "restart_images": [name]}
    try:
        decode(json.dumps(values).encode(), Manifest, folder / "manifest.json")
    except StoreError:
        return
    assert (folder / name).resolve().is_relative_to(folder.resolve())
    assert (folder / name).resolve() != folder.resolve()


TEMPLATE: dict[str, Any] = {
    "generation": 1,
    "lineage": 1,
    "epoch": 1,
    "created": "2026-01-02T12:00:00Z",
    "reason": "interval",
    "program_stopped": False,
    "engine": "dmtcp",
    "engine_version": "4.2.0",
    "processes": 1,
    "host": {"name": "here", "kernel": "6", "machine": "x86_64", "libc": "glibc 2"},
    "cost": {"checkpoint_s": 0.5},
}


def test_names_in_folders_of_the_engine_are_accepted(path: Path, manifest_json: dict[str, Any]) -> None:
    manifest_json["images"].append({"name": "ckpt_count_files/a b/log", "size": 1, "xxh3_128": "0" * 32})
    assert read_manifest(path, manifest_json).size == 4


@pytest.mark.parametrize("images", [[], ["another.dmtcp"], ["ckpt_count.dmtcp", "another.dmtcp"]])
def test_restart_images_that_are_not_listed_are_refused(
    path: Path, manifest_json: dict[str, Any], images: list[str]
) -> None:
    with pytest.raises(StoreError, match="does not list the images to restart"):
        read_manifest(path, {**manifest_json, "restart_images": images})


def test_a_record_that_is_not_there_is_another_matter(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_record(path, LockRecord)


def test_a_folder_in_the_place_of_a_record_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StoreError, match="cannot be read: Is a directory"):
        read_record(path, Job)
