"""What all records here and at mirrors share: a format that is not too new, and names that stay in their directory."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from dmtcp_py.errors import NewerFormatError, StoreError

FORMAT = 1
"""The format that this release writes, and the newest that it reads."""
USE_NEWER = "use the newer dmtcp-py"

StructT = TypeVar("StructT", bound=msgspec.Struct)


def decoded(
    data: bytes, kind: type[StructT], where: object, *, hint: str, newer_hint: str = USE_NEWER
) -> tuple[StructT, Any]:
    """Return the record of KIND in DATA, and its plain values; errors say WHERE it was read.

    Raises NewerFormatError with NEWER_HINT, and StoreError with HINT if there is no such record in DATA.
    """
    try:
        values = msgspec.json.decode(data)
        newest = values.get("format", FORMAT) if isinstance(values, dict) else FORMAT
        if isinstance(newest, int) and newest > FORMAT:
            raise NewerFormatError(
                f"{where} has format {newest}, written by a newer dmtcp-py; this one reads up to {FORMAT}", newer_hint
            )
        return msgspec.convert(values, kind), values
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"{where} is damaged: {error}", hint) from error


def stays_below(name: str) -> bool:
    """Return whether NAME, which a record has, is the plain path of a file below the directory of the record."""
    return "\0" not in name and not any(part in ("", ".", "..") for part in name.split("/"))
