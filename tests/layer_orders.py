"""Random NIR graphs with every order of linear layers in front of a neuron, as exporters write these layers.

A case number says the order: the first stage ends in one of all pairs of `KINDS`, every second one behind a third
layer; a later stage has one layer of its own. Only parameters are random. Inputs are random spikes, and the gain of
each neuron is set so that they drive it across its threshold.

NIR cannot unfold a vector. Behind a layer that it only knows as a matrix
(`neurodeploy.exporters.torch_step.layers.matrix_of`) or a Flatten, an image layer is therefore written as the matrix
that it is, until a neuron gives back the image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nir
import numpy as np

from neurodeploy.exporters.torch_step import layers
from neurodeploy.lowering.discretise import discretise
from neurodeploy.network import compose
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Conv2d
from neurodeploy.nir_graph import interpreter as nir_reference
from neurodeploy.nir_graph.conventions import Conventions
from neurodeploy.nir_graph.nir_file import NirFile
from tests.random_nir import Builder

KINDS = (
    "conv", "grouped", "conv1d", "linear", "norm", "average", "sum", "global", "scale", "scale-each", "cat",
    "upsample", "transposed", "flatten",
)  # fmt: skip
STEPS, SAMPLES, RATE = 8, 2, 0.35
LARGE = 20
"""Positions from which on an image is not made larger."""


def order(case: int) -> tuple[tuple[str, ...], ...]:
    """The kinds of layers of each stage; a stage ends in a neuron."""
    count = len(KINDS)
    turn, index = divmod(case, count**2)
    before, last = divmod(index, count)
    lead = (turn + last + 3 * before) % (2 * count)
    first = (*KINDS[lead : lead + 1], KINDS[before], KINDS[last])
    second = KINDS[(last + 5 * before + turn) % count]
    return (first, (second,)) if np.random.default_rng([case, 1]).random() < 0.5 else (first,)


def inputs(graph: nir.NIRGraph, seed: int) -> Array:
    """Spikes ``[time, batch, channels, height, width]``."""
    shape = tuple(graph.nodes["input"].input_type["input"])
    return (np.random.default_rng([seed, 2]).random((STEPS, SAMPLES, *shape)) < RATE).astype(np.uint8)


@dataclass(frozen=True)
class Wire:
    """What the next layer hears: the sum of these nodes, an image that may be written as a vector or as rows."""

    names: tuple[str, ...]
    shape: tuple[int, int, int]
    """``(channels, height, width)``, even where the file has a vector."""
    own: tuple[int, ...]
    """The shape in the file: the image, ``(channels, length)`` or ``(values,)``."""


class Orders(Builder):
    """A graph while it grows."""

    def __init__(self, case: int) -> None:
        images = ((2, 4, 4), (1, 5, 4), (3, 3, 3), (2, 4, 3))
        image = images[int(np.random.default_rng([case, 3]).integers(len(images)))]
        super().__init__(case, image)
        self.case = case
        self.wires = [Wire(("input",), image, image)]
        self.conventions = Conventions(dt=1e-3)

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def put(self, what: str, node: nir.NIRNode, wire: Wire, own: tuple[int, ...], shape: Any = None) -> Wire:
        """Add a node behind a wire."""
        name = self.add(what, node, wire.names[0], own)
        self.edges += [(other, name) for other in wire.names[1:]]
        return Wire((name,), wire.shape if shape is None else tuple(int(n) for n in shape), own)

    def flat(self, wire: Wire) -> Wire:
        if len(wire.own) == 1:
            return wire
        return self.put("flat", nir.Flatten({"input": np.array(wire.own)}, 0, -1), wire, (int(np.prod(wire.own)),))

    def spatial(self, what: str, node: Any, wire: Wire) -> Wire:
        """A convolution or pool; as its matrix where the file has no image of the layer's rank."""
        rows = isinstance(node, nir.Conv1d)
        channels, height, width = wire.shape
        if rows and wire.own == wire.shape:
            flatten = nir.Flatten({"input": np.array(wire.own)}, 1, 2)
            wire = self.put("rows", flatten, wire, (channels, height * width), (channels, 1, height * width))
        conv = compose.spatial(node, (channels, height * width) if rows else wire.shape)
        shape = conv.output_shape
        if len(wire.own) == (2 if rows else 3):
            return self.put(what, node, wire, (shape[0], shape[2]) if rows else shape, shape)
        bias = getattr(node, "bias", None)
        return self.matrix(what, conv.apply(np.eye(conv.inputs)).T, bias, wire, shape)

    def matrix(self, what: str, matrix: Array, bias: Array | None, wire: Wire, shape: tuple[int, ...]) -> Wire:
        """A layer that the file knows only as a matrix; ``bias`` for each channel."""
        if bias is None or not np.any(bias):
            node: nir.NIRNode = nir.Linear(matrix)
        else:
            node = nir.Affine(matrix, np.repeat(bias, len(matrix) // len(bias)))
        return self.put(what, node, self.flat(wire), (len(matrix),), shape)

    def normal(self, *shape: int, fan: int) -> Array:
        return self.rng.normal(size=shape) / np.sqrt(fan)

    def bias(self, channels: int) -> Array:
        return self.rng.normal(size=channels) * float(self.some(0.0, 0.1))

    # One method for each of KINDS.

    def conv(self, wire: Wire, grouped: bool = False) -> Wire:
        channels, *size = wire.shape
        groups = channels if grouped else 1
        out = groups * int(self.some(1, 2)) if channels < 3 else groups if grouped else int(self.some(1, 2, 3))
        kernel, stride, dilation, padding = [], [], [], []
        for length in size:
            k, d = int(self.some(1, 2, 3)), int(self.some(1, 1, 2))
            s = int(self.some(1, 1, 2)) if length > 3 else 1
            span = d * (k - 1)
            least = max(0, -(-(span + 1 - length) // 2))
            for values, value in zip((kernel, stride, dilation), (k, s, d), strict=True):
                values.append(value)
            padding.append(int(self.rng.integers(least, max(least, min(span, 2)) + 1)))
        weight = self.normal(out, channels // groups, *kernel, fan=channels // groups * kernel[0] * kernel[1])
        said: Any = tuple(padding)
        if stride == [1, 1] and all(d * (k - 1) % 2 == 0 for d, k in zip(dilation, kernel, strict=True)):
            said = self.some(said, said, "same")
        node = nir.Conv2d(tuple(size), weight, tuple(stride), said, tuple(dilation), groups, self.bias(out))
        return self.spatial("conv", node, wire)

    def grouped(self, wire: Wire) -> Wire:
        return self.conv(wire, grouped=True)

    def conv1d(self, wire: Wire) -> Wire:
        channels, height, width = wire.shape
        length = height * width
        groups = int(self.some(1, channels))
        out, kernel, dilation = groups * int(self.some(1, 2)), int(self.some(1, 2, 3)), int(self.some(1, 2))
        out = out if out <= 4 else groups
        stride = int(self.some(1, 2)) if length > 8 else 1
        span = dilation * (kernel - 1)
        padding = int(self.some(span, span // 2, 0)) if length > span else span
        weight = self.normal(out, channels // groups, kernel, fan=channels // groups * kernel)
        node = nir.Conv1d(length, weight, stride, padding, dilation, groups, self.bias(out))
        return self.spatial("conv1d", node, wire)

    def linear_layer(self, wire: Wire) -> Wire:
        wire, shape = self.flat(wire), self.some((2, 2, 3), (1, 3, 3), (3, 2, 2), (5, 1, 1))
        weight = self.normal(int(np.prod(shape)), wire.own[0], fan=wire.own[0])
        weight[self.rng.random(weight.shape) < self.some(0.0, 0.3, 0.8)] = 0
        return self.matrix("linear", weight, self.bias(len(weight)), wire, shape)

    def norm(self, wire: Wire) -> Wire:
        """Batch normalisation as exporters write it: in the layer in front, or a layer of its own."""
        channels = wire.shape[0]
        gain, offset = self.rng.uniform(0.5, 2.0, channels) * self.some(1.0, 1.0, -1.0), self.bias(channels)
        if len(wire.names) == 1 and self.chance(0.3):
            made = layers.folded(self.nodes[wire.names[0]], gain, offset)
            if made is not None:
                self.nodes[wire.names[0]] = made
                return wire
        if len(wire.own) == 1:
            every = (np.repeat(v, wire.own[0] // channels) for v in (gain, offset))
            return self.put("norm", layers.affine_per_channel(*every, wire.own), wire, wire.own)
        return self.put("norm", layers.affine_per_channel(gain, offset, wire.own), wire, wire.own)

    def pool(self, wire: Wire, kind: type = nir.AvgPool2d) -> Wire:
        size = np.array(wire.shape[1:])
        window = np.minimum([int(self.some(1, 2, 2, 3)), int(self.some(2, 2, 3))], size)
        stride = self.some(window, np.array([1, 1]), np.array([2, 1]))
        padding = self.some(np.zeros(2, int), np.zeros(2, int), window // 2)
        return self.spatial("pool", kind(window, stride, padding), wire)

    def average(self, wire: Wire) -> Wire:
        return self.pool(wire)

    def sum(self, wire: Wire) -> Wire:
        return self.pool(wire, nir.SumPool2d)

    def whole(self, wire: Wire) -> Wire:
        window = np.array(wire.shape[1:])
        return self.spatial("global", nir.AvgPool2d(window, window, np.array([0, 0])), wire)

    def scale(self, wire: Wire, each: bool = False) -> Wire:
        if each:
            return self.put("scale", nir.Scale(self.rng.uniform(0.4, 1.6, wire.own)), wire, wire.own)
        channels = wire.shape[0]
        values = self.rng.uniform(0.4, 1.6, (channels, *[1] * (len(wire.own) - 1)))
        if len(wire.own) == 1:
            values = np.repeat(self.rng.uniform(0.4, 1.6, channels), wire.own[0] // channels)
        elif self.chance(0.5):
            values = np.ascontiguousarray(np.broadcast_to(values, wire.own))
        return self.put("scale", nir.Scale(values), wire, wire.own)

    def scale_each(self, wire: Wire) -> Wire:
        return self.scale(wire, each=True)

    def cat(self, wire: Wire) -> Wire:
        """Two branches along the channels: each is put into its place, and what follows adds them."""
        fits = [w for w in self.wires if w.shape[1:] == wire.shape[1:] and len(w.own) == len(wire.own)]
        fits = [w for w in fits if w.shape[0] + wire.shape[0] <= 4]
        if fits and self.chance(0.5):
            other = fits[int(self.rng.integers(len(fits)))]
        else:
            weight = self.normal(1, wire.shape[0], 3, 3, fan=9 * wire.shape[0])
            other = self.spatial("branch", nir.Conv2d(wire.shape[1:], weight, 1, 1, 1, 1, self.bias(1)), wire)
            if len(other.own) != len(wire.own):
                wire = self.flat(wire)
        total, first, names = wire.shape[0] + other.shape[0], 0, []
        for branch in (wire, other):
            node = layers.placed_channels(first, total, branch.own if len(branch.own) > 1 else branch.shape)
            if len(branch.own) == 1:
                conv = compose.spatial(node, branch.shape)
                node = nir.Linear(conv.apply(np.eye(conv.inputs)).T)
            length = int(np.prod(branch.own)) // branch.shape[0] * total
            own = (length,) if len(branch.own) == 1 else (total, *branch.own[1:])
            names += self.put("cat", node, branch, own).names
            first += branch.shape[0]
        return Wire(tuple(names), (total, *wire.shape[1:]), own)

    def upsample(self, wire: Wire) -> Wire:
        """Nearest neighbour, as a matrix."""
        channels, height, width = wire.shape
        factors: Any = self.some((2, 2), (1, 2), (2, 1)) if height * width < LARGE else (1, 1)
        rows, columns = (np.repeat(np.eye(n), f, axis=0) for n, f in zip((height, width), factors, strict=True))
        matrix = np.kron(np.eye(channels), np.kron(rows, columns))
        return self.matrix("upsample", matrix, None, wire, (channels, len(rows), len(columns)))

    def transposed(self, wire: Wire) -> Wire:
        """A transposed convolution, the adjoint of a convolution, as a matrix."""
        channels, *size = wire.shape
        out, kernel = int(self.some(1, 2)), int(self.some(2, 3))
        stride = int(self.some(1, 2)) if size[0] * size[1] < LARGE else 1
        padding = kernel // 2
        larger = [max((n - 1) * stride - 2 * padding + kernel, 1) for n in size]
        weight = self.normal(channels, out, kernel, kernel, fan=channels * kernel)
        conv = Conv2d(weight, (out, *larger), (stride, stride), (padding, padding))
        if conv.output_shape != wire.shape:  # a single row or column with an even kernel has nothing left
            conv = Conv2d(weight, (out, *(n + kernel - 1 for n in size)))
        return self.matrix("transposed", conv.apply(np.eye(conv.inputs)), self.bias(out), wire, conv.input_shape)

    def flatten(self, wire: Wire) -> Wire:
        return self.flat(wire)

    def layer(self, kind: str, wire: Wire) -> Wire:
        """The layer ``kind`` behind a wire, sometimes with a residual from an earlier place."""
        named = {"linear": "linear_layer", "global": "whole", "scale-each": "scale_each"}
        made: Wire = getattr(self, named.get(kind, kind))(self.residual(wire))
        if self.chance(0.05):
            steps = self.rng.integers(0, 3, made.own) if self.chance(0.5) else np.full(made.own, 1)
            each = [replace(made, names=(name,)) for name in made.names]
            delayed = [self.put("delay", nir.Delay(steps * 1e-3), wire, made.own) for wire in each]
            made = replace(made, names=tuple(name for wire in delayed for name in wire.names))
        self.wires.append(made)
        return made

    def residual(self, wire: Wire) -> Wire:
        """The wire, sometimes plus an earlier one of the same shape."""
        fits = [w for w in self.wires if w.own == wire.own and not set(w.names) & set(wire.names)]
        if not fits or not self.chance(0.2):
            return wire
        return replace(wire, names=(*wire.names, *fits[int(self.rng.integers(len(fits)))].names))

    def population(self, wire: Wire, spiking: bool) -> Wire:
        """A neuron that the inputs drive across its threshold, sometimes with a recurrent edge."""
        wire = self.residual(wire)
        shape = wire.shape if len(wire.own) == 1 and self.chance(0.5) else wire.own
        name = self.neuron(wire.names[0], spiking, shape)
        self.edges += [(other, name) for other in wire.names[1:]]
        node = self.nodes[name]
        threshold = np.broadcast_to(getattr(node, "v_threshold", 0.4), shape)
        driven = self.potentials(name) / threshold.ravel()
        if (driven > 0).mean() < 0.2:
            node.r, driven = -node.r, -driven
        driven = np.quantile(driven[driven > 0], float(self.some(0.5, 0.7, 0.85))) if (driven > 0).any() else 1.0
        # Not quite onto the threshold: a tie would be decided by rounding.
        node.r = node.r * (self.rng.uniform(1.02, 1.2) / driven)
        made = Wire((name,), wire.shape, shape)
        if spiking and shape == wire.own and self.chance(0.3):
            self.recurrent(made, float(threshold.mean()))
        self.wires.append(made)
        return made

    def potentials(self, name: str) -> Array:
        """What the inputs do to the neuron ``name`` while it does not spike."""
        graph = self.graph([name])
        node = graph.nodes[name]
        threshold = getattr(node, "v_threshold", None)
        if threshold is not None:
            node.v_threshold = np.full_like(threshold, 1e30)
        x = {"input": inputs(graph, self.case)}
        v = nir_reference.run(NirFile(graph, Path(), ""), x, self.conventions).states["v"][name]
        if threshold is not None:
            node.v_threshold = threshold
        return np.asarray(v)

    def recurrent(self, at: Wire, threshold: float) -> None:
        """The neurons' spikes of the step before through a convolution or matrix back to them."""
        node, size = self.nodes[at.names[0]], int(np.prod(at.own))
        gain = float(np.mean(discretise("", node, at.own, self.conventions).gain))
        bias = self.bias(at.shape[0])
        if len(at.own) == 1:
            weight, bias = self.normal(size, size, fan=size), np.repeat(bias, size // len(bias))
            loop: Any = nir.Affine(weight, bias)
        elif len(at.own) == 2:
            weight = self.normal(at.own[0], at.own[0], 3, fan=3 * at.own[0])
            loop = nir.Conv1d(at.own[1], weight, 1, 1, 1, 1, bias)
        else:
            weight = self.normal(at.own[0], at.own[0], 3, 3, fan=9 * at.own[0])
            loop = nir.Conv2d(at.own[1:], weight, 1, 1, 1, 1, bias)
        loop.weight, loop.bias = weight * threshold / gain, bias * threshold / gain
        back = self.put("loop", loop, at, at.own)
        if self.chance(0.5):
            back = self.put("loopscale", nir.Scale(self.rng.uniform(0.5, 1.5, at.own)), back, at.own)
        self.edges.append((back.names[0], at.names[0]))

    def graph(self, outputs: list[str]) -> nir.NIRGraph:
        nodes, edges = dict(self.nodes), list(self.edges)
        for index, name in enumerate(outputs):
            nodes[f"output{index}"] = nir.Output(np.array(self.shape[name]))
            edges.append((name, f"output{index}"))
        return nir.NIRGraph(nodes, edges, type_check=False)


def ordered_graph(case: int) -> nir.NIRGraph:
    """The graph of a case: input -> one or two stages of layers and a neuron, read at the last, perhaps at both."""
    b = Orders(case)
    wire, stages, outputs = b.wires[0], order(case), []
    for index, kinds in enumerate(stages):
        for kind in kinds:
            wire = b.layer(kind, wire)
        spiking = not b.chance(0.15 if index == len(stages) - 1 else 0.05)
        wire = b.population(wire, spiking)
        outputs.append(wire.names[0])
    return b.graph(outputs if b.chance(0.3) else outputs[-1:])


__all__ = ["KINDS", "inputs", "order", "ordered_graph"]
