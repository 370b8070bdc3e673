"""Izhikevich's simple model as another package would bring it, in floats and in fixed point.

E. M. Izhikevich, "Simple model of spiking neurons", IEEE Transactions on Neural Networks 14(6), 2003, equations 1 to 3,
with one Euler step of 1 ms:

    v <- v + 0.04 v^2 + 5 v + 140 - w + I ;   w <- w + a (b v_old - w) ;   where v >= 30: v <- c, w <- w + d

In integers v, w and I are in 64ths, a and b in 4096ths, and every product is rounded down; v and w are held within 24
bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.dispatch import NeuronModel
from neurodeploy.network.neurons import Neuron

PEAK, M = 30, (1 << 23) - 1


@dataclass(frozen=True, eq=False)
class Izhikevich(Neuron):
    """Parameters of the paper, ``[neurons]`` each; in integers a, b in 4096ths, c, d in 64ths."""

    states: ClassVar[tuple[str, ...]] = ("v",)
    a: Array
    b: Array
    c: Array
    d: Array

    @property
    def label(self) -> str:
        return "Izhikevich"

    def first_potential(self, size: int) -> Array:
        return np.broadcast_to(self.c, (size,))


def reference(neuron: Izhikevich, state: object, current: Array, second: Array, integer: bool) -> Array:
    """One step in NumPy."""
    v, w = state.v, state.kept("w")
    if integer:
        dv = ((v * v * 41) >> 16) + 5 * v + 140 * 64 - w + current
        w = w + ((neuron.a * (((neuron.b * v) >> 12) - w)) >> 12)
        v = np.clip(v + dv, -M, M)
        fired = v >= PEAK * 64
    else:
        dv = 0.04 * v * v + 5 * v + 140 - w + current
        w = w + neuron.a * (neuron.b * v - w)
        v = v + dv
        fired = v >= PEAK
    state.v = np.where(fired, neuron.c, v).astype(v.dtype)
    w = w + fired * neuron.d
    state.memory["w"] = np.clip(w, -M, M) if integer else w
    return fired.astype(v.dtype)


MODEL = NeuronModel(Izhikevich, {"reference": reference, "hwsim": "izhikevich_kernel:KERNEL"})
