"""Links of the pages that lead out of docs/: they are right on a git host, and the site gets the files that they name.

``../README.md`` becomes a page of the site, and a source file (``../hwsim/engine.py``) a page that shows it. The pages
themselves stay as they are. Hooks of mkdocs; see mkdocs.yml.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
README = "readme.md"
LINK = re.compile(r"(?<=\]\()([^)\s:#]+)(?=[#)])")
"""The path of a Markdown link, without its anchor; none with a scheme."""


def outside(page: str, link: str) -> str:
    """Where a link of a page leads, from the top of the repository; empty where it stays within docs/.

    Args:
        page: path of the page, from docs/.
    """
    target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    return "" if target.startswith("docs/") or not (ROOT / target).is_file() else target


def place(target: str) -> str:
    """Path in docs/ of the page that shows a file of the repository."""
    return README if target == "README.md" else f"source/{target}.md"


def shown(target: str) -> str:
    """The page of a file: the README itself, or a source file as a block of code."""
    text = (ROOT / target).read_text(encoding="utf-8")
    if target == "README.md":
        return LINK.sub(lambda found: posixpath.relpath(found[1], "docs"), text)
    head = f"---\ntitle: {target}\nhide: [navigation, toc]\nsearch: {{exclude: true}}\n---"
    return f"{head}\n\n# `{target}`\n\n````{Path(target).suffix[1:]}\n{text}\n````\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file outside docs/ that a page links to."""
    waiting = [(file.src_uri, file.content_string) for file in files.documentation_pages()]
    while waiting:
        page, text = waiting.pop()
        for link in LINK.findall(text):
            target = outside(page, link)
            if target and files.get_file_from_path(place(target)) is None:
                made = File.generated(config, place(target), content=shown(target))
                if target != "README.md":
                    made.inclusion = InclusionLevel.NOT_IN_NAV
                else:
                    waiting.append((README, made.content_string))
                files.append(made)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links that leave docs/ to these pages."""
    here = page.file.src_uri
    if here.startswith("source/"):
        return markdown

    def led(found: re.Match[str]) -> str:
        target = outside(here, found[1])
        return posixpath.relpath(place(target), posixpath.dirname(here) or ".") if target else found[1]

    return LINK.sub(led, markdown)
