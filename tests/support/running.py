"""What a run of a small network gives on every back-end: a verdict for each column of a row.

*exact* in floats: every spike is equal to that of the NIR reference, every potential to 1e-5. *exact* in integers:
every ``u``, ``v``, spike and message, and how often integers left their range, is equal to the reference back-end.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy import backends
from neurodeploy.backends.lava.lower import lower as to_lava
from neurodeploy.compiler import CompileOptions, compile, limits_of, place
from neurodeploy.errors import NeurodeployError
from neurodeploy.hwsim.chips.arch import Architecture, load_architecture
from neurodeploy.lowering.interpreted import interpreted
from neurodeploy.lowering.lower import lower
from neurodeploy.nir_graph import interpreter, nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.nir_graph.shapes import stages
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record, Recording, check_inputs
from tests import nirgraphs
from tests.conformance import cases
from tests.conformance.compare import difference

from .graphs import DT, MODELS, NODES, RULES, Case, Draw

FLOATS = ("reference", "hwsim", "lava", "onnxruntime")
INTEGERS = ("reference", "hwsim", "lava")
CHIPS = ("loihi1", "loihi2")
STATES = Record(("u", "v"))
BATCH = 3
Inputs = dict[str, np.ndarray]


@dataclass
class Found:
    """What became of a row.

    Args:
        cells: column -> verdict: exact, runs (of a judge), refused, differs, or what a chip says.
        reasons: column -> why it is refused.
        process: "floats" and "integers" -> the Lava Processes of the neurons that the row is about.
        wrong: what must not be: differences, and that nothing spiked.
    """

    cells: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, list[str]] = field(default_factory=dict)
    process: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def refused(self, columns: tuple[str, ...], error: NeurodeployError) -> None:
        """Note a refusal in columns."""
        self.reasons |= {column: [short(error)] for column in columns}
        self.cells.update(dict.fromkeys(columns, "refused"))

    def judged(self, column: str, difference: str) -> None:
        """Note a comparison."""
        self.cells[column] = "differs" if difference else "exact"
        self.wrong += [f"{column}: {difference}"] if difference else []


def short(error: NeurodeployError) -> str:
    """The reason of a refusal, from its message, without the names of a case's own layers and files."""
    said = error.what
    if found := re.search(r"does not fit on (?P<chip>\w+)(?:, for \d+ reasons:\n\s*-|:) '[^']*' (?P<why>[^\n]*)", said):
        said = found["why"].replace(f" of {found['chip']}", " of the chip").replace(found["chip"], "the chip")
    said = re.sub(r"\S*/net\.(?:nir|ndp): ", "", said)
    said = re.sub(r"^(?:node|population|projection|layer) '[^']*':? ?", "", said).strip()
    said = re.sub(r"\b(population|neuron|projection|layer) '[^']*'", r"a \1", said)
    return re.sub(r"\s+", " ", said.replace("|", "/"))


