"""dmtcp-run without one of its quirks: python without.py SETTING dmtcp-run's words.

So it can be seen whether a program needs the setting.
"""

from __future__ import annotations

import sys

from dmtcp_py.cli import run
from dmtcp_py.engine import quirks


def main() -> None:
    """Leave out the quirk whose setting begins with the first word, and be dmtcp-run."""
    name = sys.argv.pop(1)
    kept = tuple(quirk for quirk in quirks.QUIRKS if not quirk.setting.startswith(name))
    if len(kept) == len(quirks.QUIRKS):
        sys.exit(f"there is no quirk {name}")
    quirks.QUIRKS = kept
    run.main()


if __name__ == "__main__":
    main()
