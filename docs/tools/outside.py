"""Hook of mkdocs: pages link to files outside docs/ as in a checkout, and such a file becomes a page of the site."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, InclusionLevel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)]*)?\)")
_LANGUAGES = {".sh": "bash", ".py": "python", ".c": "c"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file outside docs/ to which a page links, and for those to which these link."""
    left = [Path(file.abs_src_path) for file in files.documentation_pages() if file.abs_src_path]
    seen: set[Path] = set()
    while left:
        for path in _outside(left.pop()):
            if path not in seen:
                seen.add(path)
                is_page = path.suffix == ".md"
                left += [path] if is_page else []
                in_nav = InclusionLevel.UNDEFINED if is_page else InclusionLevel.NOT_IN_NAV
                files.append(File.generated(config, _place(path), content=_text(path), inclusion=in_nav))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Have the links of PAGE lead to where the site has their files."""
    uri = page.file.src_uri
    source = DOCS / uri if (DOCS / uri).exists() else ROOT / uri

    def moved(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(source.parent / link[1]))
        if not target.is_file():
            # mkdocs reports it, unless it has made that page
            return link[0]
        return f"]({os.path.relpath(_place(target), Path(uri).parent)}{link[2] or ''})"

    return _LINK.sub(moved, markdown)


def _outside(page: Path) -> Iterator[Path]:
    """Yield the files outside docs/ to which PAGE links."""
    for link in _LINK.finditer(page.read_text(encoding="utf-8")):
        path = Path(os.path.normpath(page.parent / link[1]))
        if path.is_file() and ROOT in path.parents and DOCS not in path.parents:
            yield path


def _place(path: Path) -> str:
    """Return where the site has the file at PATH, as mkdocs writes it."""
    uri = str(path.relative_to(DOCS if DOCS in path.parents else ROOT))
    is_as_it_stands = DOCS in path.parents or path.suffix == ".md"
    return uri if is_as_it_stands else f"{uri}.md"


def _text(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    return f"# {path.relative_to(ROOT)}\n\n````{_LANGUAGES.get(path.suffix, 'text')}\n{text}````\n"
