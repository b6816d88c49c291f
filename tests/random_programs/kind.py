"""What a kind of step is: a small value, with its text in C, in Python or in both.

A step of a kind is done with a random number N, and from that and its own model it decides what it does: so each step
has a meaning whatever steps were left out before it. Kinds that share a model NEED one that has it; that one has no
steps of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Of(Enum):
    """Whose state a kind is."""

    PROCESS = "process"
    """It is set by the program itself and by its children."""
    THREAD = "thread"
    """Each thread has its own."""


@dataclass(frozen=True)
class Text:
    """The text of a kind: what it DECLARES, what a step DOES, what is CHECKED after all later steps, and its END.

    In C each is the body of a function, with ``unsigned n`` for a step; models are declared with MODEL or, for a
    thread, OWN. In Python ``m`` is the model, an empty namespace at first, and ``n`` the number.
    """

    declare: str = ""
    do: str = ""
    check: str = ""
    end: str = ""


@dataclass(frozen=True)
class Kind:
    """One kind of step."""

    name: str
    c: Text | None = None
    python: Text | None = None
    needs: str = ""
    of: Of = Of.PROCESS
    often: int = 1
    """How often it is drawn, beside others; 0: it is only measured alone, or has no steps."""
    harmless: str = ""
    """Why no result depends on it, where an engine changes it and nothing can put it back."""
