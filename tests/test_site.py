"""The site of the documentation: built without a warning, it holds everything and loads nothing from elsewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

import neurodeploy

pytest.importorskip("mkdocs")

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build a site; the return code is not 0 where there is anything to warn of."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", config, "--site-dir", site],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stderr
    return folder


def plugin(name: str) -> ModuleType:
    """A module of docs/plugins/."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "plugins" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Seen(HTMLParser):
    """What a page has: ids, what its links lead to, what it loads, and its text outside blocks of code."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.text = ""
        self._code = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.add(given.get("id", ""))
        if tag == "a":
            self.links.append(given.get("href", ""))
        elif tag == "link":
            self.loaded.append(given.get("href", ""))
        else:
            self.loaded += [given[name] for name in ("src", "srcset", "data", "poster") if name in given]
        self._code += tag in ("pre", "code", "script")

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in ("pre", "code", "script")

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.text += data


def pages(site: Path) -> Iterator[tuple[Path, Seen]]:
    for path in sorted(site.rglob("*.html")):
        if path.name != "404.html":  # its links are from the top of a server
            yield path, Seen(path.read_text(encoding="utf-8"))


def elsewhere(address: str) -> bool:
    return re.match(r"(?:[a-z]+:)?//", address) is not None


def test_every_public_name_is_on_a_page_of_the_reference(site: Path) -> None:
    found = {one for path in (site / "api").glob("*.html") for one in Seen(path.read_text(encoding="utf-8")).ids}
    assert [name for name in neurodeploy.__all__ if f"neurodeploy.{name}" not in found] == []


def test_every_concept_has_a_page_with_its_types(site: Path) -> None:
    concepts = {
        "network": "network.network.Network", "program": "program.program.Program", "time": "program.schedule.Schedule",
        "integers": "network.loihi_ranges.effective_weights", "counts": "hwsim.counts.counts.Counts",
        "prices": "hwsim.prices.pricing.Bill", "learning": "network.plasticity.LearningRule",
    }  # fmt: skip
    for page, name in concepts.items():
        assert f"neurodeploy.{name}" in Seen((site / "api" / f"{page}.html").read_text(encoding="utf-8")).ids


def test_every_page_is_in_the_navigation() -> None:
    from mkdocs.config import load_config

    def named(entry: object) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, dict):
            yield from (name for value in entry.values() for name in named(value))
        elif isinstance(entry, list):
            yield from (name for value in entry for name in named(value))

    found = sorted(named(load_config(str(ROOT / "mkdocs.yml")).nav))
    assert found == sorted([*(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")), "readme.md"])


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for path, page in pages(site):
        assert page.loaded, path
        assert [address for address in page.loaded if elsewhere(address)] == [], path
        assert 'class="mermaid"' not in path.read_text(encoding="utf-8"), "the theme fetches what draws mermaid"
    for path in site.rglob("*.css"):
        style = path.read_text(encoding="utf-8")
        fetched = re.findall(r"url\(\s*[\"']?([^\"')]+)", style) + re.findall(r"@import\s+[\"']([^\"']+)", style)
        assert [address for address in fetched if elsewhere(address)] == [], path


def test_every_link_within_the_site_leads_to_a_page_and_a_place_on_it(site: Path) -> None:
    ids = {path.resolve(): page.ids for path, page in pages(site)}
    wrong = []
    for path, page in pages(site):
        for link in (*page.links, *page.loaded):
            file, _, anchor = unquote(link).partition("#")
            target = (path.parent / file).resolve() if file else path.resolve()
            if not re.match(r"[a-z]+:", link) and not (target.is_file() and anchor in ids.get(target, {anchor}) | {""}):
                wrong.append(f"{path.relative_to(site)}: {link}")
    assert wrong == []


def test_markup_has_become_text(site: Path) -> None:
    """Tables, fences, references and emphasis that nobody understood are left as they were written."""
    marks = ("|---", "```", "](", "][", "**", "<autoref", ":::", "Args:")
    wrong = [f"{path.relative_to(site)}: {mark}" for path, page in pages(site) for mark in marks if mark in page.text]
    assert wrong == []


def test_a_link_to_a_source_file_leads_to_a_page_that_shows_it(site: Path) -> None:
    page = site / "explanation-integers.html"
    (link,) = {one for one in Seen(page.read_text(encoding="utf-8")).links if "neurons.py" in one}
    text = re.sub(r"<[^>]*>", "", (page.parent / link).read_text(encoding="utf-8"))
    assert "def largest_message(self, arithmetic: Arithmetic) -&gt; int:" in text
    assert "You have trained a spiking neural network" in (site / "readme.html").read_text(encoding="utf-8")


def test_fields_of_an_architecture_file_are_documented(site: Path) -> None:
    """They are pydantic's, of which griffe knows nothing by itself."""
    text = re.sub(r"<[^>]*>", "", (site / "api" / "prices.html").read_text(encoding="utf-8"))
    for field in ("synaptic_operation_kernel: ", "neurons_per_core: ", "static_power_per_core: "):
        assert field in text
    assert "index_bits: int,\n" not in text, "a property is no argument"


def test_what_is_wrong_is_not_built(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(
        "# Title\n\n[a](gone.md) [b](#gone) [c][neurodeploy.gone] [d](#title) [e][neurodeploy.errors.StorageError]\n\n"
        "::: neurodeploy.errors\n"
    )
    (tmp_path / "docs" / "lost.md").write_text("# Lost\n")
    (tmp_path / "mkdocs.yml").write_text(
        f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: docs\nnav: [index.md]\nhooks: [{DOCS / 'plugins' / 'links.py'}]\n"
        f"plugins:\n  mkdocstrings: {{handlers: {{python: {{paths: [{ROOT}], options: {{extensions: []}}}}}}}}\n"
        "extra_css: []\n"
    )
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    warnings = done.stderr.split("WARNING -")[1:]
    told = ("'gone.md'", "'#gone'", "neurodeploy.gone", "lost.md")
    assert len(warnings) == len(told), done.stderr
    assert [one for one in told if not any(one in warning for warning in warnings)] == []


def test_docstrings_of_the_house_are_rewritten_for_griffe() -> None:
    rewritten = plugin("docstrings")
    assert rewritten.apart("Args:\n    a, b: of one kind,\n        or two.\n    c: 1, 2: both.\n") == (
        "Args:\n    a: of one kind,\n        or two.\n    b: of one kind,\n        or two.\n    c: 1, 2: both.\n"
    )
    told = rewritten.linked("see `neurodeploy.cli`, ``neurodeploy.cli``, `neurodeploy run` and `run`")
    assert told.count("<autoref") == 1 and "``neurodeploy.cli``" in told


def test_links_that_leave_docs_are_told_from_those_that_stay() -> None:
    links = plugin("links")
    assert links.outside("index.md", "../README.md") == "README.md"
    assert links.outside("api/time.md", "../../hwsim/engine.py") == "hwsim/engine.py"
    assert links.outside("api/time.md", "../explanation-time.md") == ""
    assert links.outside("index.md", "../gone.py") == ""
    assert links.LINK.findall("[a](x.md#y) [b](https://example.org) [c](#z) `f(x)`") == ["x.md"]
