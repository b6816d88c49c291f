"""What generations need besides their images: parts of the journal of changed files, and the program's input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmtcp_py.errors import StoreError
from dmtcp_py.store.mirrored import mirror_states
from dmtcp_py.store.verify import read_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dmtcp_py.store.layout import JobLayout


def needed_parts(layout: JobLayout, generations: Sequence[int]) -> list[str]:
    """Return the parts of the journal that began with GENERATIONS, and the oldest that each mirror needs.

    None if one of the manifests cannot be read: what that generation needs is not known.
    """
    try:
        here = [read_manifest(layout, number).undo_part for number in generations]
    except StoreError:
        return []
    there = [state.oldest_part for state in mirror_states(layout)]
    return [part for part in (*here, *there) if part is not None]


def least_stdin_bytes(layout: JobLayout, generations: Sequence[int]) -> int:
    """Return from where on one of GENERATIONS needs the input; 0 if one of the manifests cannot be read."""
    try:
        return min(read_manifest(layout, number).stdin_bytes or 0 for number in generations)
    except (StoreError, ValueError):
        return 0


def least_stdin_bytes_of_mirrors(layout: JobLayout) -> float:
    """Return from where on a generation at a mirror needs the input; infinite if none does."""
    found = [state.least_stdin_bytes for state in mirror_states(layout)]
    return min((one for one in found if one is not None), default=float("inf"))
