"""The zoo's commands."""

from __future__ import annotations

from zoo import commands, page

if __name__ == "__main__":
    commands.main(page.ZOO, page.write)
