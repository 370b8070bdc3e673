"""The networks of `peer_sanafe.py`: each as a Program of ours and, with the installed ``sanafe``, as a chip of SANA-FE.

rand, rblk   cores of 1,024 neurons that fire in turn (bias 1, threshold period - 1, so activity is exact), with 128
             synapses each, to random neurons of all cores (rand) or of 4 random cores (rblk: 32 a message)
mlp          784-512-512-10, dense, on 10 cores
dvs          SANA-FE's own network for DVS gestures (its tutorial), 4 convolutions, on 42 cores
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurodeploy.network.connectivity import Conv2d, Dense, Sparse
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.program.program import Program

CHIP = "sanafe-loihi"
Array = Any


@dataclass
class Layer:
    """Neurons of one population; ``cores`` is the core of each, in SANA-FE's order (channels first)."""

    name: str
    shape: tuple[int, ...]
    threshold: float
    cores: Array
    bias: Array | None = None
    initial: Array | None = None


@dataclass
class Case:
    """A network of layers, each reached from the one before, or one layer that reaches itself."""

    name: str
    steps: int
    layers: list[Layer]
    kinds: list[Any] = field(default_factory=list)
    recurrent: bool = False


def even(size: int, cores: int, first: int, up: bool) -> Array:
    """Core of each of ``size`` neurons, evenly; the rest goes to the last one, or parts are rounded up."""
    each = -(-size // cores) if up else size // cores
    return np.minimum(np.arange(size) // each, cores - 1).astype(np.int32) + first


def random_case(
    name: str, cores: int, rate: float, blocked: int, steps: int, fanout: int = 128, each: int = 1024
) -> Case:
    """One population of identical clocks."""
    rng = np.random.default_rng(1)
    size, period = cores * each, round(1 / rate)
    phase = rng.integers(0, period, size)
    if blocked:
        core = rng.integers(0, cores, (size, blocked))
        within = rng.integers(0, each, (size, fanout))
        targets = np.repeat(core, fanout // blocked, axis=1) * each + within
    else:
        targets = rng.integers(0, size, (size, fanout))
    synapses = Sparse(
        np.zeros(size * fanout, np.float32), targets.astype(np.int32).ravel(),
        np.arange(size + 1, dtype=np.int64) * fanout, size,
    )  # fmt: skip
    layer = Layer("pop", (size,), period - 1.0, even(size, cores, 0, True), np.ones(size), phase.astype(float))
    return Case(name, steps, [layer], [synapses], recurrent=True)


def mlp_case() -> Case:
    rng = np.random.default_rng(1)
    sizes, cores = (784, 512, 512, 10), (1, 4, 4, 1)
    weights = [np.round(rng.normal(4, 24, (a, b))).clip(-127, 127) for a, b in itertools.pairwise(sizes)]
    layers, first = [], 0
    for index, (size, count) in enumerate(zip(sizes, cores, strict=True)):
        layers.append(Layer(f"l{index}", (size,), 9.0 if index == 0 else 256.0, even(size, count, first, True)))
        first += count
    layers[0].bias = np.where(rng.random(784) < 0.25, 2.0, 0.0)
    return Case("mlp", 200, layers, [Dense(np.ascontiguousarray(w.T)) for w in weights])


def dvs_case(arrays: Any = None) -> Case:
    """From a file of arrays, or those that come with ``sanafe``; filters there are ``[y, x, in, out]``."""
    if arrays is None:
        import sanafe.tutorial

        with sanafe.tutorial.get_dvs_data() as file:
            return dvs_case(file)
    data = dict(np.load(arrays))
    shapes, counts = ((1, 32, 32), (16, 15, 15), (32, 13, 13), (64, 11, 11), (11, 9, 9), (11,)), (1, 4, 16, 16, 4, 1)
    layers, first = [], 0
    for index, (shape, count) in enumerate(zip(shapes, counts, strict=True)):
        size = int(np.prod(shape))
        layers.append(Layer(f"l{index}", shape, float(data["thresholds"][index]), even(size, count, first, False)))
        first += count
    layers[0].bias = np.asarray(data["inputs"], float).ravel()
    kinds: list[Any] = [
        Conv2d(
            np.ascontiguousarray(data[f"conv{k}"].transpose(3, 2, 0, 1)),
            shapes[k - 1],
            stride=(2, 2) if k == 1 else (1, 1),
        )
        for k in range(1, 5)
    ]
    kinds.append(Dense(np.ascontiguousarray(np.asarray(data["dense1"]).reshape(891, 11).T)))
    return Case("dvs", 100, layers, kinds)


CASES = {
    "rand16": lambda: random_case("rand16", 16, 0.05, 0, 40),
    "rblk16": lambda: random_case("rblk16", 16, 0.05, 4, 40),
    "rand64": lambda: random_case("rand64", 64, 0.05, 0, 10),
    "rblk64": lambda: random_case("rblk64", 64, 0.05, 4, 10),
    "dvs": dvs_case,
    "mlp": mlp_case,
}


def program(case: Case) -> Program:
    """The case as a Program in floats. A source that feeds nobody gives the run its length."""
    populations = [Population("clock", (1,), Source())]
    cores = {}
    for layer in case.layers:
        size = int(np.prod(layer.shape))
        full = np.full(size, 1.0)
        zero = np.zeros(size)
        neuron = Lif(
            du=full, dv=zero, bias=zero if layer.bias is None else layer.bias, threshold=full * layer.threshold,
            reset_to=zero, initial=zero if layer.initial is None else layer.initial,
        )  # fmt: skip
        populations.append(Population(layer.name, layer.shape, neuron))
        cores[layer.name] = layer.cores
    names = [layer.name for layer in case.layers]
    ends = [(names[0], names[0])] if case.recurrent else list(itertools.pairwise(names))
    projections = tuple(
        Projection(f"p{index}", a, b, kind, delay=int(case.recurrent))
        for index, ((a, b), kind) in enumerate(zip(ends, case.kinds, strict=True))
    )
    return Program(Network(case.name, tuple(populations), projections, (names[-1],), 1e-3), CHIP, cores)


def chip(case: Case) -> Any:
    """The case on SANA-FE's Loihi: (chip, everything that must stay alive)."""
    import sanafe
    import sanafe.layers

    arch = sanafe.load_loihi()
    hardware, net = arch.cores(), sanafe.Network()
    common = {"reset": 0.0, "leak_decay": 1.0, "input_decay": 0.0}
    made: list[Any] = []
    if case.recurrent:
        layer, kind = case.layers[0], case.kinds[0]
        group = net.create_neuron_group(
            layer.name, int(np.prod(layer.shape)),
            model_attributes={**common, "threshold": layer.threshold, "bias": 1.0}, soma_hw_name="loihi_lif",
            default_synapse_hw_name="loihi_sparse_synapse", default_dendrite_hw_name="loihi_dendrites",
        )  # fmt: skip
        assert layer.initial is not None
        for i, value in enumerate(layer.initial):
            group[i].set_attributes(model_attributes={"potential": float(value)})
        source = np.repeat(np.arange(kind.inputs), np.diff(kind.indptr))
        pairs = list(zip(source.tolist(), kind.targets.tolist(), strict=True))
        group.connect_neurons_sparse(group, {"w": [0.0] * len(pairs)}, pairs)
        made.append(group)
    else:
        for index, layer in enumerate(case.layers):
            attributes = {**common, "threshold": layer.threshold}
            if index == 0:
                height, width = layer.shape[1:] if len(layer.shape) == 3 else (28, 28)
                made.append(sanafe.layers.Input2D(net, height, width, 1, **attributes))
            elif isinstance(kind := case.kinds[index - 1], Conv2d):
                weights = np.ascontiguousarray(kind.weights.transpose(2, 3, 1, 0))
                made.append(
                    sanafe.layers.Conv2D(
                        net, made[-1], weights, stride_width=kind.stride[1], stride_height=kind.stride[0], **attributes
                    )
                )
            else:
                made.append(sanafe.layers.Dense(net, made[-1], kind.outputs, kind.weights.T.copy(), **attributes))
        assert case.layers[0].bias is not None
        for neuron, value in zip(made[0], case.layers[0].bias, strict=True):
            neuron.set_attributes(model_attributes={"bias": float(value)})
    for layer, group in zip(case.layers, made, strict=True):
        for neuron, core in zip(group, layer.cores, strict=True):
            neuron.map_to_core(hardware[int(core)])
    simulated = sanafe.SpikingChip(arch)
    simulated.load(net)
    return simulated, (arch, net, made)
