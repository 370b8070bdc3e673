"""Random NIR graphs with max pooling: of currents (`Max`), and of spikes (their sum, and a threshold).

Windows of one and two dimensions with kernels, strides, padding and dilation of all kinds, and of channels; several
branches in front of a Max, currents beside it, scalings behind it, Max behind Max, delays and loops.
"""

from __future__ import annotations

import nir
import numpy as np

from neurodeploy import backends
from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.nir_graph.max_node import max_node
from neurodeploy.program.recording import Record
from tests.conformance.compare import difference
from tests.random_nir import Builder

DT = 1e-3
OPTIONS = ({"reset": "hard", "comparison": ">"}, {"reset": "subtract", "comparison": ">"},
           {"reset": "subtract", "comparison": ">=", "reset_time": "next"})  # fmt: skip
EVERYTHING = Record(("u", "v"))


def windows(
    shape: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> np.ndarray:  # fmt: skip
    """Positions in ``(channels, *image)`` under each window, ``[channels, *windows, positions]``; -1 for padding."""
    index = np.arange(np.prod(shape)).reshape(shape)
    padded = np.pad(index, [(0, 0), *((p, p) for p in padding)], constant_values=-1)
    span = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    axes = tuple(range(1, len(shape)))
    under = np.lib.stride_tricks.sliding_window_view(padded, span, axis=axes)
    under = under[(slice(None), *(slice(None, None, s) for s in stride))]
    under = under[(..., *(slice(None, None, d) for d in dilation))]
    return under.reshape(*under.shape[: len(shape)], -1)


class Pooling(Builder):
    """A graph that grows by pooled layers."""

    def geometry(self, image: tuple[int, ...]) -> tuple[tuple[int, ...], ...] | None:
        """Kernel, stride, padding and dilation that fit an image; None where nothing does."""
        found = []
        for size in image:
            kernel = int(self.rng.integers(1, 4))
            stride = int(self.some(kernel, kernel, 1, 2))
            padding = int(self.rng.integers(0, kernel // 2 + 1))
            dilation = int(self.some(1, 1, 1, 2))
            if dilation * (kernel - 1) + 1 > size + 2 * padding:
                return None
            found.append((kernel, stride, padding, dilation))
        geometry = tuple(zip(*found, strict=True))
        empty = (windows((1, *image), *geometry) < 0).all(axis=-1).any()
        return None if empty else geometry

    def currents(self, source: str) -> str:
        """A linear layer, or two that are added up; as an image where it is one."""
        shape = self.shape[source]
        if len(shape) == 3:
            one = self.conv(source)
            shape = self.shape[one]
            if self.rng.random() < 0.25:
                height, width = self.shape[source][1:]
                if shape[1:] == (height, width):
                    weight = self.rng.normal(size=(shape[0], self.shape[source][0], 1, 1))
                    other = nir.Conv2d((height, width), weight, 1, 0, 1, 1, np.zeros(shape[0]))
                    return self.added(one, self.add("mix", other, source, shape))
            return one
        if len(shape) == 2:
            return self.conv1d(source)
        one = self.linear(source, int(self.rng.integers(2, 13)))
        return self.added(one, self.linear(source, self.shape[one][0])) if self.rng.random() < 0.25 else one

    def added(self, one: str, other: str) -> str:
        """A node at which two add up."""
        shape = self.shape[one]
        name = self.add("sum", nir.Scale(np.ones(shape)), one, shape)
        self.edges.append((other, name))
        return name

    def largest(self, source: str) -> str:
        """A Max of some kind behind currents."""
        shape = self.shape[source]
        if len(shape) == 1:
            size = int(self.rng.integers(1, shape[0] + 1))
            most = int(self.rng.integers(1, shape[0] + 1))
            chosen = [self.rng.permutation(shape[0])[: int(self.rng.integers(1, most + 1))] for _ in range(size)]
            index = np.full((size, most), -1)
            for row, positions in zip(index, chosen, strict=True):
                row[: len(positions)] = positions
        elif self.rng.random() < 0.15 and shape[0] % 2 == 0:  # of channels
            index = np.arange(np.prod(shape)).reshape(2, shape[0] // 2, *shape[1:]).transpose(
                *range(1, len(shape) + 1), 0)  # fmt: skip
        else:
            geometry = self.geometry(shape[1:])
            if geometry is None:
                return source
            index = windows(shape, *geometry)
        return self.add("max", max_node(index, shape), source, index.shape[:-1])

    def of_spikes(self, source: str) -> str:
        """Max pooling of binary spikes: a sum, and a threshold."""
        shape = self.shape[source]
        geometry = None if len(shape) != 3 else self.geometry(shape[1:])
        if geometry is None:
            return source
        kernel, stride, padding, dilation = geometry
        after = windows(shape, *geometry).shape[:-1]
        if set(dilation) == {1}:
            pool: nir.NIRNode = nir.SumPool2d(np.array(kernel), np.array(stride), np.array(padding))
        else:
            ones = np.ones((shape[0], 1, *kernel))
            pool = nir.Conv2d(shape[1:], ones, stride, padding, dilation, shape[0], np.zeros(shape[0]))
        at = self.add("sumpool", pool, source, after)
        return self.add("maximum", nir.Threshold(np.full(after, 0.5)), at, after)

    def unfiltered(self, source: str, spiking: bool = True) -> str:
        """A neuron without a filter of its current."""
        while True:
            before, edges = dict(self.nodes), list(self.edges)
            name = self.neuron(source, spiking)
            if not type(self.nodes[name]).__name__.startswith("Cuba"):
                return name
            self.nodes, self.edges = before, edges


def random_graph(seed: int) -> nir.NIRGraph:
    """Input -> 1 to 3 layers, most of them with max pooling -> an output."""
    shapes = ((2, 6, 6), (3, 7, 5), (1, 8, 8), (2, 11), (9,))
    b = Pooling(seed, shapes[seed % len(shapes)])
    at = "input"
    for layer in range(int(b.rng.integers(1, 4))):
        if layer and b.rng.random() < 0.3:
            at = b.of_spikes(at)
        if layer and b.rng.random() < 0.15:
            at = b.add("delay", nir.Delay(np.full(b.shape[at], 2e-3)), at, b.shape[at])
        before = at
        at = b.currents(at)
        if b.rng.random() < 0.8:
            at = b.largest(at)
            if b.rng.random() < 0.1:
                at = b.largest(at)
        if b.rng.random() < 0.25:
            scale = b.rng.uniform(0.5, 1.5, b.shape[at])
            at = b.add("scale", nir.Scale(scale), at, b.shape[at])
        at = b.unfiltered(at)
        if len(b.shape[at]) == 1 and b.rng.random() < 0.4:
            b.edges.append((b.linear(before, b.shape[at][0]), at))
        if len(b.shape[at]) == 1 and b.rng.random() < 0.25:
            size = b.shape[at][0]
            b.edges.append((b.add("rec", nir.Linear(b.rng.normal(size=(size, size)) * 0.3), at, (size,)), at))
    if b.rng.random() < 0.3:
        at = b.unfiltered(b.largest(b.linear(at, 6)), spiking=False)
    b.nodes["output"] = nir.Output(np.array(b.shape[at]))
    b.edges.append((at, "output"))
    return nir.NIRGraph(b.nodes, b.edges, type_check=False)


def differences(seed: int, path: str, others: tuple[str, ...] = ("hwsim", "onnxruntime", "lava")) -> list[str]:
    """Write the graph of a seed to ``path`` and compare all back-ends on it, in floats and integers.

    Returns:
        What differs, in words.
    """
    nir.write(path, random_graph(seed))
    rng = np.random.default_rng(seed)
    options = {"dt": DT, **OPTIONS[seed % len(OPTIONS)]}
    floats = compile(path, None, CompileOptions(conventions=options, integer=False))
    shape = floats.program.network.inputs[0].shape
    x = {"": (rng.random((12, 2, *shape)) < 0.4).astype(np.uint8)}
    wrong = []
    truth = floats.nir(x)
    judge = backends.get("reference")(floats.program, x, record=EVERYTHING)
    for layer, events in truth.spikes.items():
        # What no output depends on, or never spikes, is pruned.
        if layer in judge.spikes and (events.dense() != judge.spikes[layer].dense()).any():
            wrong.append(f"floats: spikes of {layer} are not those of the graph")
    for layer, values in truth.states["v"].items():
        if layer in judge.states["v"] and not np.allclose(values, judge.states["v"][layer], atol=1e-6):
            wrong.append(f"floats: potentials of {layer} are not those of the graph")
    for name in others:
        if text := difference(judge, backends.get(name)(floats.program, x, record=EVERYTHING), integer=False):
            wrong.append(f"floats on {name}: {text}")
    integers = compile(path, None, CompileOptions(conventions=options, calibration=x if seed % 2 else None)).program
    judge = backends.get("reference")(integers, x, record=EVERYTHING)
    for name in (other for other in others if other != "onnxruntime"):
        if text := difference(judge, backends.get(name)(integers, x, record=EVERYTHING), integer=True):
            wrong.append(f"integers on {name}: {text}")
    return wrong
