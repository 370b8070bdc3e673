"""A float `Network` as an ONNX model: one time step with explicit states, or a whole sequence in one Scan.

The step. Inputs: every source ``[batch, *shape]``, the membrane potential ``NAME.v`` of every population, its current
``NAME.u`` where it is filtered, what it sent in the last d steps ``NAME.past`` ``[d, batch, neurons]`` where a
projection is delayed, and the number of the step ``step`` where something starts late. Outputs: what each population
sends (``NAME.spikes``, or ``NAME.potential`` of a read-out) ``[batch, neurons]``, and each state's next value
(``NAME.v.next``), to be fed back. Neurons are functions of the model itself (`onnx_neuron`), so nothing needs a
library of ours.

With ``scan`` the sources and outputs have time in front and the states are those before the first and after the last
step; potentials of spiking populations that the network's answer reads are outputs too (``NAME.v.read``). The metadata
under ``neurodeploy`` (JSON) say it all for programs: ``dt``, the populations with their rules and debug handles, the
states with their initial values, and what is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, helper

from neurodeploy.errors import UnsupportedError
from neurodeploy.files.atomic import atomic_path
from neurodeploy.network.dispatch import expect
from neurodeploy.network.host import alone
from neurodeploy.network.join import PORT
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif

from .neuron import described, filtered, lacks
from .nodes import Nodes, finished, prefix
from .synapses import joined, synapses

METADATA = "neurodeploy"
"""Key of the model's metadata."""

LARGEST_FILE = 2**31 - 2**20
"""Bytes of weights that one protobuf file can hold."""

Shape = list[str | int]


def to_onnx(network: Network, *, scan: bool = False, dtype: type = np.float32, currents: bool = False) -> ModelProto:
    """Return the model of a float network; see the module's docstring.

    Args:
        scan: a whole sequence instead of one step.
        dtype: ``np.float32`` or ``np.float64``.
        currents: also put out the current ``NAME.u.next`` of the neurons that do not keep it.

    Raises:
        UnsupportedError: an integer network, synapses that learn, a neuron with a refractory time or an adaptive
            threshold, or that also sends negative spikes, a multi-spike neuron with a threshold that is not positive,
            or a network too large for one file.
    """
    if network.arithmetic != "float":
        raise UnsupportedError(
            "an integer network cannot be written as ONNX",
            found=f"{network.arithmetic} arithmetic",
            allowed="a float network",
            hint="lower the .nir file without quantising it",
        )
    alone(network, "the one-step ONNX graph")
    step = _Step(network, np.dtype(dtype), currents, scan)
    step.build()
    if step.nodes.size > LARGEST_FILE:
        raise UnsupportedError(
            "the network is too large for one ONNX file",
            found=f"{step.nodes.size:,} bytes of weights",
            allowed=f"{LARGEST_FILE:,} bytes",
            hint="write it in float32" if dtype == np.float64 else "split the network",
        )
    said = {METADATA: json.dumps(step.metadata(scan), allow_nan=False)}
    return finished(step.sequence() if scan else step.graph(), step.nodes.functions.values(), network.name, said)


def write(network: Network, path: Path | str, *, scan: bool = False, dtype: type = np.float32) -> ModelProto:
    """Write the model of a network, complete or not at all, and return it; see `to_onnx`.

    Raises:
        UnsupportedError: as `to_onnx`.
        StorageError: the file cannot be written.
    """
    model = to_onnx(network, scan=scan, dtype=dtype)
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
    return model


@dataclass(frozen=True)
class _State:
    """A value that goes from step to step."""

    population: str
    variable: str
    name: str
    shape: tuple[str | int, ...]
    initial: float | list[float]

    @property
    def next(self) -> str:
        return f"{self.name}.next"


