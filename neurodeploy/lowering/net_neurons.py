"""Neurons of lava-dl's `.net` files; what each field means says `neurodeploy.lowering.lava_dl`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.files.hdf5 import text
from neurodeploy.network.arrays import Array
from neurodeploy.network.neurons import Lif, Neuron, SigmaDelta

from .net_layer import MOST_WEIGHT

if TYPE_CHECKING:
    from .net_layer import Layer

SHIFT = 6
"""Loihi's alignment of weights, biases and thresholds with the 24-bit state."""

SPIKE_EXP, STATE_EXP = 6, 6
"""Fractional bits of a sigma-delta network's messages (netx's default, which the file does not hold), and those that
states have beside them (netx, ``state_exp``)."""

MOST_SIGMA = (1 << 23 - SPIKE_EXP - STATE_EXP) - 1
"""Largest magnitude of an input, a bias or a threshold whose fractional bits fit in 24."""

VALUE_BITS, MESSAGE_BITS = 12, 16
"""Of the values that a delta layer takes (`MOST_SIGMA` and a sign), and of messages (netx's default)."""

UNIT = 1 << SHIFT + SPIKE_EXP + STATE_EXP
"""What 1 is worth in a sigma-delta state, since SLAYER's inputs are in units of 1/64 (lava-dl's PilotNet tutorial)."""

MOST_THRESHOLD = (1 << 17) - 1


def is_affine(layer: Layer) -> bool:
    """Whether a layer has no neurons."""
    group = layer.group.get("neuron")
    return layer.kind in ("dense", "conv") and (group is None or not hasattr(group, "keys"))


def is_sigma_delta(layer: Layer) -> bool:
    """Whether a layer has sigma-delta neurons."""
    group = layer.group.get("neuron")
    return hasattr(group, "keys") and "type" in group and text(group["type"][()]) == "SDNN"


def neuron(layer: Layer, last: bool) -> Neuron:
    """The neurons of a layer, with its bias.

    Args:
        last: whether no layer follows.

    Raises:
        InvalidInputError: a value that cannot be used.
        UnsupportedError: a neuron or an option that is not expressed.
    """
    if is_affine(layer):
        return _affine(layer, last)
    group = layer.group["neuron"]
    kind = text(group["type"][()]) if "type" in group else "CUBA"
    if kind == "SDNN":
        return _sigma_delta(layer, last)
    if kind not in ("LOIHI", "CUBA"):
        raise layer.unsupported(
            f"has neurons of type {kind}",
            kind,
            "CUBA or LOIHI, current-based leaky integrate-and-fire, or SDNN, sigma-delta",
        )
    return _lif(layer, replace(layer, group=group), last)


def _lif(layer: Layer, fields: Layer, last: bool) -> Lif:
    if fields.one("refDelay", 0, 1 << 20, 1) > 1:
        raise layer.unsupported("has a refractory time of several steps", fields.one("refDelay", 0, 1 << 20), 1)
    for key in ("wgtExp", "messageBits", "gradedSpike"):
        if fields.one(key, -64, 64, 0):
            raise layer.unsupported(f"has {key} other than 0", fields.one(key, -64, 64), 0)
    threshold = fields.one("vThMant", 0, MOST_THRESHOLD + 1)
    full = _filled(layer)
    readout = last and threshold >= MOST_THRESHOLD
    return Lif(
        du=full(fields.one("iDecay", 0, 4096) - 1),
        dv=full(fields.one("vDecay", 0, 4096)),
        bias=_checked_bias(layer),
        threshold=full(threshold << SHIFT),
        reset_to=full(0),
        initial=full(0),
        reset="none" if readout else "hard",
        spiking=not readout,
    )


