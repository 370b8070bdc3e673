"""Neuron models of a `Network`: what a population does in one step.

`Lif` covers the field's linear integrate-and-fire family (IF, LIF, CUBA-LIF, leaky and plain integrators, threshold
units). With input current ``I`` it computes, in floats,

    u <- (1 - du) u + I
    v <- (1 - dv) v + u + bias
    s  = v > threshold                       (>= where `comparison` says so)
    v <- reset_to where s                    (hard)      v - threshold (subtract)      v (none)

and in Loihi's integers (Lava 0.10.0, ``PyLifModelBitAcc``; M = 2^23), with ``a`` the sum of all arriving currents,

    D(x, d) = sign(x) ((|x| (4096 - d)) >> 12)
    u <- D(u, du + 1) + (a << 6), wrapped once into (-M, M]
    v <- clip(D(v, dv) + u + bias, -M + 1, M - 1)
    s  = v > threshold ;  v <- reset_to where s

All parameters are flat arrays ``[neurons]``. Floats: `du`, `dv` are fractions per step, the rest is in units of the
membrane. Integers: `du`, `dv` are 12-bit registers, `bias`, `threshold`, `reset_to`, `initial` are effective 24-bit
values (a chip's ``vth << 6`` and ``mantissa << exponent`` are already applied).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from neurodeploy.connectivity import Array

Reset = Literal["hard", "subtract", "none"]
Comparison = Literal[">", ">="]


@dataclass(frozen=True, eq=False)
class Source:
    """An input: its events come from outside.

    Args:
        start: a source with ``always_on`` spikes by itself in every step from ``start`` on (a bias axon).
        always_on: no outside input; see ``start``.
    """

    always_on: bool = False
    start: int = 0


@dataclass(frozen=True, eq=False)
class Lif:
    """A current-based leaky integrate-and-fire neuron; see the module's docstring for the equations.

    A population that is not `spiking` emits its membrane potential ``v`` in every step (a read-out).
    """

    du: Array
    dv: Array
    bias: Array
    threshold: Array
    reset_to: Array
    initial: Array
    reset: Reset = "hard"
    comparison: Comparison = ">"
    spiking: bool = True


Neuron = Source | Lif
