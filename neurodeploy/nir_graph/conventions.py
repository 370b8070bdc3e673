"""What NIR does not say and every tool decides for itself: time step, reset, threshold equality, decay, and more.

Each comes from the option given, else from the tool named with ``--as`` (`neurodeploy.nir_graph.tools`), else from the
file's own metadata (written by our exporters), else from the tool that certainly wrote the file
(`neurodeploy.nir_graph.recognise`), else from a stated assumption; whose choice it was is visible in
`Conventions.notes`, so that no report rests on a silent guess. The time step is never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.neurons import UNLIMITED, Comparison, Reset, ResetTime

from .metadata import OVERRIDDEN, RESETS, NeuronRules, section_of
from .nir_file import NirFile
from .recognise import Recognised, recognise
from .shapes import NEURONS, Edge, delayed_edges, kind, of_kind
from .tools import NIR, TOOLS, Tool
from .writers import against, norse_time_unit, step_written_by

if TYPE_CHECKING:
    import nir

RecurrentBias = Literal["from-start", "after-delay"]
Decay = Literal["euler", "exponential"]
Gain = Literal["nir", "unit", "membrane", "decayed"]
Initial = Literal["zero", "v_leak", "v_reset"]
Arrival = Literal["same-step", "next-step"]

CHOICES: Mapping[str, tuple[str, ...]] = {
    "reset": get_args(Reset),
    "reset_time": get_args(ResetTime),
    "comparison": get_args(Comparison),
    "decay": get_args(Decay),
    "gain": get_args(Gain),
    "initial": get_args(Initial),
    "arrival": get_args(Arrival),
    "recurrent_bias": get_args(RecurrentBias),
}
"""The values of each convention that is a choice; ``dt`` (seconds), ``max_spikes`` and ``v_floor`` are numbers."""

_WHY: Mapping[str, str] = {
    "reset": "NIR's own equations: v is set to v_reset",
    "reset_time": "NIR's own equations: a spike resets in its own step",
    "comparison": "NIR's own equations: a spike where v > v_threshold",
    "decay": "NIR's own equations, by forward Euler: 1 - dt / tau is kept in a step",
    "gain": "NIR's own equations: what arrives is scaled by r, w_in and the step",
    "initial": "NIR's own equations, from v = 0",
    "max_spikes": "NIR's own equations: a spike or none",
    "v_floor": "NIR's own equations: no lower bound",
    "arrival": "NIR's own equations: a spike acts in its own step",
    "recurrent_bias": "NIR's Affine adds its bias in every step, the first included (as snnTorch does; norse starts "
    "one step later)",
}
"""Why NIR's value (`neurodeploy.nir_graph.tools.NIR`) is assumed."""

_SPOKEN = ("reset", "reset_time", "comparison", "decay", "recurrent_bias")
"""Conventions that are noted even where they are assumed."""

_LATER = ("reset_time", "decay", "gain", "initial", "max_spikes", "v_floor", "arrival")
_SILENT = "NIR's, since the file's metadata say nothing else"
"""In our metadata the silence on these means NIR's own: what differs stands there, or at the node."""

_SPIKING = ("LIF", "IF", "CubaLIF")
_MATTERS: Mapping[str, tuple[str, ...]] = {
    "comparison": (*_SPIKING, "Threshold"),
    "decay": ("LIF", "LI", "CubaLIF", "CubaLI"),
    "gain": NEURONS,
    "initial": NEURONS,
}
"""Types of nodes to which a convention matters, where these are others than the neurons that reset."""


@dataclass(frozen=True)
class Conventions:
    """How a NIR graph is to be understood.

    Args:
        dt: length of a step in seconds.
        reset: hard (to ``v_reset``), subtract (the threshold) or none.
        comparison: whether a membrane that equals the threshold spikes.
        recurrent_bias: whether the bias of a layer that is only fed by last step's spikes acts in step 0.
        notes: for each convention, its value and whose choice it was.
        given: names of those that were given as options: they also override the metadata of single nodes.
        by_tool: those of them that only the tool settled that was named.
        assumed: names of those that nobody settled.
        reset_time: when a spike resets (`neurodeploy.network.neurons`).
        decay: what is kept of a state in a step: ``1 - dt / tau`` (euler) or ``exp(-dt / tau)`` (exponential).
        gain: what multiplies what arrives (`neurodeploy.lowering.discretise`): nir, unit, membrane or decayed.
        initial: membrane potential before the first step.
        max_spikes: most spikes in one step.
        v_floor: least membrane potential, after the reset; minus infinity for no bound.
        arrival: whether a spike reaches the layers behind it in its own step or in the next.
        tau_unit: seconds for which a time constant of 1 in the file stands.
        of_node: node -> conventions that differ there.
        moved: edge of the file -> the edge that the tool which wrote it means.
    """

    dt: float
    reset: Reset = "hard"
    comparison: Comparison = ">"
    recurrent_bias: RecurrentBias = "from-start"
    notes: Mapping[str, str] = field(default_factory=dict)
    given: frozenset[str] = frozenset()
    by_tool: frozenset[str] = frozenset()
    assumed: frozenset[str] = frozenset()
    reset_time: ResetTime = "now"
    decay: Decay = "euler"
    gain: Gain = "nir"
    initial: Initial = "zero"
    max_spikes: int = 1
    v_floor: float = -math.inf
    arrival: Arrival = "same-step"
    tau_unit: float = 1.0
    of_node: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    moved: Mapping[Edge, Edge] = field(default_factory=dict)

    def at(self, node: str, name: str) -> Any:
        """The convention ``name`` as it is for a node."""
        return self.of_node.get(node, {}).get(name, getattr(self, name))