def columns(kind: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Columns of a number format."""
    return tuple(f"{kind}: {name}" for name in names)


@cache
def graph_row(name: str) -> Found:
    """A row about a NIR graph, run."""
    return run_graph((NODES | RULES)[name])


@cache
def model_row(name: str) -> Found:
    """A row about a model of neurons that NIR has no node for, run."""
    return run_model(MODELS[name])


def run_graph(case: Case) -> Found:
    """Run a graph through everything: what each column says."""
    found = Found()
    with tempfile.TemporaryDirectory() as folder:
        path = nirgraphs.write(case.build(Draw()), Path(folder) / "net.nir")
        options = {"dt": DT} | dict(case.conventions)
        try:
            x = spikes(path, case.steps)
            file = nir_file.read(path)
            conventions = resolve(file, **options)
            if stages(file.graph):
                truth = interpreted(file, conventions, lower(file, conventions))(x)
            else:
                truth = interpreter.run(file, x, conventions)
        except NeurodeployError as error:
            everything = columns("floats", FLOATS) + columns("integers", INTEGERS)
            found.refused(("NIR", "quantise", *everything, *CHIPS), error)
            return found
        found.cells["NIR"] = "runs"
        if case.spikes and not all(len(events) for events in truth.spikes.values()):
            found.wrong.append("NIR: a layer never spikes")
        try:
            made = compile(path, None, CompileOptions(conventions=options, integer=False))
        except NeurodeployError as error:
            found.refused((*columns("floats", FLOATS), "quantise", *columns("integers", INTEGERS), *CHIPS), error)
            return found
        _floats(found, made.program, x, truth)
        _integers(found, path, x, options)
        how = CompileOptions(conventions=options, calibration=x)
        for chip in CHIPS:
            on_chip(found, chip, lambda arch: compile(path, arch, how).program)
    return found


def spikes(path: Path, steps: int) -> Inputs:
    """Random spikes for each input of a graph."""
    rng = np.random.default_rng(0)
    shapes = {
        name: node.input_type["input"] for name, node in nir_file.read(path).graph.nodes.items()
        if type(node).__name__ == "Input"
    }  # fmt: skip
    found = {name: (rng.random((steps, BATCH, *shape)) < 0.4).astype(np.uint8) for name, shape in shapes.items()}
    return {"": next(iter(found.values()))} if len(found) == 1 else found


def _floats(found: Found, program: Program, x: Inputs, truth: Recording) -> None:
    for name, column in zip(FLOATS, columns("floats", FLOATS), strict=True):
        try:
            run = backends.get(name)(program, x, record=Record(("v",)))
        except NeurodeployError as error:
            found.refused((column,), error)
            continue
        found.judged(column, apart(truth, run))
    found.process["floats"] = processes(program, x)


def apart(truth: Recording, run: Recording) -> str:
    """Where a run in floats differs from the NIR reference, layer by layer; or that it has no layer to compare."""
    for layer, events in run.spikes.items():
        if layer in truth.spikes and (events.dense() != truth.spikes[layer].dense()).any():
            return f"spikes of {layer}"
    for layer, values in run.states["v"].items():
        if not np.allclose(values, truth.states["v"][layer], rtol=1e-7, atol=1e-5):
            return f"potentials of {layer}"
    lost = (set(truth.spikes) - set(run.spikes)) | (set(truth.states["v"]) - set(run.states["v"]))
    return f"not recorded: {sorted(lost)}" if lost else ""


def _integers(found: Found, path: Path, x: Inputs, options: Mapping[str, Any]) -> None:
    try:
        made = compile(path, None, CompileOptions(conventions=options, calibration=x))
    except NeurodeployError as error:
        found.refused(("quantise", *columns("integers", INTEGERS)), error)
        return
    found.cells["quantise"] = "runs"
    integers_of(found, made.program, x)


def integers_of(found: Found, program: Program, x: Inputs) -> None:
    """Compare the back-ends on an integer Program."""
    assert program.network.arithmetic == "loihi"
    judge = None
    for name, column in zip(INTEGERS, columns("integers", INTEGERS), strict=True):
        try:
            run = backends.get(name)(program, x, record=STATES)
        except NeurodeployError as error:
            found.refused((column,), error)
            continue
        if judge is None:
            judge, found.cells[column] = run, "runs"
        else:
            found.judged(column, difference(judge, run, integer=True))
    found.process["integers"] = processes(program, x)


def processes(program: Program, x: Inputs) -> str:
    """The Process that runs the neurons a row is about: the first population that is no source."""
    try:
        part = replace(program, network=program.network.chip_part)
        given = check_inputs(program.network, x)[2]
        steps, samples = next(iter(given.values())).shape[:2]
        fed = {p.name: given.get(p.name, np.zeros((steps, samples, p.size), np.uint8)) for p in part.network.inputs}
        job = to_lava(part, fed, Record())
    except NeurodeployError:
        return ""
    return next(entry["kind"] for entry in job.description["populations"] if entry["kind"] != "source")


def on_chip(found: Found, chip: str, made: Callable[[Architecture], Program]) -> None:
    """What a chip says: that it fits, in how many compartments, or why not."""
    arch = load_architecture(chip)
    try:
        network = made(arch).network
    except NeurodeployError as error:
        found.refused((chip,), error)
        return
    each = max(
        int(limits_of(arch).compartments(network, p.name).max(initial=1)) for p in network.populations if not p.external
    )
    found.cells[chip] = f"{each} compartments" if each > 1 else "fits"


def run_model(model: str) -> Found:
    """Run the two programs of a model that NIR has no node for; what each column says."""
    found = Found(cells={"NIR": "–"})
    floats, judge = cases.build(model, "float"), None
    for name, column in zip(FLOATS, columns("floats", FLOATS), strict=True):
        try:
            run = backends.get(name)(floats.program, floats.inputs, record=Record(("v",)))
        except NeurodeployError as error:
            found.refused((column,), error)
            continue
        if judge is None:
            judge, found.cells[column] = run, "runs"
            if not all(len(events) for events in run.spikes.values()):
                found.wrong.append("floats: a layer never spikes")
        else:
            found.judged(column, difference(judge, run, integer=False))
    found.process["floats"] = processes(floats.program, floats.inputs)
    integer = cases.build(model, "loihi")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.ndp"
        floats.program.save(path)
        try:
            compile(path, None, CompileOptions(calibration=floats.inputs))
            found.cells["quantise"] = "runs"
        except NeurodeployError as error:
            found.refused(("quantise",), error)
    integers_of(found, integer.program, integer.inputs)
    for chip in CHIPS:
        on_chip(found, chip, lambda arch: place(integer.program.network, arch, {}))
    return found
