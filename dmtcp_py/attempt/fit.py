"""Whether a program can be resumed on this machine, judging by the one on which its images were taken. PURE."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Collection

    from dmtcp_py.store.records import Host, Manifest

_INSTRUCTIONS = r"avx.*|sse.*|ssse3|fma4?|f16c|bmi[12]|movbe|popcnt|abm|amx.*|xsave|asimd.*|sve.*|atomics"
"""The features that programs and the C library choose their code by when they start: x86's, and ARM's."""
_MOST_NAMED = 4
_CRIU = "criu"


class Level(Enum):
    """How bad a finding is; the values are what people read."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(Struct, frozen=True):
    """A fact ABOUT something, and in HINT what to type or to ask for."""

    about: str
    level: Level
    finding: str
    hint: str = ""

    @property
    def text(self) -> str:
        """The finding with its hint."""
        return f"{self.finding}; {self.hint}" if self.hint else self.finding


def ok(about: str, finding: str, hint: str = "") -> Finding:
    """Return that all is well."""
    return Finding(about=about, level=Level.OK, finding=finding, hint=hint)


def warning(about: str, finding: str, hint: str = "") -> Finding:
    """Return a risk."""
    return Finding(about=about, level=Level.WARNING, finding=finding, hint=hint)


def problem(about: str, finding: str, hint: str = "") -> Finding:
    """Return what has to be cured first."""
    return Finding(about=about, level=Level.PROBLEM, finding=finding, hint=hint)


def compare(manifest: Manifest, here: Host) -> list[Finding]:
    """Return how machine HERE differs from the one on which the images of MANIFEST were taken."""
    was, is_criu = manifest.host, manifest.engine == _CRIU
    return [_processor(was, here), _kernel(was, here, is_criu=is_criu), _libc(was, here, is_criu=is_criu)]


def missing_instructions(was: Collection[str], here: Collection[str]) -> list[str]:
    """Return the features of processor WAS that programs use and that the one HERE lacks."""
    return [flag for flag in was if flag not in here and re.fullmatch(_INSTRUCTIONS, flag)] if here else []


def _processor(was: Host, here: Host) -> Finding:
    about, there = "processor", f"{was.name}, where the images were taken,"
    if was.machine != here.machine:
        return problem(
            about,
            f"{there} has {was.machine}, and this machine has {here.machine}",
            f"resume on a machine with {was.machine}",
        )
    missing = missing_instructions(was.cpu_flags, here.cpu_flags)
    if not missing:
        return ok(about, f"has all instructions of {was.name}, where the images were taken")
    more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
    names = ", ".join(missing[:_MOST_NAMED])
    return problem(
        about,
        f"lacks {names}{more}, which {there} has: a program that uses them would crash",
        f"ask the scheduler for such a machine, as with --constraint={missing[0]} or --nodelist={was.name}",
    )


def _kernel(was: Host, here: Host, *, is_criu: bool) -> Finding:
    about = "kernel"
    if _version(here.kernel) >= _version(was.kernel):
        same = "as" if here.kernel == was.kernel else f"and was {was.kernel}"
        end = " when the images were taken"
        return ok(about, f"is {here.kernel}, {same}{end}")
    text = f"is {here.kernel}, older than {was.kernel}, under which the images were taken"
    if is_criu:
        return warning(about, f"{text}: CRIU may need what it lacks", f"--nodelist={was.name} has it")
    return ok(about, text)


def _libc(was: Host, here: Host, *, is_criu: bool) -> Finding:
    about = "C library"
    if here.libc == was.libc:
        return ok(about, f"is {here.libc}, as when the images were taken")
    text = f"is {here.libc}, and was {was.libc} when the images were taken"
    if is_criu:
        why = "CRIU needs the same libraries, unless the program is statically linked"
        return warning(about, f"{text}: {why}", f"resume on a machine like {was.name}")
    return ok(about, f"{text}; the images have their own")


def _version(release: str) -> tuple[int, ...]:
    """Return the first two numbers of a kernel's RELEASE."""
    return tuple(int(number) for number in re.findall(r"\d+", release)[:2])