def rules_of(name: str, node: Any, conventions: Conventions) -> NeuronRules:
    """The rules of the neuron node ``name``: options first, then its metadata, then the graph's conventions.

    Raises:
        InvalidInputError: a key or value that is unknown or does not go with another; names the node.
    """
    overridden = {key for option in conventions.given for key in OVERRIDDEN.get(option, ())}
    own = {key: value for key, value in section_of(node).items() if key not in overridden}
    graph: dict[str, Any] = {"reset": conventions.at(name, "reset"), "comparison": conventions.at(name, "comparison")}
    time = conventions.at(name, "reset_time")
    if kind(node) in _SPIKING:
        if time != "now" and ("reset_time" in conventions.given or not {"reset", "reset_current"} & set(own)):
            graph["reset_time"] = time
        graph["max_spikes"] = conventions.at(name, "max_spikes")
        if (floor := conventions.at(name, "v_floor")) > -math.inf:
            graph["v_floor"] = floor
    start = conventions.at(name, "initial")
    if start != "zero" and hasattr(node, start):
        graph["v_initial"] = np.asarray(getattr(node, start), np.float64)
    return NeuronRules.from_metadata({**graph, **own}, name, kind(node))


def named(options: Mapping[str, Any] | None) -> list[str]:
    """The options that were given, sorted, as the command line calls them."""
    return sorted({"tool": "as"}.get(n, n) for n, value in (options or {}).items() if value is not None)


def meant(file: NirFile, conventions: Conventions) -> nir.NIRGraph:
    """The graph with its edges as the tool that wrote it means them (`Conventions.moved`)."""
    import nir

    if not conventions.moved:
        return file.graph
    edges = [conventions.moved.get(edge, edge) for edge in file.graph.edges]
    return nir.NIRGraph(dict(file.graph.nodes), edges, metadata=file.graph.metadata, type_check=False)


def late_edges(graph: nir.NIRGraph, conventions: Conventions) -> frozenset[Edge]:
    """The edges that carry last step's value: of loops, and with ``next-step`` all that leave a neuron that resets."""
    late = delayed_edges(graph)
    if conventions.arrival == "same-step":
        return late
    neurons = set(of_kind(graph, *_SPIKING))
    return late | {(a, b) for a, b in graph.edges if a in neurons and kind(graph.nodes[b]) != "Output"}


