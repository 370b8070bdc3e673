"""The house: who may import whom, how many modules lie loose, how long a file is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).parents[1]
LINKED = ("hwsim", "exporters", "models")
FLOORS = (
    ("cli",), ("api",), ("report",), ("evaluate",), ("verify",), ("compiler", "conversion"),
    ("passes", "learning", "exporters", "profile", "lowering"), ("backends", "hwsim", "placement", "nir_graph"),
    ("program", "events", "models"), ("files", "packages"), ("network",), ("errors",),
)  # fmt: skip
"""From the top down: a room may import from the floors below its own, and from itself."""
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
LONGEST = 500


def sources() -> Iterator[tuple[str, Path]]:
    """Dotted name and file of every module of the product."""
    for folder in ("neurodeploy", *LINKED):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if parts[:2] not in {("neurodeploy", link) for link in LINKED}:
                yield ".".join((() if folder == "neurodeploy" else ("neurodeploy",)) + parts), path


def imports(module: str, path: Path) -> Iterator[str]:
    """Absolute names of all that a module imports, wherever in it; a member of a package by its own name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -node.level] if node.level else []
            base += node.module.split(".") if node.module else []
            yield from (".".join((*base, name.name)) for name in node.names)


def edges() -> Iterator[tuple[str, str]]:
    """Importer and imported module, both of the product."""
    known = {name.removesuffix(".__init__") for name, _ in sources()}
    for name, path in sources():
        for found in imports(name, path):
            target = found if found in known else found.rpartition(".")[0]
            if target in known:
                yield name.removesuffix(".__init__"), target


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_imports_go_down() -> None:
    wrong = [
        f"{a} -> {b}"
        for a, b in edges()
        if room(b) and room(a) not in ("", "__main__", room(b)) and FLOOR[room(a)] >= FLOOR[room(b)]
    ]
    assert not wrong, "imports that run up or along a floor:\n" + "\n".join(sorted(set(wrong)))


def test_every_import_between_rooms_is_absolute_and_within_a_room_relative() -> None:
    wrong = []
    for name, path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and not node.level and node.module and room(node.module):
                own = node.module.startswith("neurodeploy.") and room(node.module) == room(name)
                if own and room(name) not in ("__main__", "cli"):
                    wrong.append(f"{name}: {node.module}")
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = nx.DiGraph((a, b) for a, b in edges() if a != b and not (a + ".").startswith(b + "."))
    assert list(nx.simple_cycles(graph)) == []


def test_few_modules_lie_loose_and_none_is_long() -> None:
    loose = sorted(path.name for path in (ROOT / "neurodeploy").glob("*.py"))
    assert len(loose) < 6, loose
    long = {name: n for name, path in sources() if (n := len(path.read_text().splitlines())) > LONGEST}
    assert not long


KERNEL = {"compiled", "inlined", "overload", "intrinsic"}
"""Decorators of functions that numba compiles: their arguments are the tables that they walk."""


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    """Functions at the top of a module and of its classes that are no kernels, nor stand for one."""
    for node in ast.walk(ast.parse(path.read_text())):
        for item in node.body if isinstance(node, (ast.Module, ast.ClassDef)) else ():
            if isinstance(item, ast.FunctionDef):
                names = {n.id for d in item.decorator_list for n in ast.walk(d) if isinstance(n, ast.Name)}
                stub = ast.unparse(item.body[-1]) == "..."
                if not names & KERNEL and not stub:
                    yield item


def test_functions_fit_in_a_head() -> None:
    wrong = []
    for name, path in sources():
        for item in functions(path) if not name.endswith("kernels") else ():
            given = [a.arg for a in (*item.args.posonlyargs, *item.args.args, *item.args.kwonlyargs)]
            lines, count = item.end_lineno - item.lineno + 1, len([a for a in given if a not in ("self", "cls")])  # type: ignore[operator]
            if lines > 80 or count > 8:
                wrong.append(f"{name}.{item.name}: {lines} lines, {count} parameters")
    assert not wrong, "\n".join(wrong)


def test_nothing_is_told_apart_by_a_neurons_type() -> None:
    """Parts look a model up in their tables (`neurodeploy.network.dispatch`); no `isinstance`, so no `else`."""
    models = {"Neuron", "Source", "Lif", "SigmaDelta", "Product"}
    wrong = []
    for name, path in sources():
        if room(name) in ("exporters", "models"):  # their neurons are those of the frameworks
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            asked = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance"
            if asked and models & {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)}:
                wrong.append(f"{name}:{node.lineno}")
    assert not wrong, wrong
