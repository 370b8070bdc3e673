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

What a spike does to the membrane differs between frameworks, in rule (`reset`) and time (`reset_time`). With ``r``
whether the *stored* ``v`` of the step before crosses the threshold, and ``v'`` the potential before this step's spike:

    now    v' as above; where s: v <- reset_to, or v' - threshold                      NIR, norse, SpikingJelly, sinabs
    next   hard: (1 - dv) reset_to + u + bias where r;  subtract: v' <- v' - threshold r    snnTorch, reset_delay
    gate   hard: v' <- reset_to where r (the input of that step is lost too)                snnTorch Synaptic, RLeaky
    once   subtract: v' <- v' - threshold r;  v <- v' - threshold (s - r)                   snnTorch, no reset_delay

A neuron with ``max_spikes > 1`` sends a graded spike of ``min(trunc(v / threshold), max_spikes)``, subtracts that many
thresholds, and counts equality as crossing (sinabs' multi-spike). `floor` bounds ``v`` from below after the reset.

A neuron with a ``lower`` threshold also sends -1, where ``v < lower`` (``<=``); the reset then sets ``reset_to`` or
subtracts ``lower`` (Lava's TernaryLIF). It has the reset ``now`` and one spike a step.

With `reset_current` a spike also sets ``u`` to 0, after ``v`` has taken it in: the neuron then forgets all that came
before it (with the hard reset ``now`` only).

Two slow variables, with the reset ``now`` only. A neuron with ``refractory = n`` keeps its ``v`` and is
silent for n steps after each spike, while ``u`` goes on (norse LIFRefracCell, Lava LIFRefractory). One with an adaptive
threshold compares with ``threshold + a`` (and subtracts that), then ``a <- (1 - threshold_decay) a + threshold_jump s``
(Bellec et al., "Long short-term memory and learning-to-learn in networks of spiking neurons", NeurIPS 2018; norse LSNN,
sinabs ALIF); in integers ``a <- D(a, threshold_decay) + threshold_jump s``, held within (-M, M).

`SigmaDelta`, `Relu` and `Product` compute with graded messages; in integers what arrives is not shifted by 6, and sums
are held within (-M, M).

All parameters are flat arrays ``[neurons]``. Floats: `du`, `dv` are fractions per step, the rest is in units of the
membrane. Integers: `du`, `dv`, `threshold_decay` are 12-bit registers, `bias`, `threshold`, `reset_to`, `initial` are
effective 24-bit values (a chip's ``vth << 6`` and ``mantissa << exponent`` are already applied).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .arrays import Array, Sealed

Reset = Literal["hard", "subtract", "none"]
ResetTime = Literal["now", "next", "gate", "once"]
Comparison = Literal[">", ">="]

UNLIMITED = 2**31 - 1
"""`max_spikes` of a neuron that may send any number in a step."""


@dataclass(frozen=True, eq=False)
class Source(Sealed):
    """An input: its events come from outside.

    Args:
        start: a source with ``always_on`` spikes by itself in every step from ``start`` on (a bias axon).
        always_on: no outside input; see ``start``.
        payload_bits: in an integer network, 1 for plain spikes, more for whole numbers of so many bits, sign included.
    """

    always_on: bool = False
    start: int = 0
    payload_bits: int = 1


@dataclass(frozen=True, eq=False)
class Lif(Sealed):
    """A current-based leaky integrate-and-fire neuron; see the module's docstring for the equations.

    A population that is not `spiking` emits its membrane potential ``v`` in every step (a read-out), in integers
    ``v >> send_shift``, which keeps messages within a chip's payload. `refractory` is ``int32 [neurons]``, in steps.
    """

    du: Array
    dv: Array
    bias: Array
    threshold: Array
    reset_to: Array
    initial: Array
    reset: Reset = "hard"
    reset_time: ResetTime = "now"
    comparison: Comparison = ">"
    spiking: bool = True
    max_spikes: int = 1
    floor: Array | None = None
    refractory: Array | None = None
    threshold_decay: Array | None = None
    threshold_jump: Array | None = None
    lower: Array | None = None
    send_shift: int = 0
    reset_current: bool = False

    @property
    def slow(self) -> bool:
        """Whether it has a refractory time or an adaptive threshold."""
        return self.refractory is not None or self.threshold_decay is not None


@dataclass(frozen=True, eq=False)
class SigmaDelta(Sealed):
    """A neuron of a conventional network that sends only what has changed (a graded spike of its difference).

    With input ``I`` (the differences that its sources send) and activation ``f``,

        u <- u + I ;  v = f(u + bias) ;  d = v - sent ;  s = d where |d| >= threshold, else 0 ;  sent <- sent + s

    which is Lava's ``SigmaDelta`` with its residue written as a sum. With threshold 0 the values that arrive everywhere
    are those of the conventional network. In integers a message is ``s >> send_shift`` (rounded down), and `sent` grows
    by what the message is worth, so that nothing is lost over time.

    Args:
        bias, threshold: ``[neurons]``, in units of the activation.
        activation: ``"relu"`` or ``"identity"``.
        send_shift: fractional bits that the state has and the messages have not (integers; Lava's ``state_exp``).
    """

    bias: Array
    threshold: Array
    activation: Literal["relu", "identity"] = "relu"
    send_shift: int = 0


@dataclass(frozen=True, eq=False)
class Relu(Sealed):
    """A rectifier without memory: sends ``v = I + bias`` as a graded spike where ``v > threshold`` (>= 0).

    Lava's ``GradedReluVec``, with a bias.
    """

    bias: Array
    threshold: Array


@dataclass(frozen=True, eq=False)
class Product(Sealed):
    """A gate: sends the product of what arrives at its two ports, ``v = I_0 I_1``, where ``|v| > threshold`` (>= 0).

    In integers ``v = (I_0 I_1) >> shift``. Lava's ``ProdNeuron``. `Projection.port` says which port is meant.
    """

    threshold: Array
    shift: int = 0


Neuron = Source | Lif | SigmaDelta | Relu | Product
GRADED = (SigmaDelta, Relu, Product)
"""Neurons whose every message carries a number."""