def resolve(file: NirFile, **options: Any) -> Conventions:
    """Settle the conventions for a file.

    Args:
        file: the graph and its metadata.
        options: ``tool`` (a name in `TOOLS`), ``dt``, ``max_spikes`` and those of `CHOICES` as the user gave them; None
            means not given.

    Raises:
        InvalidInputError: an unknown option or value, options that contradict each other, or no time step anywhere.
    """
    _check_names(options)
    found = recognise(file)
    chosen = _Choice(file, options, found)
    _check_several(chosen)
    values: dict[str, Any] = {}
    notes: dict[str, str] = {}
    nobody: set[str] = set()
    if chosen.tool is not None:
        notes["as"] = chosen.title
    elif found is not None:
        taken = "its conventions are taken" if found.certain else f"--as {found.tool} takes its conventions"
        notes["written by"] = f"{found.text}; {taken}"
    loops = bool(delayed_edges(file.graph))
    for name in NIR:
        value, origin = chosen.of(name)
        assumed = origin is None
        if assumed:
            nobody.add(name)
            value, origin = NIR[name], f"assumed, since the file does not say: {_WHY[name]}"
        if not _usable(name, value):
            allowed = ", ".join(
                CHOICES.get(name, ("a whole number from 1 on" if name == "max_spikes" else "a number",))
            )
            raise InvalidInputError(f"unknown {name}", found=value, allowed=allowed)
        values[name] = value
        matters = loops if name == "recurrent_bias" else bool(of_kind(file.graph, *_MATTERS.get(name, _SPIKING)))
        where = chosen.where(name)
        spoken = name in _SPOKEN and origin != _SILENT
        if matters and (spoken or options.get(name) is not None or value != NIR[name] or where):
            notes[name] = f"{_shown(value)}{where} ({origin})"
    dt, origin = _time_step(file, chosen)
    notes["dt"] = f"{dt:g} s ({origin})"
    if not any("reset" in section_of(node) for node in file.graph.nodes.values()):
        _check_reset(values)
    given = {name for name, value in options.items() if value is not None}
    by_tool = set(chosen.row.values) - given if chosen.row and options.get("tool") else set()
    own_given = {"given": frozenset(given | by_tool), "by_tool": frozenset(by_tool)}
    unit = norse_time_unit(file, dt) if chosen.name == "norse" and not against("norse", file) else 1.0
    if unit != 1.0:
        notes["tau"] = f"times {unit:g}: norse 1.1.0 writes its time constants times dt, here all below {dt:g} s"
    moved = _moved_by_spyx(file.graph) if chosen.name == "spyx" else {}
    if moved:
        shown = ", ".join(f"{a} -> {b} read as {c} -> {d}" for (a, b), (c, d) in sorted(moved.items()))
        notes["edges"] = f"{shown}: spyx draws the input of a recurrent layer into its recurrent weights"
    own: dict[str, Any] = {"tau_unit": unit, "of_node": chosen.of_nodes, "moved": moved, **own_given}
    return Conventions(dt=dt, notes=notes, assumed=frozenset(nobody), **own, **values)


def _moved_by_spyx(graph: nir.NIRGraph) -> dict[Edge, Edge]:
    """Edges into recurrent weights that are meant to go to their neuron (spyx 1.0.0, nir.py)."""
    edges = set(graph.edges)
    loops = [(a, b) for a, b in edges if (b, a) in edges and kind(graph.nodes[a]) in ("Linear", "Affine")]
    return {
        (s, a): (s, b) for a, b in loops for s, t in edges if t == a and s != b and kind(graph.nodes[b]) in _SPIKING
    }


def _time_step(file: NirFile, chosen: _Choice) -> tuple[float, str]:
    dt, origin = chosen.of("dt")
    if origin is None or dt is None:
        if of_kind(file.graph, "LIF", "LI", "CubaLIF", "CubaLI", "IF", "I", "Delay"):
            hint = f"{chosen.found.text}: give --as {chosen.found.tool}, or --dt" if chosen.found else ""
            raise InvalidInputError(
                f"{file.path} does not say the length of its time step",
                allowed="seconds, for example 1e-4 for snnTorch's exporter, 1e-3 for norse, 1 for sinabs",
                hint=hint or "give it with --dt, or all conventions of the tool that wrote the file with --as",
            )
        dt, origin = 1.0, "assumed, since no node depends on it"
    if not isinstance(dt, (int, float)) or not 0 < dt < float("inf"):
        raise InvalidInputError("the time step must be a positive number of seconds", found=dt)
    return float(dt), origin


