"""From a NIR graph to a float `Network`: neurons become populations, the linear nodes between them projections.

What arrives at a neuron is a sum over paths from other neurons, each a chain of linear maps, composed into one set of
synapses (`neurodeploy.network.compose`). Biases of Affine and Conv2d nodes are carried through the maps behind them.
The gain of the discretised neuron is folded into weights and biases; a bias that acts from step 0 on a neuron without
current filter moves into the neuron. A Max becomes compartments in front of the neuron (`neurodeploy.lowering.joined`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.network import compose
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Connectivity, Dense, Sparse
from neurodeploy.network.join import PORT, Join
from neurodeploy.network.network import TRAINS_EQUALLY, Handle, Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.nir_graph.answer import read as read_answer
from neurodeploy.nir_graph.conventions import Conventions, late_edges, meant
from neurodeploy.nir_graph.host_nodes import FROM_HOST
from neurodeploy.nir_graph.metadata import section_of
from neurodeploy.nir_graph.nir_file import NirFile
from neurodeploy.nir_graph.shapes import NEURONS, Edge, delayed_edges, digraph, kind, order, shapes, stages

from .discretise import Discrete, discretise
from .joined import Joined, Path, Signal, Trees, behind_max, both

if TYPE_CHECKING:
    import networkx as nx
    import nir

_ROUNDING = 1e-5
"""Of a delay divided by the step, as a part of it: files hold both in 32 or 64 bits."""
_LONGEST, _MOST_DELAYS = 1 << 16, 64
"""Steps that a Delay may last, and how many different delays one node may have."""


SAMPLE = "sample"
"""Note that says where time lies in what the exported model takes, and how many steps it ran: ``none, 25 steps``,
``flat (time outside), 25 steps``."""


def lower(file: NirFile, conventions: Conventions) -> Network:
    """Return the float network of a NIR graph.

    Raises:
        InvalidInputError: shapes or parameters that do not fit; the message names the node.
        UnsupportedError: a node or structure that is not expressed; the message names it.
    """
    graph = meant(file, conventions)
    looped = delayed_edges(graph)
    delayed = late_edges(graph, conventions)
    shape_of = shapes(graph)
    edges = digraph(graph)
    lowering = _Lowering(graph, edges, (looped, delayed), shape_of, conventions)
    populations: list[Population] = []
    projections: list[Projection] = []
    outputs: list[str] = []
    for name in order(graph, delayed):
        what = kind(graph.nodes[name])
        handle = Handle(module=file.modules.get(name, ""), nodes=(name,))
        if what in ("Input", FROM_HOST):
            populations.append(Population(name, shape_of[name], Source(), handle))
        elif what in NEURONS:
            population, incoming = lowering.neuron(name, handle, file)
            populations.append(population)
            projections.extend(incoming)
        elif what == "Output":
            read = lowering.signal(name)
            if read.joined is not None:
                raise _not_a_neuron(name, read.joined.node, "Output")
            for path in read.paths:
                if path.connectivity is not None or read.biases:
                    raise UnsupportedError(
                        f"the output {name!r} reads {', '.join(path.nodes)} directly",
                        allowed="a neuron or a leaky integrator before the output",
                        hint="put an LI (leaky integrator) read-out behind the last linear layer",
                    )
                if path.source not in outputs:
                    outputs.append(path.source)
    if not outputs:
        raise InvalidInputError("the graph has no Output node", hint="add one, or export the network again")
    notes = {**conventions.notes, **lowering.notes}
    if "time_axis" in file.metadata:
        flat = f" ({file.metadata['flat_order']})" if "flat_order" in file.metadata else ""
        notes[SAMPLE] = f"{file.metadata['time_axis']}{flat}, {file.metadata.get('steps', 0)} steps"
    if "encoder" in file.metadata:
        notes["encoder"] = f"the input is what the model's encoder gives, {file.metadata['encoder']}; not its sample"
    if looped:
        notes["loops"] = "one step of delay on " + ", ".join(f"{a} -> {b}" for a, b in sorted(looped))
    return Network(
        file.path.stem, tuple(populations), tuple(projections), tuple(outputs), conventions.dt, notes=notes,
        answer=read_answer(file), stages=stages(graph),
    )  # fmt: skip


class _Lowering:
    def __init__(
        self,
        graph: nir.NIRGraph,
        edges: nx.DiGraph[str],
        late: tuple[frozenset[Edge], frozenset[Edge]],
        shape_of: dict[str, tuple[int, ...]],
        conventions: Conventions,
    ) -> None:
        self.graph, self.edges = graph, edges
        self.looped, self.delayed = late
        self.shape_of, self.conventions = shape_of, conventions
        self._signals: dict[str, Signal] = {}
        self.notes: dict[str, str] = {}

    def signal(self, name: str) -> Signal:
        """What the node ``name`` receives (neurons, outputs) or puts out (linear nodes)."""
        if name not in self._signals:
            sent = [self._sent(source, name) for source in sorted(self.edges.predecessors(name))]
            arriving = self._sum(sent, name)
            node = self.graph.nodes[name]
            linear = kind(node) not in (*NEURONS, "Output")
            self._signals[name] = self._through(name, node, arriving) if linear else arriving
        return self._signals[name]

    def _sent(self, source: str, target: str) -> Signal:
        if kind(self.graph.nodes[source]) in (*NEURONS, "Input", FROM_HOST):
            edge = (source, target)
            return Signal((Path(source, int(edge in self.delayed), None, (), int(edge in self.looped)),))
        return self.signal(source)

    def _sum(self, listed: list[Signal], name: str) -> Signal:
        joined = both([s.joined for s in listed if s.joined is not None], name)
        return Signal(tuple(p for s in listed for p in s.paths), tuple(b for s in listed for b in s.biases), joined)

    def _through(self, name: str, node: Any, arriving: Signal) -> Signal:
        what = kind(node)
        shape = next(self.shape_of[p] for p in self.edges.predecessors(name))
        if what == "Flatten":
            return arriving
        if what == "Max":
            return Signal((), (), behind_max(name, node, arriving))
        if what == "Delay":
            if arriving.joined is not None:
                raise _not_a_neuron(name, arriving.joined.node, what, "put the Delay in front of the Max")
            return self._delayed(name, node, arriving)
        if what == "Scale":
            stage: Connectivity = compose.diagonal(np.broadcast_to(node.scale, shape).ravel())
        elif what in ("Affine", "Linear"):
            stage = Dense(np.asarray(node.weight, dtype=np.float64))
            if section_of(node).get("zeros") == "no synapses":
                stage = _without_zeros(stage)
        else:
            stage = compose.spatial(node, shape)
            if section_of(node).get("zeros") == "no synapses":
                stage = _without_zeros(stage)
        paths = []
        for path in arriving.paths:
            kept = stage
            if path.connectivity is not None:
                kept = compose.then(path.connectivity, stage)
                self.notes[f"fold {path.nodes[-1]} into {name}"] = compose.reason(path.connectivity, stage, kept)
            paths.append(replace(path, connectivity=kept, nodes=(*path.nodes, name)))
        biases = [(stage.apply(value[None])[0], start) for value, start in arriving.biases]
        own = getattr(node, "bias", None)
        if own is not None and np.any(own):
            own = np.asarray(own, dtype=np.float64)
            if what in ("Conv1d", "Conv2d"):
                own = np.repeat(own, stage.outputs // len(own))
            inner = arriving.joined.signal.paths if arriving.joined else ()
            late = all(p.looped for p in (*paths, *inner)) and self.conventions.recurrent_bias == "after-delay"
            biases.append((own, int(late)))
        joined = None if arriving.joined is None else arriving.joined.through(stage, name, what)
        return Signal(tuple(paths), tuple(biases), joined)

    def _delayed(self, name: str, node: Any, arriving: Signal) -> Signal:
        """What passes a Delay; neurons that wait for different times are told apart by projections of their own."""
        shape = next(self.shape_of[p] for p in self.edges.predecessors(name))
        exact = np.broadcast_to(node.delay, shape).ravel() / self.conventions.dt
        each = np.rint(exact)
        if (np.abs(exact - each) > _ROUNDING * np.maximum(np.abs(exact), 1)).any():
            raise _between_steps(name, exact, self.conventions.dt)
        if (each < 0).any() or (each > _LONGEST).any():
            raise InvalidInputError(
                f"node {name!r} has a delay that cannot be used",
                found=f"{each.min():g} to {each.max():g} steps of {self.conventions.dt:g} s",
                allowed=f"0 to {_LONGEST:,} steps",
                hint="check the units: delay and --dt are in seconds",
            )
        paths: list[Path] = []
        biases: list[tuple[Array, int]] = []
        groups = np.unique(each)
        if len(groups) > _MOST_DELAYS:
            raise UnsupportedError(
                f"node {name!r} has too many different delays",
                found=f"{len(groups)} different numbers of steps",
                allowed=f"up to {_MOST_DELAYS}, since each becomes a projection",
            )
        for steps in groups.astype(int):
            mask = (each == steps).astype(np.float64)
            for path in arriving.paths:
                kept = path.connectivity
                if len(groups) > 1:
                    kept = compose.diagonal(mask) if kept is None else kept.scaled(mask)
                    kept = _without_zeros(kept)
                paths.append(replace(path, connectivity=kept, delay=path.delay + int(steps), nodes=(*path.nodes, name)))
            biases += [(value * mask, start + int(steps)) for value, start in arriving.biases]
        return Signal(tuple(paths), tuple(biases))

    def neuron(self, name: str, handle: Handle, file: NirFile) -> tuple[Population, list[Projection]]:
        """The population of a neuron node and the projections into it."""
        shape = self.shape_of[name]
        discrete = discretise(name, self.graph.nodes[name], shape, self.conventions)
        neuron, gain = discrete.neuron, discrete.gain
        arriving = self.signal(name)
        taken: list[str] = []
        projections = [
            self._projection(p, name, p.connectivity or compose.diagonal(np.ones(len(gain))), gain, file, taken)
            for p in arriving.paths
        ]
        biases = [(gain * value, start) for value, start in arriving.biases]
        join, onto = None, list[Projection]()
        if arriving.joined is not None:
            join, onto, more = self._trees(arriving.joined, name, discrete, file, taken)
            biases += more
        for value, start in biases:
            if start == 0 and (neuron.du == 1).all():
                neuron = replace(neuron, bias=neuron.bias + value)
            else:
                self._attach(projections, value, start, name)
        return Population(name, shape, _checked(name, neuron), handle, join=join), projections + onto

    @staticmethod
    def _projection(
        path: Path, name: str, kind: Connectivity, gain: Array | None, file: NirFile, taken: list[str]
    ) -> Projection:
        """What a path becomes in front of a neuron node; its name is added to ``taken``."""
        nodes = path.nodes or (name,)
        taken.append(_fresh(path, name, taken))
        return Projection(
            name=taken[-1],
            source=path.source,
            target=name,
            connectivity=kind if gain is None else kind.scaled(gain),
            delay=path.delay,
            handle=Handle(file.modules.get(nodes[-1], ""), nodes),
        )

    def _trees(
        self, joined: Joined, name: str, discrete: Discrete, file: NirFile, taken: list[str]
    ) -> tuple[Join, list[Projection], list[tuple[Array, int]]]:
        """Compartments in front of a neuron node, the projections onto them, and biases that belong to the neurons."""
        why_not = discrete.neuron.joins("float")
        if why_not:
            raise UnsupportedError(
                f"the Max {joined.node!r} stands in front of neurons {name!r} that filter their current",
                found=why_not,
                allowed="neurons without one (LIF, IF, LI, I, Threshold): the filter of a MAX is not the MAX of "
                "filtered currents, which is what a chip's compartments would give",
                hint=TRAINS_EQUALLY,
            )
        joined = joined.scaled(discrete.gain, name)
        size = int(np.prod(next(self.shape_of[p] for p in self.edges.predecessors(joined.first))))
        trees = Trees.of(joined, size)
        onto = []
        for path in joined.signal.paths:
            kind = trees.connectivity(path.connectivity or compose.diagonal(np.ones(size)), name)
            path = replace(path, nodes=(*path.nodes, joined.first))
            onto.append(replace(self._projection(path, name, kind, None, file, taken), port=PORT))
        if not onto:
            raise UnsupportedError(
                f"the Max {joined.node!r} is one of constants", allowed="what neurons or inputs send"
            )
        mine: list[tuple[Array, int]] = []
        for value, start in joined.signal.biases:
            whole, each = trees.bias(value, len(discrete.gain))
            if each is None and start == 0:
                mine.append((whole, start))
            else:
                self._attach(onto, whole[trees.join.parent] if each is None else each, start, name)
        self.notes[f"join {name}"] = trees.said(joined.first, len(discrete.gain))
        return trees.join, onto, mine

    @staticmethod
    def _attach(projections: list[Projection], bias: Array, start: int, name: str) -> None:
        """Add a current bias to a projection that has none yet, or the same start."""
        for index, projection in enumerate(projections):
            if projection.bias is None or projection.bias_start == start:
                total = bias if projection.bias is None else projection.bias + bias
                projections[index] = replace(projection, bias=total, bias_start=start)
                return
        starts = sorted({start, *(projection.bias_start for projection in projections)})
        raise UnsupportedError(
            f"node {name!r} receives biases that start in more different steps than it has projections",
            found=f"biases from steps {', '.join(map(str, starts))} on, {len(projections)} projection(s)",
            allowed="one start for each projection",
            hint="leave out the bias of the layer in front of the Delay and add what it makes behind the Delay to the "
            "bias there (it then acts from step 0 on), or put the Delay in front of that layer",
        )


def _not_a_neuron(name: str, maximum: str, what: str, hint: str = TRAINS_EQUALLY) -> UnsupportedError:
    """The refusal of a Max in front of what is no neuron."""
    return UnsupportedError(
        f"the Max {maximum!r} stands in front of {name!r}, which is no neuron",
        found=what,
        allowed="a neuron behind a Max (a scaling or a Flatten may stand between)",
        hint=hint,
    )


def _between_steps(name: str, exact: Array, dt: float) -> InvalidInputError:
    """The refusal of delays that are no whole steps: rounded, they would make another network."""
    wrong = np.unique(exact[np.abs(exact - np.rint(exact)) > _ROUNDING * np.maximum(np.abs(exact), 1)])
    listed = ", ".join(f"{steps * dt:g} s ({steps:g} steps)" for steps in wrong[:4])
    finer = next((n for n in range(2, 101) if (np.abs(exact * n - np.rint(exact * n)) < 1e-6 * n).all()), None)
    return InvalidInputError(
        f"node {name!r} has delays between two steps",
        found=listed + (f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""),
        allowed=f"whole steps of {dt:g} s",
        hint=("round them in the model" if finer is None else f"take a step that divides them (--dt {dt / finer:g})")
        + ", so that it is you who decides what they become",
    )


def _without_zeros(kind: Connectivity) -> Connectivity:
    matrix = kind.to_csr()
    matrix.eliminate_zeros()
    return Sparse.from_csr(matrix)


def _fresh(path: Path, target: str, taken: list[str]) -> str:
    """A name that no other projection has: the last node of the way, all of them where ways end alike, a number."""
    name = f"{path.source} -> {target}" + (f" ({path.nodes[-1]})" if path.nodes else "")
    if name in taken:
        name = f"{path.source} -> {target} ({', '.join(path.nodes)}; {path.delay} steps)"
    number = 2
    while name in taken:
        name, number = f"{path.source} -> {target} ({', '.join(path.nodes)}; {number})", number + 1
    return name


def _checked(name: str, neuron: Lif) -> Lif:
    if neuron.spiking and neuron.reset == "hard" and (neuron.reset_to > neuron.threshold).any():
        raise InvalidInputError(
            f"node {name!r} resets above its threshold, so it would spike for ever",
            found=f"v_reset {neuron.reset_to.max():g}",
            allowed=f"up to v_threshold {neuron.threshold.min():g}",
        )
    return neuron
