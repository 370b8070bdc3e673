"""What a page says in figures was printed by something, or says where it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import blocks, figures
from .__main__ import pages


def named(path: Path) -> str:
    return path.relative_to(blocks.ROOT).as_posix().removeprefix("docs/")


@pytest.mark.parametrize("path", pages(), ids=named)
def test_figures_come_from_somewhere(path: Path) -> None:
    assert figures.wrong(blocks.read(path)) == []


def test_what_is_false_is_found(tmp_path: Path) -> None:
    code = "\n\n```python\nprint(1234)\n```\n```\n1234\n5.6\n```\n"
    text = f"Of 1,234 spikes, 5.6 % differ; 8 do not. `11` and float64.{code}"
    page = blocks.parsed(text, blocks.DOCS / "nowhere.md")
    assert figures.wrong(page) == []
    for wrong, figure in (("1,234 spikes", "1,235 spikes"), ("5.6 %", "5.7 %"), ("8 do", "18 do")):
        assert len(figures.wrong(blocks.parsed(text.replace(wrong, figure), page.path))) == 1