@dataclass(eq=False)
class _Choice:
    """Who says what: options, the tool of ``--as``, the file's metadata, the tool that certainly wrote the file."""

    file: NirFile
    options: Mapping[str, Any]
    found: Recognised | None

    @property
    def tool(self) -> str | None:
        """What ``--as`` names."""
        return self.options.get("tool")

    @property
    def name(self) -> str | None:
        """The tool whose row is taken."""
        return self.tool or (self.found.tool if self.found and self.found.certain else None)

    @property
    def row(self) -> Tool | None:
        return TOOLS[self.name] if self.name else None

    @property
    def title(self) -> str:
        """The note on ``--as``."""
        assert self.tool is not None
        framework = str(self.file.metadata.get("framework", ""))
        other = f"; the file says that it comes from {framework}" if framework.lower() not in ("", self.tool) else ""
        reason = against(self.tool, self.file)
        doubt = f"; it did not write this file, since {reason}" if reason and not other else ""
        return f"all that NIR leaves open as {TOOLS[self.tool].title} has it (--as {self.tool}{other}{doubt})"

    def of(self, name: str) -> tuple[Any, str | None]:
        """The value of a convention and whose choice it was; None for nobody's."""
        if self.options.get(name) is not None:
            return self.options[name], "given as an option" + self._instead(name)
        by_hand = self.options.get("reset")
        if name == "reset_time" and by_hand and self.tool is None:
            return "now", f"since --reset {by_hand} was given without --reset-time"
        if self.tool is not None:
            return self._of_row(TOOLS[self.tool], name, by_hand)
        if name in self.file.metadata:
            return self.file.metadata[name], "from the file's metadata"
        if self.file.metadata and name in _LATER:
            return NIR[name], _SILENT
        if self.row is not None and not self.file.metadata:
            value, why = self._of_row(self.row, name, None)
            return value, f"recognised: {why}"
        return None, None

    def _of_row(self, row: Tool, name: str, reset: str | None) -> tuple[Any, str]:
        who, value = f"as {row.title} has it", row.values[name]
        if name == "dt" and (value is None or not against(self.name or "", self.file)):
            written = step_written_by(self.name or "", self.file)
            value, who = (written, f"as {row.title} wrote r") if written else (value, who)
        elif name == "reset_time" and reset is not None and reset != row.values["reset"]:
            value = row.hard_time.get("LIF", "now") if reset == "hard" else "now"
        said = self.file.metadata.get(name, value)
        return value, who + (f"; the file's metadata say {_shown(said)}" if said != value else "")

    def _instead(self, name: str) -> str:
        if self.tool is None:
            return ""
        value = TOOLS[self.tool].values[name]
        if value is None or value == self.options[name]:
            return ""
        return f", instead of {TOOLS[self.tool].title}'s {_shown(value)}"

    @cached_property
    def of_nodes(self) -> dict[str, dict[str, Any]]:
        """What the taken row says differently of single nodes, where no option says otherwise."""
        if self.row is None or (self.tool is None and self.file.metadata):
            return {}
        looped = {source for source, _ in delayed_edges(self.file.graph)}
        result: dict[str, dict[str, Any]] = {}
        for name, node in self.file.graph.nodes.items():
            own = dict(self.row.by_kind.get(kind(node), {}))
            if self.name == "norse" and kind(node) == "CubaLIF" and np.all(np.equal(node.w_in, 1)):
                own["gain"] = "membrane"
            if self.name == "snntorch" and np.isposinf(getattr(node, "tau", getattr(node, "tau_mem", 0.0))).any():
                own["gain"] = "unit"  # beta = 1: tau and r are infinite, and r dt / tau = 1 is meant
            reset = self.options.get("reset")
            if reset == "hard" and self.row.hard_time:
                own["reset_time"] = self.row.hard_time["loop" if name in looped else kind(node)] if (
                    kind(node) in self.row.hard_time
                ) else "now"  # fmt: skip
            elif reset is not None:
                own.pop("reset_time", None)
            own = {key: value for key, value in own.items() if self.options.get(key) is None}
            if own:
                result[name] = own
        return result

    def where(self, name: str) -> str:
        """In which nodes a convention has another value, for its note."""
        other: dict[Any, list[str]] = {}
        for node, own in self.of_nodes.items():
            if name in own and own[name] != self.of(name)[0]:
                other.setdefault(own[name], []).append(node)
        return "".join(f", {_shown(value)} in {', '.join(sorted(nodes)[:8])}" for value, nodes in sorted(other.items()))


def _check_names(options: Mapping[str, Any]) -> None:
    unknown = sorted(set(options) - {"tool", "dt", *NIR})
    if unknown:
        raise InvalidInputError("unknown convention", found=", ".join(unknown), allowed=", ".join(["tool", "dt", *NIR]))
    if options.get("tool") not in (None, *TOOLS):
        raise InvalidInputError("unknown tool in --as", found=options["tool"], allowed=", ".join(TOOLS))


def _check_several(chosen: _Choice) -> None:
    """Refuse options that say nothing, or the contrary, where a neuron may send several spikes in a step."""
    several, origin = chosen.of("max_spikes")
    if several in (None, 1):
        return
    found = f"{_shown(several)} spikes in a step ({origin})"
    if chosen.options.get("comparison") == ">":
        raise InvalidInputError(
            "--comparison > contradicts several spikes in a step: a potential equal to the threshold then counts",
            found=found,
            hint="leave --comparison out, or add --max-spikes 1",
        )
    time, _ = chosen.of("reset_time")
    if time not in (None, "now"):
        raise InvalidInputError(
            f"--reset-time {time} does not go with several spikes in a step",
            found=found,
            allowed="--reset-time now",
            hint="add --max-spikes 1",
        )


def _check_reset(values: Mapping[str, Any]) -> None:
    time, reset = values["reset_time"], values["reset"]
    if reset not in RESETS[time]:
        raise InvalidInputError(
            f"--reset-time {time} does not go with the reset",
            found=f"reset {reset}",
            allowed=f"--reset {' or '.join(RESETS[time])}",
            hint="give both: --reset says what a spike does to the membrane, --reset-time when",
        )


def _shown(value: object) -> object:
    return "unlimited" if value == UNLIMITED else "none" if value == -math.inf else value


def _usable(name: str, value: object) -> bool:
    if name == "v_floor":
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value < math.inf
    if name == "max_spikes":
        return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= UNLIMITED
    return isinstance(value, str) and value in CHOICES[name]
