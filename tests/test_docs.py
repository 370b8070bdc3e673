"""The documentation: every link leads somewhere, every command and option that it names exists, no page is lost.

``python -m tests.test_docs`` writes the present help of every command into docs/reference-cli.md, what every tool
means into docs/reference-conventions.md, and what is counted into docs/api/counts.md.
"""

from __future__ import annotations

import argparse
import ast
import math
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from neurodeploy.cli import COMMANDS
from neurodeploy.hwsim.chips.arch import available, load_architecture
from neurodeploy.network.neurons import UNLIMITED
from neurodeploy.nir_graph.nodes import KNOWN_NODES
from neurodeploy.nir_graph.tools import NIR, TOOLS, Tool
from neurodeploy.program.count_kinds import KINDS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
HELP = {"-h", "--help", "-V", "--version"}

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_INLINE = re.compile(r"`((?:\w+=\S+ )?neurodeploy(?: [^`]*)?)`")


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix().removeprefix("docs/")


def links(text: str) -> list[str]:
    """Relative targets of a page's links, code left out."""
    prose = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text))
    return [target for target in _LINK.findall(prose) if not re.match(r"[a-z]+:", target)]


def anchors(text: str) -> set[str]:
    """Names of a page's headings as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    """Links of a page that lead nowhere."""
    found = []
    for link in links(text):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        missing = not target.exists()
        if not missing and anchor:
            missing = anchor not in anchors(text if target == page else target.read_text(encoding="utf-8"))
        if missing:
            found.append(link)
    return found


def commands(text: str) -> Iterator[list[str]]:
    """The words of every neurodeploy command line in a page, in blocks of code and in running text."""
    for block in _FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = line.removeprefix("$ ").strip()
            if re.match(r"(?:\w+=\S+ )*neurodeploy ", words):
                yield _words(words)
    for words in _INLINE.findall(_FENCE.sub("", text)):
        yield _words(words)


def _words(line: str) -> list[str]:
    words = shlex.split(re.split(r"\s[|>&;]", line)[0], comments=True)
    return words[words.index("neurodeploy") + 1 :]


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of a command, without --help."""
    parser = argparse.ArgumentParser(add_help=False)
    import_module(f"neurodeploy.cli.{command}").add_arguments(parser)
    return parser


def options(command: str) -> set[str]:
    """The options of a command, as its parser knows them."""
    return {name for action in parser_of(command)._actions for name in action.option_strings}


