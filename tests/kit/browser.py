"""A real browser that opens a page from a file, and what it complains about."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
NO_BROWSER = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")


@dataclass
class Reader:
    """Opens pages in BROWSER; COMPLAINTS are what it said of them, and REQUESTS what they asked for."""

    browser: Browser
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, path: Path, *, width: int = 1000, scheme: str = "light") -> Page:
        """Open the page in PATH in a window of this WIDTH, with a light or dark SCHEME."""
        dark_or_light = "dark" if scheme == "dark" else "light"
        page = self.browser.new_page(viewport={"width": width, "height": 800}, color_scheme=dark_or_light)
        page.on("console", lambda said: self.complaints.append(said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda asked: self.requests.append(asked.url))
        page.goto(path.resolve().as_uri())
        return page


@contextmanager
def reading() -> Iterator[Reader]:
    """Start the browser, and end it afterwards."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield Reader(browser)
        finally:
            browser.close()
