"""README, tutorial, explanations and reference, run: what they show is what is printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from . import blocks, picture, running, shown
from .checks import check, named, some


@pytest.mark.parametrize("path", some(""), ids=named)
def test_page(path: Path, tmp_path: Path) -> None:
    check(path, tmp_path)


@given(st.data())
def test_a_figure_that_is_changed_is_found(data: st.DataObject) -> None:
    """In any digit of any output of any page."""
    page = blocks.read(data.draw(st.sampled_from(some("") + some("howto-"))))
    outputs = [
        text
        for block in page.blocks
        if block.kind in ("console", "output")
        for text in ([block.text] if block.kind == "output" else [c.shown for c in blocks.commands(block.text)])
        if any(character.isdigit() for character in text)
    ]
    if outputs:
        text = data.draw(st.sampled_from(outputs))
        at = data.draw(st.sampled_from([at for at, character in enumerate(text) if character.isdigit()]))
        other = text[:at] + str((int(text[at]) + data.draw(st.integers(1, 9))) % 10) + text[at + 1 :]
        printed = "".join(line.removesuffix("...") + "\n" for line in text.splitlines())
        assert shown.difference(text, printed) == ""
        assert shown.difference(other, printed) != ""


def test_the_picture_of_the_report_is_that_of_the_demo_on_the_page() -> None:
    page = blocks.read(blocks.ROOT / "README.md")
    printed = running.Records(page).next()
    assert printed.count("digits-mlp") > 5
    assert picture.shows() == picture.digest(printed), "make docs-check WRITE=1"
    assert picture.digest(printed.replace("98.44", "98.45")) != picture.digest(printed)


PAGE = """# A page

<!-- run: import pathlib; pathlib.Path("given.txt").write_text("7\\n") -->

```python title="own.py"
value = 41
```

```python
import own
print(own.value + 1)
```
```
42
```

```console
$ cat given.txt own.py
7
...
$ neurodeploy fly
error: unknown command 'fly'
...
```

*Not run by the tests: it is a shape.*

```python
def run(program): ...
```
"""


def test_a_page_is_run_in_its_folder(tmp_path: Path) -> None:
    def wrong(text: str) -> list[str]:
        return running.wrong(blocks.parsed(text, blocks.DOCS / "a.md"), tmp_path)

    assert wrong(PAGE) == []
    assert [one.partition("\n")[0] for one in wrong(PAGE.replace("\n42\n", "\n43\n"))] == ["a.md:13"]
    assert [one.partition("\n")[0] for one in wrong(PAGE.replace("py\n7\n", "py\n8\n"))] == ["a.md:19"]
    with pytest.raises(blocks.PageError, match="ended with 2"):
        wrong(PAGE.replace("error: unknown command 'fly'\n", ""))
    refreshed, lost = running.refreshed(
        blocks.parsed(PAGE.replace("42", "?").replace("py\n7", "py\n6"), blocks.DOCS / "a.md"), tmp_path
    )
    assert (refreshed, lost) == (PAGE, [])


def test_a_block_of_which_nothing_is_said_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    for text in ("```\nmake demo\n```\n", "```yaml\na: 1\n```\n"):
        page.write_text(text)
        with pytest.raises(blocks.PageError, match=r"a.md:1"):
            blocks.read(page)