@dataclass(eq=False)
class _Step:
    network: Network
    number: np.dtype[Any]
    currents: bool
    scan: bool
    inputs: dict[str, tuple[str, Shape]] = field(default_factory=dict)
    outputs: dict[str, tuple[str, Shape]] = field(default_factory=dict)
    states: list[_State] = field(default_factory=list)

    @cached_property
    def nodes(self) -> Nodes:
        """Of the graph, or of the body of its Scan."""
        return Nodes(self.number)

    def keep(
        self, population: str, variable: str, shape: tuple[str | int, ...], initial: float | list[float]
    ) -> _State:
        name = self.nodes.state(population, variable) if population else self.nodes.state(variable, "")
        state = _State(population, variable, name, shape, initial)
        self.states.append(state)
        return state

    # ---- the graph

    def build(self) -> None:
        network = self.network
        delay = {p.name: max((q.delay for q in network.projections if q.source == p.name), default=0)
                 for p in network.populations}  # fmt: skip
        late = any(p.bias is not None and p.bias_start > 0 for p in network.projections)
        timed = late or any(p.neuron.always_on for p in network.populations)
        for population in network.inputs:
            name = self.nodes.unique(population.name, "")
            self.inputs[population.name] = name, ["batch", *population.shape]
        if timed:
            self.keep("", "step", (), 0)
        pasts = {p.name: self.keep(p.name, "past", (delay[p.name], "batch", p.size), 0.0)
                 for p in network.populations if delay[p.name] and not _always_on(p)}  # fmt: skip
        sent: dict[str, str] = {}
        for population in network.populations:
            if population.name in self.inputs:
                sent[population.name] = self.nodes.add("Flatten", self.inputs[population.name][0], axis=1)
            elif not population.external:
                neuron = expect(population, Lif, "onnx")
                sent[population.name] = self._neuron(population, neuron, sent, pasts)
        for name, past in pasts.items():
            newest = self.nodes.add("Unsqueeze", sent[name], self.nodes.whole("first_axis", 0))
            parts = [newest]
            if delay[name] > 1:
                bounds = [self.nodes.whole("zero", 0), self.nodes.whole("minus_one", -1)]
                parts.append(self.nodes.add("Slice", past.name, *bounds, self.nodes.whole("first_axis", 0)))
            self.nodes.add("Concat", *parts, outputs=[past.next], axis=0)
        if timed:
            one = self.nodes.constant("one_step", np.array(1, np.int64))
            self.nodes.add("Add", self.states[0].name, one, outputs=[self.states[0].next])

    def _neuron(self, population: Population, neuron: Lif, sent: Mapping[str, str], pasts: Mapping[str, _State]) -> str:
        name, shape = population.name, ("batch", population.size)
        if why := lacks(neuron):
            raise UnsupportedError(
                f"population {name!r} {why}, which the ONNX functions lack", allowed="neurons without",
                hint="run it on hwsim or the reference",
            )  # fmt: skip
        initial = neuron.initial.astype(float)
        same = bool((initial == initial[:1]).all())
        v = self.keep(name, "v", shape, float(initial[0]) if same and initial.size else initial.tolist())
        u = self.keep(name, "u", shape, 0.0) if filtered(neuron) else None
        ports = ["", ""]
        for projection in self.network.into(name):
            arriving, before = self._arriving(projection, sent, pasts), ports[projection.port]
            ports[projection.port] = self.nodes.add("Add", before, arriving) if before else arriving
        current = ports[0]
        if population.join is not None and ports[PORT]:
            largest = joined(population, population.join, ports[PORT], self.nodes)
            current = self.nodes.add("Add", current, largest) if current else largest
        if not current:
            current = self.nodes.add("Mul", v.name, self.nodes.constant("nothing", np.zeros(1, self.number)))
        output = self.nodes.unique(name, "spikes" if population.spiking else "potential")
        u_next = u.next if u else self.nodes.unique(name, "u.next")
        self.nodes.neuron(name, neuron, [current, *([u.name] if u else []), v.name], [output, u_next, v.next])
        self.outputs[name] = output, list(shape)
        if self.scan and population.spiking and self.network.shows(name):
            read = self.nodes.add("Identity", v.next, outputs=[self.nodes.unique(name, "v.read")])
            self.outputs[f"{name}.v"] = read, list(shape)
        if self.currents and not u:
            self.outputs[f"{name}.u"] = u_next, list(shape)
        return output

    def _arriving(self, projection: Projection, sent: Mapping[str, str], pasts: Mapping[str, _State]) -> str:
        if projection.local_rule is not None:
            raise UnsupportedError(
                f"projection {projection.name!r} learns, which an ONNX graph does not",
                allowed="synapses that keep their weights",
                hint="run it on hwsim or the reference",
            )
        source = self.network.by_name[projection.source]
        if source.neuron.always_on:
            x = self._since(source.neuron.start + projection.delay, source.size)
        elif projection.delay:
            back = self.nodes.constant(f"back_{projection.delay}", np.array(projection.delay - 1, np.int64))
            x = self.nodes.add("Gather", pasts[source.name].name, back, axis=0)
        else:
            x = sent[source.name]
        current = synapses(projection.name, projection.connectivity, x, self.nodes)
        if projection.bias is None:
            return current
        bias = self.nodes.constant(f"{projection.name}.bias", projection.bias.astype(self.number))
        if projection.bias_start > 0:
            bias = self.nodes.add("Mul", bias, self._since(projection.bias_start, 1))
        return self.nodes.add("Add", current, bias)

    def _since(self, start: int, size: int) -> str:
        """Ones ``[1, size]`` from step ``start`` on, zeros before."""
        first = self.nodes.constant(f"step_{start}", np.array(start, np.int64))
        on = self.nodes.add("GreaterOrEqual", self.states[0].name, first)
        ones = self.nodes.constant(f"ones_{size}", np.ones((1, size), self.number))
        return self.nodes.add("Mul", self.nodes.add("Cast", on, to=self.nodes.type), ones)

    # ---- the two forms of the model

    def _state(self, state: _State, name: str) -> Any:
        return self.nodes.value(name, state.shape, TensorProto.INT64 if state.variable == "step" else None)

    def graph(self) -> GraphProto:
        """One step."""
        return helper.make_graph(
            self.nodes.listed,
            "step",
            [self.nodes.value(*given) for given in self.inputs.values()]
            + [self._state(s, s.name) for s in self.states],
            [self.nodes.value(*made) for made in self.outputs.values()] + [self._state(s, s.next) for s in self.states],
            list(self.nodes.constants.values()),
        )

    def sequence(self) -> GraphProto:
        """A Scan over the steps; its names are the step's, whose body's get a prefix."""
        body = self.graph()
        prefix(body, "step/")
        # Scan wants states first; the body's inputs and outputs are put in that order.
        for values, count in ((body.input, len(self.inputs)), (body.output, len(self.outputs))):
            ordered = [*list(values)[count:], *list(values)[:count]]
            del values[:]
            values.extend(ordered)
        node = helper.make_node(
            "Scan",
            [s.name for s in self.states] + [name for name, _ in self.inputs.values()],
            [s.next for s in self.states] + [name for name, _ in self.outputs.values()],
            "time",
            body=body,
            num_scan_inputs=len(self.inputs),
        )
        return helper.make_graph(
            [node],
            "sequence",
            [self.nodes.value(name, ["time", *shape]) for name, shape in self.inputs.values()]
            + [self._state(s, s.name) for s in self.states],
            [self.nodes.value(name, ["time", *shape]) for name, shape in self.outputs.values()]
            + [self._state(s, s.next) for s in self.states],
        )

    def metadata(self, scan: bool) -> Mapping[str, object]:
        """What programs need to know about the model."""
        network = self.network
        return {
            "version": 1,
            "form": "scan" if scan else "step",
            "dt": network.dt,
            "notes": dict(network.notes),
            "inputs": {name: value for name, (value, _) in self.inputs.items()},
            "outputs": {name: value for name, (value, _) in self.outputs.items()},
            "read": list(network.outputs),
            "answer": network.answer.described() if network.answer else None,
            "states": [
                {
                    "population": s.population,
                    "variable": s.variable,
                    "input": s.name,
                    "output": s.next,
                    "shape": list(s.shape),
                    "initial": s.initial,
                }
                for s in self.states
            ],
            "populations": {
                p.name: {
                    "shape": list(p.shape),
                    "module": p.handle.module,
                    "nodes": list(p.handle.nodes),
                    **({} if p.external else described(expect(p, Lif, "onnx"))),
                }
                for p in network.populations
            },
        }


def _always_on(population: Population) -> bool:
    return population.neuron.always_on
