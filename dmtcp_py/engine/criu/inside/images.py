"""Reads and writes criu's images: a header, then entries in the wire format of Protocol Buffers, each after its size.

The numbers of fields are those of criu's images/*.proto. Uses the standard library alone.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_HEADER_BYTES = 8
_VARINT, _BYTES = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
_HIGH_BIT = 0x80


class _Field(NamedTuple):
    number: int
    kind: int
    value: int | bytes


class Message:
    """A message, whose fields are known by their numbers."""

    def __init__(self, encoded: bytes) -> None:
        self._fields = _decoded(encoded)

    def __contains__(self, number: int) -> bool:
        return bool(self._values(number))

    def integer(self, number: int) -> int:
        """Return the value of field NUMBER; 0 if it has none."""
        return next((value for value in self._values(number) if isinstance(value, int)), 0)

    def content(self, number: int) -> bytes:
        """Return the content of field NUMBER; nothing if it has none."""
        return next((value for value in self._values(number) if isinstance(value, bytes)), b"")

    def message(self, number: int) -> Message:
        """Return the message in field NUMBER; an empty one if there is none."""
        return Message(self.content(number))

    def set(self, number: int, value: int | bytes) -> None:
        """Replace the value of each field NUMBER."""
        self._fields = [field._replace(value=value) if field.number == number else field for field in self._fields]

    def encoded(self) -> bytes:
        """Return it as it stands in an image."""
        return b"".join(map(_encoded, self._fields))

    def _values(self, number: int) -> list[int | bytes]:
        return [field.value for field in self._fields if field.number == number]


def read_entries(image: Path) -> list[Message]:
    """Return the entries of IMAGE; none if there is no such file."""
    if not image.exists():
        return []
    content, entries, at = image.read_bytes(), [], _HEADER_BYTES
    while at < len(content):
        (size,) = struct.unpack_from("=I", content, at)
        entries.append(Message(content[at + 4 : at + 4 + size]))
        at += 4 + size
    return entries


def write_entries(image: Path, entries: Iterable[Message]) -> None:
    """Replace the entries of IMAGE."""
    header, encoded = image.read_bytes()[:_HEADER_BYTES], [entry.encoded() for entry in entries]
    image.write_bytes(header + b"".join(struct.pack("=I", len(one)) + one for one in encoded))


def _decoded(message: bytes) -> list[_Field]:
    fields, at = [], 0
    while at < len(message):
        key, at = _read_varint(message, at)
        number, kind = key >> 3, key & 7
        size = _FIXED_BYTES.get(kind, 0)
        if not size:
            size, at = _read_varint(message, at)
        if kind == _VARINT:
            fields.append(_Field(number, kind, size))
            continue
        fields.append(_Field(number, kind, message[at : at + size]))
        at += size
    return fields


def _encoded(field: _Field) -> bytes:
    key = _varint(field.number << 3 | field.kind)
    if isinstance(field.value, int):
        return key + _varint(field.value)
    return key + (_varint(len(field.value)) if field.kind == _BYTES else b"") + field.value


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & ~_HIGH_BIT) << shift
        at, shift = at + 1, shift + 7
        if not byte & _HIGH_BIT:
            return value, at


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= _HIGH_BIT:
        out.append(value & ~_HIGH_BIT & 0xFF | _HIGH_BIT)
        value >>= 7
    out.append(value)
    return bytes(out)
