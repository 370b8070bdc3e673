"""The notebook of the docs, in a real kernel: eight lines from a torch module to a report, and tables to look at."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "notebook.ipynb"


def code(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """The text of each cell of code, by its name."""
    return {cell.id: cell.source for cell in notebook.cells if cell.cell_type == "code"}


def test_it_takes_eight_lines() -> None:
    cells = code(nbformat.read(PAGE, as_version=4))
    given = cells.pop("module")  # imports, the module and its data
    assert next(iter(code(nbformat.read(PAGE, as_version=4)))) == "module"
    lines = [line for text in cells.values() for line in text.splitlines() if line.strip()]
    assert len(lines) <= 8 and sum(len(ast.parse(text).body) for text in cells.values()) == len(lines)
    assert "nd." not in given.replace("import neurodeploy as nd", "")  # nothing of ours is done before
    assert lines[0] == "model = nd.export(module, x)" and lines[-1].startswith('program.report("report.html"')


def test_it_runs_and_shows_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    notebook = nbformat.read(PAGE, as_version=4)
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    client.execute()
    shown = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    printed = [out for outputs in shown.values() for out in outputs if out.get("name") == "stdout"]
    assert printed == []  # progress, where it takes long, goes to standard error
    html = {name: out[-1].data.get("text/html", "") for name, out in shown.items() if out}
    for name, words in {
        "export": ("Model Net.nir, proven equal", "lif1"),
        "compile": ("all of it fits", "synapse memory", "<td>yes, on one core</td>"),
        "run": ("8 samples, 25 steps", "<td>lif2</td>"),
        "verify": ("<caption>passed</caption>", "torch = NIR", "integer network = hwsim"),
        "cost": ("nJ", "synaptic operations", "time (link tier)"),
    }.items():
        assert html[name].startswith("<table>"), name
        assert [word for word in words if word not in html[name]] == [], (name, html[name])
    assert "report.html" in shown["report"][-1].data["text/plain"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "Net on Intel Loihi" in page
