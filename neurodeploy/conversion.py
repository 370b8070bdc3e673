"""From an ordinary network (ANN) to sigma-delta neurons, which send what changes, as numbers.

Every ReLU becomes a layer of `neurodeploy.network.neurons.SigmaDelta`; linear layers stay as they are, and their biases
are added once, inside the neuron. What a layer knows of another is off by less than that one's threshold, so with
threshold 0 the result is the ANN's, and in a video only what moves costs anything (O'Connor and Welling, "Sigma Delta
Quantized Networks", ICLR 2017). NIR has no such neuron: the result is a `Network`, stored as a Program.

An input is its differences: a still image is sent in the first step, and nothing after it (`encode`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.exporters.ann.ann import PERCENTILE, checked_calibration, spiking_graph, thresholds
from neurodeploy.exporters.ann.ann_graph import Ann, Relu
from neurodeploy.lowering.lower import lower
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import with_weights
from neurodeploy.network.dispatch import expect
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, SigmaDelta
from neurodeploy.nir_graph.conventions import Conventions
from neurodeploy.nir_graph.nir_file import NirFile

RELATIVE_THRESHOLD = 0.02
"""Threshold of a layer as a part of its largest activation: smaller changes are not sent."""


def convert(
    ann: Ann,
    calibration: Array,
    *,
    relative_threshold: float = RELATIVE_THRESHOLD,
    percentile: float = PERCENTILE,
    dt: float = 1e-3,
    name: str = "ann",
    input_unit: float = 1.0,
) -> Network:
    """Return the float network of an ANN with sigma-delta neurons.

    Args:
        calibration: inputs of the ANN ``[samples, *shape]``; they say how large activations are.
        relative_threshold: of a layer, as a part of the `percentile` of its activations; 0 sends every change.
        dt: length of a step in seconds.
        input_unit: what 1 at the network's input stands for; its inputs are values divided by it (`encode`). With the
            step between the values, for example 1/255, inputs are whole numbers, as a chip's messages are.

    Raises:
        InvalidInputError: calibration data of the wrong shape, a threshold or an input unit that is not one.
        UnsupportedError: a layer that cannot be expressed; the message names it.
    """
    samples = checked_calibration(ann, calibration)
    if not 0 <= relative_threshold < 1:
        raise InvalidInputError(
            "the threshold is not a part of the largest activation", found=relative_threshold, allowed="0 to below 1"
        )
    if not 0 < dt < np.inf:
        raise InvalidInputError("the time step is not one", found=dt, allowed="seconds above 0")
    if not 0 < input_unit < np.inf:
        raise InvalidInputError("the input unit is not one", found=input_unit, allowed="a number above 0")
    for layer in ann.layers:
        if isinstance(layer.operation, Relu) and layer.operation.ceiling is not None:
            raise UnsupportedError(
                f"the layer {layer.name!r} is cut off at {layer.operation.ceiling:g}",
                allowed="ReLU without a ceiling",
                hint="convert it to spikes, whose rate has a ceiling, or train with ReLU",
            )
    levels = thresholds(ann, samples, percentile)
    graph = spiking_graph(ann, dict.fromkeys(levels, 1.0), dt)
    spiking = lower(NirFile(graph, Path(name), ""), Conventions(dt, "subtract", ">="))
    for population in spiking.populations:
        if population.join is not None:
            raise UnsupportedError(
                f"the layer {population.name!r} has max pooling in front, which sigma-delta neurons cannot take",
                found="changes arrive at them, and the largest change is not the change of the largest",
                allowed="average pooling, or a stride of the convolution",
                hint="use one of these and train again, or convert it to spikes",
            )
    biases = _biases(spiking)
    populations = tuple(_population(p, biases, levels, relative_threshold) for p in spiking.populations)
    notes = {
        **{topic: text for topic, text in spiking.notes.items() if topic in ("dt", "softmax")},
        **ann.notes,
        "neurons": f"sigma-delta, thresholds {relative_threshold:g} of each layer's {percentile:g} percentile",
        "input": "differences: the image in the first step, then what changes"
        + (f"; in units of {input_unit:.9g}" if input_unit != 1 else ""),
    }
    units = dict.fromkeys((p.name for p in spiking.inputs), input_unit)
    projections = tuple(_without_bias(p, units.get(p.source, 1.0)) for p in spiking.projections)
    return replace(spiking, populations=populations, projections=projections, notes=notes)


def _without_bias(projection: Projection, unit: float) -> Projection:
    kind = projection.connectivity
    scaled = kind if unit == 1 else with_weights(kind, kind.weights * unit)
    return replace(projection, bias=None, connectivity=scaled)


def encode(x: Array, steps: int = 1, unit: float = 1.0) -> Array:
    """Still inputs ``[batch, *shape]`` as differences ``[time, batch, *shape]``: all of them in the first step.

    With another ``unit`` than 1 they are rounded to whole numbers of it.
    """
    if steps < 1:
        raise InvalidInputError("a sample needs at least one step", found=steps, allowed="1 or more")
    changes = np.zeros((steps, *np.shape(x)))
    changes[0] = x if unit == 1 else np.rint(x / unit)
    return changes


def _biases(network: Network) -> Mapping[str, Array]:
    """What all projections onto a population add in a step."""
    biases: dict[str, Array] = {}
    for projection in network.projections:
        if projection.bias is not None:
            biases[projection.target] = biases.get(projection.target, 0.0) + projection.bias
    return biases


def _population(
    population: Population, biases: Mapping[str, Array], levels: Mapping[str, float], relative: float
) -> Population:
    if population.external:
        return population
    neuron = expect(population, Lif, "sigma-delta")
    hidden = population.name in levels
    bias = biases.get(population.name, np.zeros(population.size)) + neuron.bias
    threshold = np.full(population.size, levels[population.name] * relative if hidden else 0.0)
    return replace(population, neuron=SigmaDelta(bias, threshold, "relu" if hidden else "identity"))
