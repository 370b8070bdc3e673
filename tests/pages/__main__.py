"""Run pages of the documentation.

``python -m tests.pages [PAGE ...]`` writes what was printed into the pages (all of them without names);
``--check`` only says what is not true, ``--slow`` also runs what takes minutes and records it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from . import blocks, picture, running


def main() -> int:
    """Exit code: 1 where a page says something else than what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.pages", description=__doc__)
    parser.add_argument("pages", nargs="*", help="README.md, or a name below docs/ (default: all)")
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--slow", action="store_true", help="run what takes minutes, too")
    args = parser.parse_args()
    bad = 0
    for path in pages():
        if args.pages and path.relative_to(blocks.ROOT).as_posix().removeprefix("docs/") not in args.pages:
            continue
        page = blocks.read(path)
        if args.slow and not args.pages and not page.slow:
            continue
        with tempfile.TemporaryDirectory() as folder:
            if args.check:
                lost = running.wrong(page, Path(folder).resolve(), args.slow)
            else:
                text, lost = running.refreshed(page, Path(folder).resolve(), args.slow)
                path.write_text(text, encoding="utf-8")
                report = Path(folder).resolve() / "demo-output" / "report.html"
                if args.slow and report.exists():
                    picture.take(report, running.Records(blocks.read(path)).next())
        for one in lost:
            sys.stdout.write(one + "\n\n")
        sys.stdout.write(f"{page.name}: {'wrong' if lost else 'true'}\n")
        bad += bool(lost)
    return 1 if bad else 0


def pages() -> list[Path]:
    """README.md and all pages of docs/ that have code or outputs."""
    return sorted([blocks.ROOT / "README.md", *blocks.DOCS.rglob("*.md")])


if __name__ == "__main__":
    sys.exit(main())
