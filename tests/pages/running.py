"""A page from its first block to its last: what it shows is what was printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import setups, shown
from .blocks import RECORDED, Block, Page, PageError, commands
from .session import Session


@dataclass
class Said:
    """What a page shows at one place, and what was printed there.

    Args:
        where: page and line.
        span: where it stands in the page.
        shown: by the page.
        printed: by what was run, or, where that takes minutes, recorded.
    """

    where: str
    span: tuple[int, int]
    shown: str
    printed: str


def run(page: Page, folder: Path, slow: bool = False, write: bool = False) -> Iterator[Said]:
    """Run a page.

    Args:
        page: what is run.
        folder: empty, for its files.
        slow: also what takes minutes; without it, that is looked up in `RECORDED`.
        write: keep what was printed by what takes minutes.

    Raises:
        PageError: a command that ended with another code than what the page shows of it says.
    """
    session = Session(folder)
    try:
        yield from _blocks(session, page, folder, Records(page), slow, write)
    finally:
        session.close()


def _blocks(session: Session, page: Page, folder: Path, records: Records, slow: bool, write: bool) -> Iterator[Said]:
    for number, block in enumerate(page.blocks):
        where = f"{page.name}:{block.line}"
        if block.kind == "setup":
            for name in block.text.split():
                getattr(setups, name)(folder)
        elif block.kind == "run":
            session.python(block.text, where)
        elif block.kind == "file":
            session.file(block.title, block.text)
        elif block.kind == "python":
            follows = page.blocks[number + 1] if number + 1 < len(page.blocks) else None
            output = follows if follows and follows.kind == "output" else None
            if block.slow and not slow:
                printed = records.next()
            else:
                printed = session.python(block.text, where)
                records.keep(printed) if block.slow else None
            if output is not None:
                yield Said(f"{page.name}:{output.line}", output.span, output.text, printed)
        elif block.kind == "console":
            yield from _console(session, page, block, slow, records)
    if slow and write and page.slow:
        records.write()


def _console(session: Session, page: Page, block: Block, slow: bool, records: Records) -> Iterator[Said]:
    for command in commands(block.text):
        where = f"{page.name}:{block.line + block.text[: command.span[0]].count(chr(10)) + 1}"
        if block.slow and not slow:
            printed = records.next()
        else:
            printed = session.command(command.line)
            expected = 2 if any(line.startswith("error: ") for line in command.shown.splitlines()) else 0
            if session.code != expected and not (session.code == 1 and "FAILED" in printed):
                raise PageError(f"{where}: {command.line.strip()} ended with {session.code}:\n{printed}")
            records.keep(printed) if block.slow else None
        start = block.span[0]
        if command.shown:  # a command of which nothing is shown only has to succeed
            yield Said(where, (start + command.span[0], start + command.span[1]), command.shown, printed)


class Records:
    """What slow commands of a page printed when they were last run, in order."""

    def __init__(self, page: Page) -> None:
        self._path = RECORDED / f"{page.name.replace('/', '-').removesuffix('.md')}.json"
        self._old: list[str] = json.loads(self._path.read_text("utf-8")) if self._path.exists() else []
        self._at = 0
        self._new: list[str] = []

    def next(self) -> str:
        """What the next command printed.

        Raises:
            PageError: it was never run.
        """
        if self._at >= len(self._old):
            raise PageError(f"{self._path.name} has no record of command {self._at + 1}: make docs-check WRITE=1")
        self._at += 1
        return self._old[self._at - 1]

    def keep(self, printed: str) -> None:
        """Take note of what one printed."""
        self._new.append(printed)

    def write(self) -> None:
        """Replace the record."""
        self._path.parent.mkdir(exist_ok=True)
        self._path.write_text(json.dumps(self._new, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def wrong(page: Page, folder: Path, slow: bool = False) -> list[str]:
    """What a page shows and was not printed, with its lines."""
    found = []
    for said in run(page, folder, slow):
        if difference := shown.difference(said.shown, said.printed, page.varies):
            found.append(f"{said.where}\n{difference}")
    return found


def refreshed(page: Page, folder: Path, slow: bool = False) -> tuple[str, list[str]]:
    """The page with what was printed, and what could not be put in place."""
    text, moved, lost = page.text, 0, []
    for said in run(page, folder, slow, write=True):
        try:
            new = shown.refreshed(said.shown, said.printed, page.varies)
        except ValueError as error:
            lost.append(f"{said.where}\n{error}")
            continue
        start, end = said.span[0] + moved, said.span[1] + moved
        text = text[:start] + new + text[end:]
        moved += len(new) - (end - start)
    return text, lost