def wrong_commands(text: str) -> list[str]:
    """What a page calls that does not exist."""
    found = []
    for words in commands(text):
        if not words or words[0] in HELP or words[0].startswith("<"):
            continue
        command, *rest = words
        if command not in COMMANDS:
            found.append(f"neurodeploy {command}")
            continue
        known = options(command) | HELP
        for word in rest:
            option = word.partition("=")[0]
            if re.match(r"--?[a-zA-Z]", option) and option not in known:
                found.append(f"neurodeploy {command} {option}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_and_options_exist(page: Path) -> None:
    assert wrong_commands(page.read_text(encoding="utf-8")) == []


def test_every_page_can_be_reached_from_the_index() -> None:
    reached, waiting = set(), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        for link in links(page.read_text(encoding="utf-8")):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.is_relative_to(DOCS.resolve()):
                waiting.append(DOCS / target.relative_to(DOCS.resolve()))
    assert sorted(named(page) for page in DOCS.rglob("*.md") if page not in reached) == []


def test_the_page_on_chips_says_what_their_files_know() -> None:
    page = (DOCS / "reference-chips.md").read_text(encoding="utf-8")
    for name in available():
        chip = load_architecture(name)
        energies, times = (
            [p for key in type(part).model_fields if (p := getattr(part, key)).value is not None]
            for part in (chip.energy, chip.latency)
        )
        operation = chip.energy.synaptic_operation
        price = "–" if operation.value is None else f"{operation.value:g} pJ"
        price += " all-in" if operation.scope == "all-in" and operation.value is not None else ""
        sure = ", ".join(sorted({str(p.confidence) for p in (*energies, *times)})) or "–"
        row = f"| `{name}` | {chip.title} | {price} | {len(energies)} | {len(times)} | {sure} |"
        assert row in page
    assert len(re.findall(r"^\| `", page, re.MULTILINE)) == len(available())


@pytest.mark.parametrize("command", COMMANDS)
def test_the_reference_holds_the_help_of_every_command(command: str) -> None:
    """Names and texts, but not their layout, which differs between versions of Python."""
    page = (DOCS / "reference-cli.md").read_text(encoding="utf-8")
    assert f"  {command} " in page and COMMANDS[command] in page
    section = page.partition(f"\n## {command}\n")[2].partition("\n## ")[0]
    assert section, f"reference-cli.md has no section on {command}"
    named = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", section))
    assert sorted(options(command) - named) == []
    assert sorted(option for option in named - options(command) - HELP if f"  {option}" in section) == []
    flat = " ".join(section.split())
    texts = [" ".join(action.help.split()) for action in parser_of(command)._actions if action.help]
    assert [text for text in texts if text not in flat] == [], "run: python -m tests.test_docs"


def test_the_reference_names_every_node() -> None:
    page = (DOCS / "reference-support.md").read_text(encoding="utf-8")
    assert [node for node in KNOWN_NODES if f"`{node}`" not in page] == []


def tools_table() -> str:
    """The conventions of every tool, where they are not NIR's own, and what each row is founded on."""
    columns = ("dt", *NIR)
    lines = ["| `--as` | " + " | ".join(f"`{name}`" for name in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    founded = []
    for name, tool in TOOLS.items():
        cells = [_cell(tool, column) for column in columns]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
        founded.append(f"- **{tool.title}**: {tool.source}. Measured against its own spikes: {tool.measured}.")
    return "\n".join([*lines, "", *founded])


def _cell(tool: Tool, column: str) -> str:
    value = tool.values[column]
    own = "from the file" if value is None else f"{value:g} s" if column == "dt" else f"`{_number(value)}`"
    text = "" if column != "dt" and value == NIR[column] else own
    others = [f"{kind}: `{_number(v[column])}`" for kind, v in tool.by_kind.items() if column in v]
    if column == "reset_time":
        others += [f"hard, {kind}: `{time}`" for kind, time in tool.hard_time.items()]
    return ", ".join(filter(None, (text, *others)))


def _number(value: object) -> object:
    return {UNLIMITED: "unlimited", -math.inf: "none"}.get(value, value)


def with_table(page: str, name: str, table: str) -> str:
    """A page with another table between its marks."""
    before, _, rest = page.partition(f"<!-- {name} -->\n")
    return f"{before}<!-- {name} -->\n{table}\n<!-- /{name} -->{rest.partition(f'<!-- /{name} -->')[2]}"


def with_tools(page: str) -> str:
    """docs/reference-conventions.md with the present table of tools."""
    return with_table(page, "tools", tools_table())


def with_kinds(page: str) -> str:
    """docs/api/counts.md with the present table of what inference counts."""
    lines = ["| `name` | in words | unit | counted by | priced as |", "|---|---|---|---|---|"]
    for kind in KINDS:
        if kind.part == "inference":
            prices = ", ".join(f"`{price}`" for price in kind.prices)
            lines.append(f"| `{kind.name}` | {kind.label} | {kind.unit} | {', '.join(kind.counted)} | {prices} |")
    return with_table(page, "kinds", "\n".join(lines))


def test_the_page_on_counts_holds_every_kind() -> None:
    page = (DOCS / "api" / "counts.md").read_text(encoding="utf-8")
    assert page == with_kinds(page), "run: python -m tests.test_docs"
    assert "| `sops` |" in page


def test_the_page_on_conventions_holds_the_row_of_every_tool() -> None:
    page = (DOCS / "reference-conventions.md").read_text(encoding="utf-8")
    assert page == with_tools(page), "run: python -m tests.test_docs"
    assert all(f"| `{name}` | " in page for name in TOOLS)


def unknown_names(text: str) -> list[str]:
    """What Python blocks of a page import from neurodeploy, or use of modules of it, that is not there."""
    found = []
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if "->" in block and "import" not in block:
            continue  # a signature, not a program
        tree = ast.parse(block)
        modules = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "neurodeploy":
                assert node.module is not None
                for alias in node.names:
                    try:
                        value = getattr(import_module(node.module), alias.name, None)
                        value = import_module(f"{node.module}.{alias.name}") if value is None else value
                    except ModuleNotFoundError:
                        found.append(f"{node.module}.{alias.name}")
                        continue
                    if isinstance(value, ModuleType):
                        modules[alias.asname or alias.name] = value
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                module = modules[node.value.id]
                if not hasattr(module, node.attr):
                    found.append(f"{module.__name__}.{node.attr}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_python_in_the_pages_uses_what_exists(page: Path) -> None:
    assert unknown_names(page.read_text(encoding="utf-8")) == []


GROUPS = {f"neurodeploy.{group}" for group in ("backends", "neurons", "passes")}
"""Entry points that other packages fill; they are called as modules are, and are none."""


def is_there(name: str) -> bool:
    """Whether a dotted name is a module, or something in one: a function, a field, a method."""
    parts = name.split(".")
    for depth in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(parts[:depth]))
        except ModuleNotFoundError:
            continue
        for part in parts[depth:]:
            fields = {**getattr(found, "__dataclass_fields__", {}), **getattr(found, "model_fields", {})}
            if part not in fields and not hasattr(found, part):
                return False
            found = fields.get(part) or getattr(found, part)
        return True
    return False


def test_every_name_of_ours_in_backticks_exists() -> None:
    """In docstrings and pages. The site makes links of those that the reference has, and says nothing of others."""
    sources = [path for room in ("neurodeploy", "hwsim", "exporters", "models") for path in (ROOT / room).rglob("*.py")]
    names = {
        (name, path.relative_to(ROOT).as_posix())
        for path in (*sources, *PAGES)
        for name in re.findall(r"(?<![`\w])`(neurodeploy(?:\.\w+)+)`(?!`)", path.read_text(encoding="utf-8"))
    }
    assert len(names) > 100
    assert sorted((name, path) for name, path in names if name not in GROUPS and not is_there(name)) == []
    assert not is_there("neurodeploy.network.nowhere") and not is_there("neurodeploy.network.network.Network.nowhere")


def models_of(page: str) -> tuple[str, ModuleType]:
    """The text of a how-to page, and the file that it starts from, run; with fewer time steps, to be quick."""
    text = (DOCS / page).read_text(encoding="utf-8")
    named = re.search(r"here in `(\w+)\.py`", text)
    code = re.search(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert named and code
    module = ModuleType(named[1])
    quick = code[1].replace("num_steps = 25", "num_steps = 6").replace("seq_length=32", "seq_length=8")
    exec(compile(quick, f"{named[1]}.py", "exec"), vars(module))
    return text, module


@pytest.mark.parametrize(
    ("framework", "name", "shape"),
    [
        ("snntorch", "Net", (3, 64)),
        ("snntorch", "Rated", (3, 64)),
        ("spikingjelly", "CSNN", (3, 1, 8, 8)),
        ("norse", "Model", (3, 1, 8, 8)),
        ("sinabs", "net", (50 * 3, 1, 8, 8)),
    ],
)
def test_the_network_of_each_page_is_exported_as_it_says(
    framework: str, name: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    """With other weights than on the page, so that its counts are not compared, but what it says of the module is."""
    pytest.importorskip(framework)
    import numpy as np
    import torch

    from neurodeploy.exporters.user_calls import MEANING
    from neurodeploy.verify.export_proof import export_proven

    torch.manual_seed(0)
    text, models = models_of(f"howto-export-{framework}.md")
    made = getattr(models, name)
    module = (made() if isinstance(made, type) else made).eval()
    with torch.no_grad():
        for weights in module.parameters():
            weights.mul_(3 if weights.dim() > 1 else 1)
    sample = np.random.default_rng(0).random(shape, dtype=np.float32)
    sample = (sample < 0.4).astype(np.float32) if name == "net" else sample
    captured = export_proven(module, sample, None, tmp_path / "net.nir").captured
    assert captured.answer is not None
    assert MEANING[captured.usage.axis] in text
    assert f"\nanswer: {captured.answer.described()}\n" in text
    for encoder in captured.encoded:
        assert f"\nencoder, which stays on the host: {encoder}; give its spikes to the file\n" in text


def test_no_page_is_long() -> None:
    lines = {named(page): page.read_text(encoding="utf-8").count("\n") for page in DOCS.rglob("*.md")}
    del lines["reference-cli.md"]  # it holds the help of every command
    assert {name: count for name, count in lines.items() if count > 200} == {}


def test_the_checks_find_what_is_wrong() -> None:
    text = (
        "# Title here\n[a](missing.md) [b](#nowhere) [c](#title-here) [d](https://example.org) `[e](gone.md)`\n"
        "Run `neurodeploy fly` or `neurodeploy run --fast p.ndp`.\n"
        "```\n$ HOME=/x neurodeploy export a.py:net \\\n  --shape 4 --jump -o a.nir   # --not an option\n```\n"
    )
    assert broken_links(ROOT / "README.md", text) == ["missing.md", "#nowhere"]
    assert wrong_commands(text) == ["neurodeploy export --jump", "neurodeploy fly", "neurodeploy run --fast"]
    code = "```python\nfrom neurodeploy.nir_graph import nir_file, nowhere\nnir_file.read\nnir_file.burn()\n```\n"
    assert unknown_names(code) == ["neurodeploy.nir_graph.nowhere", "neurodeploy.nir_graph.nir_file.burn"]


def refreshed(page: str) -> str:
    """docs/reference-cli.md with the first block of every section replaced by the command's help.

    A command without a section gets one before the last, which is on something else.
    """
    from neurodeploy import cli

    before, last = page.rsplit("\n## ", 1)
    new = [command for command in COMMANDS if f"\n## {command}\n" not in page]
    page = (
        before
        + "".join(f"\n## {command}\n\n<!-- help -->\n```text\n```\n<!-- /help -->\n" for command in new)
        + "\n## "
        + last
    )
    sections = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    for index, section in enumerate(sections):
        command = section.partition("\n")[0].removeprefix("## ")
        if index == 0:
            text = cli._overview()
        elif command in COMMANDS:
            parser = argparse.ArgumentParser(
                prog=f"neurodeploy {command}", description=COMMANDS[command].capitalize() + "."
            )
            import_module(f"neurodeploy.cli.{command}").add_arguments(parser)
            text = parser.format_help()
        else:
            continue
        block = f"```text\n{text.rstrip()}\n```"
        sections[index] = _FENCE.sub(lambda _, block=block: block, section, count=1)
    return "".join(sections)


def test_refreshing_the_reference_keeps_its_text() -> None:
    page = (DOCS / "reference-cli.md").read_text(encoding="utf-8")
    assert _FENCE.sub("", refreshed(page)) == _FENCE.sub("", page)
    assert "--chip" in refreshed(re.sub("--chip", "--crisp", page))
    without = re.sub(r"## report\n.*?(?=## )", "", page, flags=re.DOTALL)
    assert "neurodeploy report [-h]" not in without
    assert "neurodeploy report [-h]" in refreshed(without)


if __name__ == "__main__":
    import os

    os.environ["COLUMNS"] = "110"
    path = DOCS / "reference-cli.md"
    path.write_text(refreshed(path.read_text(encoding="utf-8")), encoding="utf-8")
    path = DOCS / "reference-conventions.md"
    path.write_text(with_tools(path.read_text(encoding="utf-8")), encoding="utf-8")
    path = DOCS / "api" / "counts.md"
    path.write_text(with_kinds(path.read_text(encoding="utf-8")), encoding="utf-8")
