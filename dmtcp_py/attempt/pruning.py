"""What goes once a generation is committed: older generations, and the records that were kept for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmtcp_py.messages import VERBOSE
from dmtcp_py.rollback import joining, recording
from dmtcp_py.store.needs import least_stdin_bytes, least_stdin_bytes_of_mirrors, needed_parts

if TYPE_CHECKING:
    from dmtcp_py.attempt.context import AttemptContext


def prune(context: AttemptContext) -> None:
    """Remove the generations that are not to be kept, and what only they needed."""
    plan, report, layout = context.plan, context.report, context.plan.store.layout
    verdicts = plan.store.prune(keep=plan.options.keep, lineage=plan.start.job.lineage)
    for verdict in verdicts:
        if not verdict.keep:
            report.say(f"generation {verdict.number} pruned: {verdict.rule}", level=VERBOSE, event="pruned")
    kept = [verdict.number for verdict in verdicts if verdict.keep]
    if not plan.options.keep_record:
        needed = needed_parts(layout, kept)
        recording.forget_unneeded(layout.undo, needed)
        # what generations at a mirror begin with is not known here, and it copies parts one after another
        if not plan.options.mirrors:
            joining.join_unneeded(layout.undo, needed)
    if context.feed is not None:
        least = min(least_stdin_bytes(layout, kept), least_stdin_bytes_of_mirrors(layout))
        context.feed.forget_before(int(least))
