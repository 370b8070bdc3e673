"""A page as what is run, what it shows, and what is said of it.

======================================  =====================================================================
fence                                   meaning
======================================  =====================================================================
```` ```console ````                    lines that begin with ``$`` are run in the page's folder; behind each
                                        stands what it prints
```` ```python ````                     run, in one namespace for the whole page; a block without a language
                                        that follows is what it prints
```` ```ANY title="own.py" ````         saved as that file
```` ``` ```` without a language        what the Python before it prints
```` ```text ````                       neither run nor printed: a drawing, a form; its figures are text's
======================================  =====================================================================

A line of what is printed that is ``...`` stands for any lines, or none; one that ends with ``...`` for any end.
What cannot be run is preceded by a line that the reader sees, ``*Not run by the tests: why.*``; what takes minutes by
``*Run by `make docs-check`: why.*``. Comments that the reader does not see are directives: ``<!-- setup: NAME -->``
(a function of `tests.pages.setups`), ``<!-- run: PYTHON -->``, ``<!-- varies: REGEX -->`` (differs from run to run).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
RECORDED = DOCS / "recorded"

Kind = Literal["console", "python", "file", "output", "text", "skipped", "setup", "run", "unclaimed"]

_ITEM = re.compile(
    r"^```(?P<language>\w*)(?P<info>[^\n]*)\n(?P<text>.*?)^```[ ]*$|"
    r"^<!-- (?P<word>setup|run|varies): (?P<given>.*?) ?-->$",
    re.MULTILINE | re.DOTALL,
)
_TITLE = re.compile(r'title="([^"]+)"')
_SAID = re.compile(r"^\*(Not run by the tests|Run by `make docs-check`)(?: as it stands here)?: .*\*$")


class PageError(AssertionError):
    """A page that does not say what is to be done with one of its blocks, or says something untrue."""


@dataclass
class Block:
    """A fence or a directive.

    Args:
        kind: what becomes of it.
        text: what stands in it.
        span: where that text begins and ends in the page.
        line: number of the line at which it begins.
        title: of a file, its name.
        slow: whether it takes minutes.
    """

    kind: Kind
    text: str
    span: tuple[int, int]
    line: int
    title: str = ""
    slow: bool = False


@dataclass
class Page:
    """A page and its blocks, in order; `varies` are patterns of what differs from run to run."""

    path: Path
    text: str
    blocks: list[Block] = field(default_factory=list)
    varies: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its path below docs/, or README.md."""
        above = next((folder for folder in (DOCS, ROOT) if self.path.is_relative_to(folder)), self.path.parent)
        return self.path.relative_to(above).as_posix()

    @property
    def slow(self) -> bool:
        """Whether some of it takes minutes."""
        return any(block.slow for block in self.blocks)


def read(path: Path) -> Page:
    """A page, its blocks told apart.

    Raises:
        PageError: a block of which nothing says what it is.
    """
    page = parsed(path.read_text(encoding="utf-8"), path)
    lost = [f"{page.name}:{block.line}" for block in page.blocks if block.kind == "unclaimed"]
    if lost:
        raise PageError(f"neither run, nor a file, nor an output, nor said not to be run: {', '.join(lost)}")
    return page


def parsed(text: str, path: Path) -> Page:
    """The blocks of a text."""
    page = Page(path, text)
    for match in _ITEM.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if match["word"] == "varies":
            page.varies.append(match["given"])
        elif match["word"] is not None:
            page.blocks.append(Block(match["word"], match["given"], match.span("given"), line))
        else:
            said = _SAID.match(_line_before(text, match.start()))
            title = _TITLE.search(match["info"])
            kind = _kind(match["language"], title is not None, page.blocks, said[1] if said else "")
            slow = bool(said and said[1] != "Not run by the tests")
            slow |= kind == "output" and page.blocks[-1].slow
            page.blocks.append(Block(kind, match["text"], match.span("text"), line, title[1] if title else "", slow))
    return page


def _line_before(text: str, at: int) -> str:
    lines = [line for line in text[:at].split("\n") if line.strip()]
    return lines[-1].strip() if lines else ""


def _kind(language: str, titled: bool, before: list[Block], said: str) -> Kind:
    if said == "Not run by the tests":
        return "skipped"
    if titled:
        return "file"
    if language in ("console", "python"):
        return language
    if language == "text":
        return "text"
    return "output" if language == "" and before and before[-1].kind == "python" else "unclaimed"


@dataclass
class Command:
    """A command line, and what the page shows of what it prints; `span` is where that stands in the block."""

    line: str
    shown: str
    span: tuple[int, int]


def commands(text: str) -> list[Command]:
    """What a console block runs.

    Raises:
        PageError: the block does not begin with a command.
    """
    found: list[Command] = []
    at = 0
    continued = False
    for line in text.splitlines(keepends=True):
        end = at + len(line)
        if continued:
            found[-1] = Command(found[-1].line + line, "", (end, end))
        elif line.startswith("$ "):
            found.append(Command(line[2:], "", (end, end)))
        elif not found:
            raise PageError(f"a console block begins with a command, not with {line!r}")
        else:
            last = found[-1]
            found[-1] = Command(last.line, last.shown + line, (last.span[0], end))
        continued = (continued or line.startswith("$ ")) and line.rstrip("\n").endswith("\\")
        at = end
    return found
