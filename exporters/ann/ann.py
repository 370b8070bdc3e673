"""From an ordinary network (ANN) to a spiking one: every ReLU becomes a layer of integrate-and-fire neurons.

A neuron without leak that gives up its threshold with each spike (soft reset) sends ``floor((v_0 + sum I) / lambda)``
spikes as long as it need not send two in a step, so its rate times its threshold ``lambda`` is ``max(I, 0)``, up to
``lambda``: a ReLU (Rueckauer et al., "Conversion of Continuous-Valued Deep Networks to Efficient Event-Driven Networks
for Image Classification", Frontiers in Neuroscience 11:682, 2017). Starting at ``v_0 = lambda / 2`` rounds instead of
cutting off (Deng and Gu, "Optimal Conversion of Conventional Artificial Neural Networks to Spiking Neural Networks",
ICLR 2021). ``lambda`` is a percentile of the layer's activations on calibration samples (threshold balancing), never
above the ceiling of a ReLU6.

Membranes are in the units of the ANN: a spike of a layer is worth its ``lambda``, which the weights behind it contain.
The output is read by units without memory (LI with tau = dt), whose potentials summed over the steps are the scores.

The input is ``direct`` (the same real values in every step) or ``rate`` (spikes worth ``input_scale`` each, by the
phase accumulator of `encode`); chips without real-valued inputs need ``rate``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Literal, get_args

import nir
import numpy as np

import neurodeploy
from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.nir_graph.max_node import max_node
from neurodeploy.nir_graph.metadata import NAMESPACE, NeuronRules, put

from ..torch_step.layers import flatten
from .ann_graph import BLOCK, Add, Affine, Ann, Conv, Flatten, Layer, Matrix, Max, Pool, Relu, Scale, evaluate
from .flat import flat

Coding = Literal["direct", "rate"]

PERCENTILE = 99.9
"""Of a layer's activations that becomes its threshold."""

SAMPLES_KEPT = 4_000_000
"""Activations of a layer that a percentile is computed from."""

_Sum = dict[str, float]
"""NIR node -> what one unit of its output is worth."""


def convert(
    ann: Ann,
    calibration: Array,
    *,
    percentile: float = PERCENTILE,
    coding: Coding = "direct",
    input_scale: float | None = None,
    dt: float = 1e-3,
) -> nir.NIRGraph:
    """Return the spiking network of an ANN, with metadata that `neurodeploy.lowering.lower` understands.

    Args:
        calibration: inputs of the ANN ``[samples, *shape]``, some hundred of the training set.
        percentile: of the activations that becomes a layer's threshold, 0 to 100.
        coding: how the input arrives, see the module's docstring.
        input_scale: what a spike of a rate-coded input is worth; None takes the largest value of `calibration`.
        dt: length of a step in seconds.

    Raises:
        InvalidInputError: calibration data of the wrong shape, or negative values to be coded as rates.
        UnsupportedError: a layer that NIR cannot express; the message names it.
    """
    samples = checked_calibration(ann, calibration, coding)
    if not 0 < dt < float("inf"):
        raise InvalidInputError("the time step must be a positive number of seconds", found=dt)
    if input_scale is None:
        input_scale = float(samples.max()) or 1.0
    if not 0 < input_scale < float("inf"):
        raise InvalidInputError("the scale of the input must be a positive number", found=input_scale)
    worth = input_scale if coding == "rate" else 1.0
    graph = spiking_graph(ann, thresholds(ann, samples, percentile), dt, worth)
    put(graph, {"input_coding": coding, "input_scale": worth, "percentile": percentile})
    return graph


def spiking_graph(ann: Ann, thresholds: Mapping[str, float], dt: float, worth: float = 1.0) -> nir.NIRGraph:
    """The graph with the given threshold of each ReLU layer; a spike of the input is ``worth`` so much."""
    return _Conversion(ann, thresholds, worth, dt).graph()


def encode(x: Array, steps: int, coding: Coding = "direct", input_scale: float = 1.0) -> Array:
    """Inputs of the spiking network ``[time, batch, *shape]`` for inputs of the ANN ``[batch, *shape]``.

    ``direct`` repeats the values (without copying them). ``rate`` spikes in step t iff
    ``floor((t + 1) x / input_scale) > floor(t x / input_scale)``: evenly spread, the largest value in every step.

    Raises:
        InvalidInputError: no step, an unknown coding, or values outside 0 to `input_scale` to be coded as rates.
    """
    x = np.asarray(x)
    if steps < 1:
        raise InvalidInputError("a sample needs at least one step", found=steps, allowed="1 or more")
    if coding == "direct":
        return np.broadcast_to(x, (steps, *x.shape))
    if coding != "rate":
        raise InvalidInputError("unknown coding", found=coding, allowed=", ".join(get_args(Coding)))
    if x.size and not (x.min() >= 0 and x.max() <= input_scale):
        raise InvalidInputError(
            "values that cannot be coded as rates",
            found=f"{x.min():g} to {x.max():g}",
            allowed=f"0 to {input_scale:g}",
            hint="use direct coding, or scale the data",
        )
    rate = np.asarray(x, np.float64) / input_scale
    # Added before rounding down, so that 0.1 * 10 counts as 1.
    counts = [np.floor(t * rate + 1e-9) for t in range(steps + 1)]
    return np.stack([(b > a).astype(np.uint8) for a, b in pairwise(counts)])


