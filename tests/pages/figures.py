"""Figures in running text: each was printed on the page by something that was run, or says where it comes from.

A figure is a number from 10 on, or one with a decimal point. It stands on the page in a block of code, in what one
printed, in code within a line or in a generated table, all of which other tests run; or in `docs/facts/PAGE.yaml`:

.. code-block:: yaml

    - say: takes 23.6 pJ                # these words stand on the page
      file: hwsim/chips/archs/loihi1.yaml # the figures stand in this file of the repository, too; so do rows of a table
      # or one of
      measured: benchmarks/scale.py     # a script that is there: for speeds, which differ from machine to machine
      published: Davies et al., IEEE Micro 38(1), 2018, Table 2
      computed: 2**23 == 8388608        # true
      defined: Loihi's register         # a convention, a size that somebody chose
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from .blocks import DOCS, ROOT, Page

_NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)*")
_ANYWHERE = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)*")
_CODE = re.compile(
    r"^```text\n(?P<text>.*?)^```|^```.*?^```|`[^`\n]+`|<!-- (?P<table>[\w ]+) -->\n.*?<!-- /(?P=table) -->|<!--.*?-->",
    re.MULTILINE | re.DOTALL,
)
_TARGET = re.compile(r"\]\([^)]*\)|<https?:[^>]*>")
_FUNCTIONS = {"round": round, "sum": sum, "len": len, "range": range}
_FUNCTIONS = {"len": len, "range": range, "round": round, "sum": sum}
ORIGINS = ("file", "measured", "published", "computed", "defined")


def figures(text: str) -> set[str]:
    """The figures of a text, without commas."""
    found = (number.replace(",", "") for number in _NUMBER.findall(text))
    return {number for number in found if "." in number or int(number) >= 10}


def prose(page: Page) -> str:
    """A page without its code, its comments and the targets of its links."""
    return _TARGET.sub("] ", _CODE.sub(lambda code: f" {code['text'] or ''} ", page.text))


def run(page: Page) -> set[str]:
    """The figures in what a page runs, what that printed, and in its generated tables."""
    codes = (code for code in _CODE.finditer(page.text) if code["text"] is None)
    parts = (code[0] for code in codes if not code[0].startswith("<!--") or code["table"])
    return {number.replace(",", "") for part in parts for number in _ANYWHERE.findall(part)}


def facts(page: Page) -> list[dict[str, Any]]:
    """What docs/facts says of a page."""
    path = DOCS / "facts" / f"{page.name.replace('/', '-').removesuffix('.md')}.yaml"
    return yaml.safe_load(path.read_text("utf-8")) if path.exists() else []


def wrong(page: Page) -> list[str]:
    """What is wrong with the figures of a page, in words."""
    text = " ".join(prose(page).split())
    plain = " ".join(page.text.split())
    known = run(page)
    found = []
    for fact in facts(page):
        said = " ".join(str(fact["say"]).split())
        known |= figures(said)
        if said not in plain and said not in text:
            found.append(f"docs/facts says of {page.name} what does not stand there: {said}")
        if problem := _origin(fact):
            found.append(f"{page.name}: {said}: {problem}")
    return found + [f"{page.name}: {figure} comes from nowhere" for figure in sorted(figures(text) - known)]


def _origin(fact: dict[str, Any]) -> str:
    """What is wrong with where a fact comes from."""
    given = [key for key in ORIGINS if key in fact]
    if len(given) != 1 or set(fact) != {"say", given[0]}:
        return f"a fact has `say` and one of {', '.join(ORIGINS)}"
    (kind,) = given
    value, said = str(fact[kind]), " ".join(str(fact["say"]).split())
    if kind == "computed" and eval(value, {"__builtins__": _FUNCTIONS}) is not True:
        return f"{value} is not true"
    path = ROOT / value.split()[0]
    if kind in ("file", "measured") and not path.is_file():
        return f"{value} is not there"
    if kind in ("computed", "file"):
        text = value if kind == "computed" else path.read_text("utf-8")
        if said.startswith("|") and "|---" in text and said not in " ".join(text.split()):
            return f"no such row in {value}"
        there = {one.replace(",", "") for one in _ANYWHERE.findall(text)}
        there |= {f"{float(one):g}" for one in there if one.count(".") < 2}
        there |= {one.rpartition(".")[0] for one in there if one.count(".") == 2}  # a version without its last part
        lost = sorted(figures(str(fact["say"])) - there)
        return f"{', '.join(lost)} not in {value}" if lost else ""
    return ""
