"""Durations and sizes as text. Reads no clock."""

from __future__ import annotations

import re

from dmtcp_py.errors import UsageError

_LONGEST_S = 10 * 366 * 86400.0
_MOST_CHARS = 40
_UNIT_S = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = r"(?i)(\d{1,15}(?:\.\d{1,9})?)\s*([kmgt]?)b?"
_UNIT_BYTES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_MOST_BYTES = 1e15
_PLAIN = r"(?i)(\d+(?:\.\d+)?)\s*(s|m|min|h|d)?"
_SLURM = r"(?:(?P<days>\d+)-)?(?P<a>\d+)(?::(?P<b>\d+))?(?::(?P<c>\d+))?"
_FORMS = "write seconds (90), a number with a unit (90s, 15m, 2h, 1d), or Slurm's MM:SS, HH:MM:SS or D-HH[:MM[:SS]]"


def parse_size(text: str) -> float:
    """Return the bytes that TEXT means: ``500k``, ``50M``, ``1.5GB``; decimal, as `format_size` prints them."""
    match = re.fullmatch(_SIZE, text.strip())
    size = float(match[1]) * _UNIT_BYTES[match[2].lower()] if match else 0.0
    if not 1 <= size <= _MOST_BYTES:
        raise UsageError(f"'{text}' is not a size", "write a number with a unit: 500k, 50M, 2G")
    return size


def parse_duration(text: str) -> float:
    """Return the seconds that TEXT means.

    A plain number means seconds, unlike in sbatch(1)'s ``--time``, where it means minutes. With colons or a dash TEXT
    has the forms and meanings of that option.
    """
    seconds = _seconds(text.strip())
    if seconds is None:
        raise UsageError(f"'{text}' is not a duration", _FORMS)
    if seconds > _LONGEST_S:
        raise UsageError(f"'{text}' is longer than ten years", _FORMS)
    return seconds


def _seconds(text: str) -> float | None:
    if len(text) > _MOST_CHARS:
        return None
    if match := re.fullmatch(_PLAIN, text):
        return float(match[1]) * _UNIT_S[(match[2] or "").lower()]
    match = re.fullmatch(_SLURM, text)
    if match is None:
        return None
    days, a, b, c = (int(match[key] or 0) for key in ("days", "a", "b", "c"))
    if match["days"] is not None:
        return days * 86400.0 + a * 3600.0 + b * 60.0 + c
    if match["c"] is not None:
        return a * 3600.0 + b * 60.0 + c
    return a * 60.0 + b


def format_duration(seconds: float) -> str:
    """Return SECONDS as a short text that `parse_duration` reads: ``45s``, ``90m``, ``1-02:03:04``."""
    whole = round(seconds)
    if seconds < 10 and abs(seconds - whole) > 0.05:  # noqa: PLR2004 - below ten seconds the tenth is worth showing
        return f"{seconds:.1f}s"
    if whole < 120:  # noqa: PLR2004 - two minutes
        return f"{whole}s"
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    if days:
        return f"{days}-{hours:02}:{minutes:02}:{secs:02}"
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


def short_duration(seconds: float) -> str:
    """Return SECONDS in at most six characters for a person: ``45s``, ``12m``, ``3h12m``, ``12d04h``."""
    whole = max(round(seconds), 0)
    if whole < 60:  # noqa: PLR2004 - a minute
        return f"{whole}s"
    minutes = whole // 60
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours < 24 else f"{hours // 24}d{hours % 24:02}h"  # noqa: PLR2004 - a day


def format_size(size_bytes: int) -> str:
    """Return SIZE_BYTES in decimal units, as df -H counts: ``31.2 MB``."""
    import humanize  # noqa: PLC0415 - not needed to start a program

    return humanize.naturalsize(size_bytes)