def thresholds(ann: Ann, samples: Array, percentile: float = PERCENTILE) -> dict[str, float]:
    """Threshold of every ReLU layer: the percentile of its activations over samples, neurons and places.

    Raises:
        InvalidInputError: the percentile is not one.
    """
    if not 0 < percentile <= 100:
        raise InvalidInputError("the percentile is not one", found=percentile, allowed="above 0, up to 100")
    relus = [layer for layer in ann.layers if isinstance(layer.operation, Relu)]
    kept: dict[str, list[Array]] = {layer.name: [] for layer in relus}
    largest = {layer.name: 0.0 for layer in relus}
    for start in range(0, len(samples), BLOCK):
        values = evaluate(ann, samples[start : start + BLOCK])
        for layer in relus:
            found = values[layer.name]
            stride = max(1, found.size * -(-len(samples) // BLOCK) // SAMPLES_KEPT)
            kept[layer.name].append(found.reshape(-1)[::stride])
            largest[layer.name] = max(largest[layer.name], float(found.max()))
    result = {}
    for name, parts in kept.items():
        # A layer that is silent but for outliers has the percentile 0; one that is always silent may have any.
        result[name] = float(np.percentile(np.concatenate(parts), percentile)) or largest[name] or 1.0
    return result


def checked_calibration(ann: Ann, calibration: Array, coding: Coding = "direct") -> Array:
    """The calibration data as an array; refused if they do not fit the network or the coding."""
    samples = np.asarray(calibration)
    if samples.shape[1:] != ann.input_shape or not len(samples):
        raise InvalidInputError(
            "the calibration data have the wrong shape",
            found=list(samples.shape),
            allowed=f"[samples, {', '.join(map(str, ann.input_shape))}]",
        )
    if samples.dtype.kind not in "biuf" or not np.isfinite(samples).all():
        raise InvalidInputError("the calibration data are not finite numbers", found=samples.dtype)
    if coding not in get_args(Coding):
        raise InvalidInputError("unknown coding", found=coding, allowed=", ".join(get_args(Coding)))
    if coding == "rate" and samples.min() < 0:
        raise InvalidInputError(
            "negative inputs cannot be coded as rates",
            found=f"{samples.min():g}",
            allowed="values from 0",
            hint="use direct coding, or train on inputs from 0 to 1",
        )
    return samples


class _Conversion:
    def __init__(self, ann: Ann, thresholds: Mapping[str, float], worth: float, dt: float) -> None:
        self.ann, self.thresholds, self.dt = flat(ann), thresholds, dt
        self.flat: set[str] = set()
        """Nodes that put out a vector where their layer has an image."""
        self.vectors: dict[str, str] = {}
        self.shapes = {ann.input: ann.input_shape, **{layer.name: layer.shape for layer in self.ann.layers}}
        self.nodes: dict[str, nir.NIRNode] = {ann.input: nir.Input(np.array(ann.input_shape))}
        self.edges: list[tuple[str, str]] = []
        self.sums: dict[str, _Sum] = {ann.input: {ann.input: worth}}

    def graph(self) -> nir.NIRGraph:
        for layer in self.ann.layers:
            arriving: _Sum = {}
            for name in layer.inputs:
                for node, factor in self.sums[name].items():
                    arriving[node] = arriving.get(node, 0.0) + factor
            self.sums[layer.name] = self._layer(layer, arriving)
        self._read()
        section = {
            "dt": self.dt,
            "reset": "subtract",
            "comparison": ">=",
            "framework": self.ann.origin,
            "neurodeploy_version": neurodeploy.__version__,
        }
        # nir's type check refuses valid grouped convolutions and non-square kernels.
        return nir.NIRGraph(self.nodes, self.edges, metadata={NAMESPACE: section}, type_check=False)

    def _layer(self, layer: Layer, arriving: _Sum) -> _Sum:
        """Add a layer's node; return what its output consists of."""
        shape = self.ann.shape_of(layer.inputs[0])
        match layer.operation:
            case Add():
                return arriving
            case Relu():
                self._node(layer, self._neurons(layer), self._even(layer, arriving, shape, 1.0))
                return {layer.name: self.thresholds[layer.name]}
            case Affine(weight, bias):
                factor = self._common(arriving)
                node = nir.Affine(weight * factor, bias) if bias.any() else nir.Linear(weight * factor)
                self._node(layer, node, self._even(layer, arriving, shape, factor))
                return {layer.name: 1.0}
            case Matrix(weight, bias):
                factor = self._common(arriving)
                dense = weight.toarray() * factor
                node = nir.Affine(dense, bias) if bias.any() else nir.Linear(dense)
                put(node, {"zeros": "no synapses"})
                self._node(layer, node, self._even(layer, arriving, (math.prod(shape),), factor))
                self.flat.add(layer.name)
                return {layer.name: 1.0}
            case Conv(weight, bias, stride, padding, dilation, groups):
                factor = self._common(arriving)
                size = (shape[1], shape[2])
                node = nir.Conv2d(size, weight * factor, stride, padding, dilation, groups, bias)
                self._node(layer, node, self._even(layer, arriving, shape, factor))
                return {layer.name: 1.0}
            case Pool(window, stride, padding):
                factor = self._common(arriving)
                node = nir.AvgPool2d(np.array(window), np.array(stride), np.array(padding))
                self._node(layer, node, self._even(layer, arriving, shape, factor))
                return {layer.name: factor}
            case Max(index):
                self._node(layer, max_node(index, shape), self._even(layer, arriving, shape, 1.0))
                return {layer.name: 1.0}
            case Flatten():
                factor = self._common(arriving)
                node = flatten(shape, (2, *layer.shape), 2)
                self._node(layer, node, self._even(layer, arriving, shape, factor))
                return {layer.name: factor}
            case Scale(scale, shift):
                factor = self._common(arriving)
                node = self._scaling(layer, np.broadcast_to(scale, shape) * factor, np.broadcast_to(shift, shape))
                self._node(layer, node, self._even(layer, arriving, shape, factor))
                return {layer.name: 1.0}

    def _node(self, layer: Layer, node: nir.NIRNode, sources: list[str]) -> None:
        put(node, {"module": layer.module} if layer.module else {})
        self.nodes[layer.name] = node
        self.edges += [(source, layer.name) for source in sources]

    @staticmethod
    def _common(arriving: _Sum) -> float:
        """The factor that all terms share, 1 if they do not."""
        factors = set(arriving.values())
        return factors.pop() if len(factors) == 1 else 1.0

    def _even(self, layer: Layer, arriving: _Sum, shape: tuple[int, ...], factor: float) -> list[str]:
        """Nodes whose plain sum is the arriving value divided by ``factor``; Scale nodes stand where they must.

        Where a matrix is read, or one of them is a vector, all are.
        """
        sources = []
        vectors = isinstance(layer.operation, Matrix) or not self.flat.isdisjoint(arriving)
        for node, worth in arriving.items():
            name = node
            if vectors and node not in self.flat and len(self.shapes[node]) > 1:
                name = self._vector(node)
            shape = (math.prod(shape),) if vectors else shape
            if worth != factor:
                source, name = name, self._fresh(f"{layer.name}.from.{node}")
                self.nodes[name] = nir.Scale(np.full(shape, worth / factor))
                self.edges.append((source, name))
            sources.append(name)
        return sources

    def _vector(self, node: str) -> str:
        """A Flatten of what a node puts out, one for all that read it."""
        if node not in self.vectors:
            self.vectors[node] = name = self._fresh(f"{node}.flatten")
            self.nodes[name] = nir.Flatten({"input": np.array(self.shapes[node])}, 0, -1)
            self.edges.append((node, name))
        return self.vectors[node]

    def _fresh(self, name: str) -> str:
        while name in self.nodes or any(name == other.name for other in self.ann.layers):
            name += "_"
        return name

    def _neurons(self, layer: Layer) -> nir.IF:
        threshold = self.thresholds[layer.name]
        full = np.full
        return nir.IF(
            r=full(layer.shape, 1 / self.dt),
            v_threshold=full(layer.shape, threshold),
            v_reset=np.zeros(layer.shape),
            metadata={NAMESPACE: NeuronRules(initial=threshold / 2).to_metadata()},
        )

    def _scaling(self, layer: Layer, scale: Array, shift: Array) -> nir.NIRNode:
        """Scale; with a shift a diagonal Affine, or a convolution of one tap with a bias."""
        if not shift.any():
            return nir.Scale(scale.copy())
        if scale.ndim == 1:
            return nir.Affine(np.diag(scale), shift.copy())
        planes = [value.reshape(len(scale), -1) for value in (scale, shift)]
        if scale.ndim != 3 or not all((plane == plane[:, :1]).all() for plane in planes):
            raise UnsupportedError(
                f"the layer {layer.name!r} adds a constant of its own to each pixel",
                allowed="one for each channel",
                hint="normalise the data before the network",
            )
        weight = planes[0][:, 0].reshape(-1, 1, 1, 1)
        return nir.Conv2d(scale.shape[1:], weight, 1, 0, 1, len(scale), planes[1][:, 0].copy())

    def _read(self) -> None:
        """The output: a spiking layer as it is, anything else through units that show it."""
        shape = self.ann.shape_of(self.ann.output)
        (name, *others) = terms = self.sums[self.ann.output]
        self.nodes["output"] = nir.Output(np.array(shape))
        if not others and isinstance(self.nodes[name], nir.IF):
            self.edges.append((name, "output"))
            return
        readout = "readout"
        while readout in self.nodes:
            readout += "_"
        full = np.full
        layer = Layer(readout, Add(), (self.ann.output,), shape)
        self._node(layer, nir.LI(full(shape, self.dt), full(shape, 1.0), np.zeros(shape)),
                   self._even(layer, terms, shape, 1.0))  # fmt: skip
        self.edges.append((readout, "output"))