def _affine(layer: Layer, last: bool) -> Lif:
    """The read-out that stands for a layer without neurons."""
    if not last:
        raise layer.unsupported(
            "has no neurons: it is an affine output layer, and other layers follow it", "nothing",
            "neurons, or no layer behind it", "put a neuron into the block, or end the network here",
        )  # fmt: skip
    if layer.whole("bias", 0).any():
        raise layer.unsupported(
            "has no neurons: it is an affine output layer, and has a bias",
            f"biases up to {int(np.abs(layer.whole('bias')).max())}, which SLAYER adds in every step and netx once",
            "an affine output layer without a bias", "set bias=False, or give the block a neuron",
        )  # fmt: skip
    full = _filled(layer)
    return Lif(
        du=full(4095), dv=full(0), bias=full(0), threshold=full(MOST_THRESHOLD << SHIFT), reset_to=full(0),
        initial=full(0), reset="none", spiking=False,
    )  # fmt: skip


def _sigma_delta(layer: Layer, last: bool) -> SigmaDelta:
    """Delta neurons of an input layer, sigma neurons of an output layer, else both."""
    fields, full = replace(layer, group=layer.group["neuron"]), _filled(layer)
    if fields.one("messageBits", 0, 64, MESSAGE_BITS) != MESSAGE_BITS:
        raise layer.unsupported("has another messageBits", fields.one("messageBits", 0, 64), MESSAGE_BITS)
    if fields.one("sigma_output", 0, 1, 0):
        if not last or layer.whole("bias", 0).any():
            raise layer.unsupported(
                "is a sigma-delta output",
                "a bias, which netx leaves out" if last else "layers that follow it",
                "no bias, and no layer behind it",
            )
        return SigmaDelta(full(0), full(0), "identity")
    threshold = full(fields.one("vThMant", 0, MOST_SIGMA) << SPIKE_EXP + STATE_EXP)
    if layer.kind == "input":
        if "weight" in layer.group or layer.whole("bias", 0).any():
            raise layer.unsupported(
                "has sigma-delta neurons and scales its input", "a weight or a bias", "neither",
                "scale the input before the network, and set neither",
            )  # fmt: skip
        return SigmaDelta(full(0), threshold, "identity", STATE_EXP, accumulate=False)
    activation = text(layer.group["neuron/activation"][()]) if "neuron/activation" in layer.group else "relu"
    if activation != "relu":
        raise layer.unsupported(
            "has another activation", activation, "relu, which netx gives to all sigma-delta neurons"
        )
    bias = _bias(layer, MOST_SIGMA + 1) << SPIKE_EXP + STATE_EXP
    return SigmaDelta(bias, threshold, "relu", STATE_EXP, "lost")


def _filled(layer: Layer) -> Callable[[int], Array]:
    size = int(np.prod(layer.shape()))
    return lambda value: np.full(size, value, np.int32)


def _bias(layer: Layer, beyond: int) -> Array:
    """Biases ``[neurons]``, not shifted, of a magnitude below ``beyond``."""
    shape, found = layer.shape(), layer.whole("bias", 0).ravel()
    size = int(np.prod(shape))
    if len(found) not in (1, shape[0], size) or (np.abs(found) >= beyond).any():
        raise layer.invalid(
            "has a bias that cannot be used",
            f"{len(found)} of up to {int(np.abs(found).max())}",
            f"{shape[0]} below {beyond:,}",
        )
    return np.repeat(found, size // len(found)).astype(np.int32)


def input_weight(layer: Layer) -> int:
    """What an input layer multiplies its pixels by."""
    return layer.one("weight", -MOST_WEIGHT // 2, MOST_WEIGHT // 2, 64)


def _checked_bias(layer: Layer) -> Array:
    """Biases that the registers can hold: 13 bits, shifted by up to 7; of an input layer less the weight."""
    mantissa = _bias(layer, 1 << 17) - (input_weight(layer) if layer.kind == "input" else 0)
    wide = (mantissa < -4096) | (mantissa > 4095)
    wide &= (mantissa % 2 != 0) | (mantissa < -8192) | (mantissa > 8191)
    if wide.any():
        raise layer.invalid(
            "has biases that 13 bits cannot hold",
            f"{int(wide.sum()):,} of {wide.size:,}, the first {int(mantissa[wide][0])}"
            + (" (bias less weight)" if layer.kind == "input" else ""),
            "from -4096 to 4095, or even from -8192 to 8190",
        )
    return np.asarray(mantissa, np.int32) << SHIFT
