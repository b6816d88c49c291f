"""Addresses of mirrors: what names a place, and that no password is ever shown."""

from __future__ import annotations

import pytest

from dmtcp_py.errors import UsageError
from dmtcp_py.mirror.address import address_of


@pytest.mark.parametrize(
    ("text", "scheme", "shown"),
    [
        ("/backup/jobs", "file", "file:/backup/jobs"),
        ("file:///backup/jobs", "file", "file:/backup/jobs"),
        ("file://localhost/backup/run#1?2", "file", "file:/backup/run#1?2"),
        ("sftp://ann@host:22/jobs", "sftp", "sftp://ann@host:22/jobs"),
        ("ssh://host/jobs", "sftp", "sftp://host/jobs"),
        ("root://host:1094//store/jobs", "root", "root://host:1094//store/jobs"),
        ("s3://bucket/jobs", "s3", "s3://bucket/jobs"),
        ("gs://bucket/jobs", "gs", "gs://bucket/jobs"),
        ("command:./rclone there:jobs", "command", "command:./rclone there:jobs"),
    ],
)
def test_places_are_known(text: str, scheme: str, shown: str) -> None:
    address = address_of(text)
    assert (address.scheme, address.shown, address.has_password) == (scheme, shown, False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "jobs",
        "file:jobs",
        "sftp:host",
        "s3://bucket",
        "command: ",
        "1://x/y",
        "sftp:///x",
        "sftp://[::1/p",
        "file://backup/jobs",
    ],
)
def test_what_names_no_place_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        address_of(text)


@pytest.mark.parametrize(
    "text",
    [
        "sftp://ann:p%40ss-w0rd@host/jobs",
        "s3://KEY:p%40ss-w0rd@bucket/jobs",
        "root://host//jobs?authz=p%40ss-w0rd&x=1",
        "ssh://ann:p%40ss-w0rd@host/jobs",
    ],
)
def test_a_password_is_shown_nowhere(text: str) -> None:
    address = address_of(text)
    assert address.has_password
    for shown in (address.shown, repr(address), address.redacted(f"no {text} with p%40ss-w0rd, p@ss-w0rd or {text}")):
        assert "w0rd" not in shown
    assert address_of(text.replace("w0rd", "other")).key == address.key


@pytest.mark.parametrize(
    "text", ["s3://KEY:p4ss@bucket", "s3://KEY:ab/p4ss@bucket/jobs", "sftp://u:p4ss/w@host/p", "sftp://u:p4ss℀@host/p"]
)
def test_the_refusal_of_an_address_does_not_show_its_password(text: str) -> None:
    with pytest.raises(UsageError) as error:
        address_of(text)
    assert "p4ss" not in str(error.value)
