"""What a file holds: populations and projections, what was assumed, and what other tools would make of it."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from neurodeploy.compiler import lacks
from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.files.tables import html_table
from neurodeploy.hwsim.chips.arch import Architecture
from neurodeploy.hwsim.chips.embedded import architecture_of, arithmetic_of, known_chip
from neurodeploy.lowering.lava_dl import read_net
from neurodeploy.lowering.lower import lower
from neurodeploy.network.host import HostStage, fed
from neurodeploy.network.network import Network, Population, Projection, check_registers
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import named, resolve
from neurodeploy.nir_graph.nir_file import NirFile
from neurodeploy.nir_graph.recognise import Recognised, recognise
from neurodeploy.nir_graph.shapes import delayed_edges, kind, of_kind, shapes
from neurodeploy.program.program import Program
from neurodeploy.report.diagram import svg, text
from neurodeploy.report.diagram.parts import diagram
from neurodeploy.verify.ambiguity import Ambiguity, ambiguities
from neurodeploy.verify.candidates import Candidate, candidates

from .inputs import Inputs, given


@dataclass(frozen=True, eq=False, repr=False)
class Inspection:
    """A network as it was read.

    Args:
        title: what was read, in a line.
        path: of the file; None of a Program that is in none.
        network: as it would be compiled.
        facts: what the file says of itself.
        not_held: what no registers of Loihi hold, or the Program's chip does not, in words.
        repairs: what was put right in the file.
        left_open: conventions that it does not say.
        tried: conventions of each tool, run on an input.
    """

    title: str
    path: Path | None
    network: Network
    facts: Mapping[str, Any]
    not_held: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()
    left_open: tuple[Ambiguity, ...] = ()
    tried: tuple[Candidate, ...] = ()

    COLUMNS = ("population", "from", "model", "shape", "neurons", "output")
    PROJECTIONS = ("projection", "kind", "stored weights", "synapses", "delay", "from")
    STAGES = ("host stage", "when", "reads", "feeds", "bytes of its graph")

    def as_json(self) -> dict[str, Any]:
        """Everything for scripts; what ``neurodeploy inspect --json`` prints."""
        network = self.network
        return {
            "file": str(self.path) if self.path else None,
            "arithmetic": network.arithmetic,
            "dt": network.dt,
            "populations": [_population(network, p) for p in network.populations],
            "projections": [_projection(p) for p in network.projections],
            "stages": [_stage(stage) for stage in network.stages],
            "outputs": list(network.outputs),
            "answer": network.answer.described() if network.answer else None,
            "notes": dict(network.notes),
            "repairs": list(self.repairs),
            "not_held": list(self.not_held),
            "ambiguous": [dict(vars(one)) for one in self.left_open],
            "candidates": [_candidate(one) for one in self.tried],
            "facts": {k: v if isinstance(v, (str, int, float, bool)) else str(v) for k, v in self.facts.items()},
        }

    def rows(self) -> list[tuple[object, ...]]:
        """A row a population: see `COLUMNS`."""
        found = [_population(self.network, p) for p in self.network.populations]
        return [
            (p["name"], p["handle"], p["model"], " x ".join(map(str, p["shape"])), p["neurons"], p["output"])
            for p in found
        ]

    def projections(self) -> list[tuple[object, ...]]:
        """A row a projection: see `PROJECTIONS`."""
        found = [_projection(p) for p in self.network.projections]
        return [(p["name"], p["kind"], p["stored_weights"], p["synapses"], p["delay"], p["handle"]) for p in found]

    def stages(self) -> list[tuple[object, ...]]:
        """A row for each stage that the host computes: see `STAGES`."""
        return [
            (s.name, s.when, ", ".join(map(str, s.takes)), ", ".join(map(str, s.gives)), s.graph.size)
            for s in self.network.stages
        ]

    def drawing(self) -> str:
        """Chip and host, phase by phase, with what crosses in a step, as text; empty without host stages."""
        return "\n".join(text.lines(diagram(self.network)))

    def svg(self) -> str:
        """The network as a picture that stands alone: chip, host, phases and crossings; the chip alone without host."""
        return svg.svg(diagram(self.network))

    def __repr__(self) -> str:
        return f"<Inspection of {self.title}>"

    def _repr_html_(self) -> str:
        said = [f"not held: {one}" for one in self.not_held]
        return html_table(self.COLUMNS, self.rows(), self.title, said) + (self.svg() if self.network.stages else "")


@dataclass(frozen=True, eq=False, repr=False)
class Nodes:
    """What can be said of a NIR graph that does not tell its time step.

    Args:
        title, path, repairs, tried: as of `Inspection`.
        nodes: type and output shape of each, by name.
        delayed: edges of loops, which take a step.
        written_by: the tool that it looks like.
    """

    title: str
    path: Path
    nodes: Mapping[str, tuple[str, tuple[int, ...]]]
    delayed: tuple[str, ...]
    written_by: Recognised | None
    repairs: tuple[str, ...] = ()
    tried: tuple[Candidate, ...] = field(default=())

    COLUMNS = ("node", "type", "output shape")

    def as_json(self) -> dict[str, Any]:
        """Everything for scripts; what ``neurodeploy inspect --json`` prints of such a file."""
        return {
            "file": str(self.path),
            "nodes": [{"name": name, "type": of, "shape": list(shape)} for name, (of, shape) in self.nodes.items()],
            "delayed": list(self.delayed),
            "dt": None,
            "written_by": dict(vars(self.written_by)) if self.written_by else None,
            "repairs": list(self.repairs),
            "candidates": [_candidate(one) for one in self.tried],
        }

    def rows(self) -> list[tuple[str, str, str]]:
        """A row a node: see `COLUMNS`."""
        return [(name, of, " x ".join(map(str, shape))) for name, (of, shape) in self.nodes.items()]

    def svg(self) -> str:
        """Refused: without a time step there is no network to draw.

        Raises:
            InvalidInputError: always.
        """
        raise InvalidInputError(
            f"{self.path} does not tell its time step, so there is no network to draw yet", allowed="a file with a dt",
            hint="give it with --dt, or --as with the tool that wrote it",
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Nodes of {self.title}>"

    def _repr_html_(self) -> str:
        return html_table(self.COLUMNS, self.rows(), self.title)


Inspected: TypeAlias = Inspection | Nodes
"""What `inspect` gives: a network, or the nodes of a graph that does not tell its time step."""


def inspect(path: Path | str, x: Inputs | None = None, conventions: Mapping[str, Any] | None = None) -> Inspected:
    """Say what a file holds: a `.nir` file, a lava-dl ``.net`` file or a Program (``.ndp``).

    Args:
        x: spikes, ``[time, batch, *shape]``, on which the conventions of the tools are tried; None for random ones,
            where the file does not say its own.
        conventions: that the user settles: ``tool``, ``dt`` ... (`neurodeploy.nir_graph.conventions.resolve`).

    Raises:
        InvalidInputError: inputs or conventions for a file that leaves none open, or a damaged file.
        MissingFileError: there is no such file.
    """
    file, settled = Path(path), conventions or {}
    if file.suffix in (".ndp", ".net") and (named(settled) or x is not None):
        raise InvalidInputError(
            f"{file} leaves no convention to settle or to try",
            found=", ".join([*named(settled), *(["input"] if x is not None else [])]),
            allowed="these options for .nir files",
            hint="leave them out",
        )
    if zipfile.is_zipfile(file) or file.suffix == ".ndp":
        return of_program(Program.load(file), file)
    if file.suffix == ".net":
        network = read_net(file)
        title = f"{file}: lava-dl network of {len(network.populations)} populations"
        return Inspection(title, file, network, {}, _not_held(network, None))
    return _of_graph(nir_file.read(file), file, x, settled)


def of_program(program: Program, path: Path | None) -> Inspection:
    """Say what a Program holds."""
    what = f"Program for {program.chip} on {len(program.cores)} core(s)"
    facts: dict[str, Any] = {"chip": program.chip, **_own_chip(program), "cores": len(program.cores)}
    facts |= {"computed with": arithmetic_of(program), **program.provenance}
    held = _not_held(program.network, known_chip(program))
    return Inspection(f"{path or program.network.name}: {what}", path, program.network, facts, held)


def _of_graph(file: NirFile, path: Path, x: Inputs | None, settled: Mapping[str, Any]) -> Inspected:
    inputs = (given(x) or None) if x is not None else None
    title = f"{path}: NIR graph of {len(file.graph.nodes)} nodes, written by nir {file.nir_version or '?'}"
    if not _has_time_step(file, settled):
        nodes = {name: (kind(file.graph.nodes[name]), tuple(shape)) for name, shape in shapes(file.graph).items()}
        loops = tuple(f"{source} -> {target}" for source, target in sorted(delayed_edges(file.graph)))
        tried = candidates(file, None, settled, inputs)
        return Nodes(title, path, nodes, loops, recognise(file), file.repairs, tried)
    conventions = resolve(file, **settled)
    network, left_open = lower(file, conventions), ambiguities(file, conventions)
    tried = candidates(file, conventions, settled, inputs) if inputs or not file.metadata else ()
    facts = {"nir": file.nir_version, "sha256": file.sha256, **{str(k): v for k, v in file.metadata.items()}}
    return Inspection(title, path, network, facts, (), file.repairs, left_open, tried)


def _stage(stage: HostStage) -> dict[str, Any]:
    takes, gives = ([dict(vars(one)) for one in ends] for ends in (stage.takes, stage.gives))
    for one in takes:
        one.pop("raised")  # in the units of the model it is the same potential
    return {"name": stage.name, "when": stage.when, "takes": takes, "gives": gives, "graph_bytes": stage.graph.size}


def _has_time_step(file: NirFile, settled: Mapping[str, Any]) -> bool:
    """Whether someone says how long a step is: an option, the file, or the tool that certainly wrote it."""
    if settled.get("dt") is not None or settled.get("tool") is not None or "dt" in file.metadata:
        return True
    found = recognise(file)
    timeless = not of_kind(file.graph, "LIF", "LI", "CubaLIF", "CubaLI", "IF", "I", "Delay")
    return timeless or (found is not None and found.certain)


def _not_held(network: Network, arch: Architecture | None) -> tuple[str, ...]:
    """What no registers of Loihi hold, or the Program's chip does not, in words."""
    found = lacks(network, arch) if arch else []
    try:
        check_registers(network)
    except UnsupportedError as error:
        found.append(f"{error.what}: {error.found}; allowed: {error.allowed}")
    return tuple(found)


def _own_chip(program: Program) -> dict[str, str]:
    """What a Program says of a chip that does not come with neurodeploy."""
    if not program.chip_file:
        return {}
    arch = architecture_of(program)
    above = f", which extends {' and '.join(arch.extends)}" if arch.extends else ""
    return {"chip_file": f"its own, in the Program: {arch.title}{above}"}


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {**vars(candidate), "spikes": dict(candidate.spikes)}


def _population(network: Network, population: Population) -> dict[str, Any]:
    count = population.join.compartments if population.join else 0
    label = "from the host" if population.name in fed(network.stages) else population.neuron.label
    return {
        "name": population.name,
        "handle": str(population.handle),
        "model": label + (f", behind a MAX of {count:,} compartments" if count else ""),
        "shape": list(population.shape),
        "neurons": population.size,
        **({"compartments": count} if count else {}),
        "output": "yes" if population.name in network.outputs else "",
    }


def _projection(projection: Projection) -> dict[str, Any]:
    kind = projection.connectivity
    return {
        "name": projection.name,
        "kind": type(kind).__name__.lower(),
        "stored_weights": kind.stored_weights(),
        "synapses": kind.synapses(),
        "delay": projection.delay,
        "handle": str(projection.handle),
    }
