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

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from neurodeploy.errors import InvalidInputError

from . import loihi_ranges
from .arrays import Array
from .neuron import STATE_LIMIT
from .neuron import UNLIMITED as UNLIMITED
from .neuron import Arithmetic as Arithmetic
from .neuron import Comparison as Comparison
from .neuron import Feature as Feature
from .neuron import Neuron as Neuron
from .neuron import Reset as Reset
from .neuron import ResetTime as ResetTime
from .registers import check_lif
from .schema import check_within


@dataclass(frozen=True, eq=False)
class Source(Neuron):
    """An input: its events come from outside.

    Args:
        start: a source with ``always_on`` spikes by itself in every step from ``start`` on (a bias axon).
        always_on: no outside input; see ``start``.
        payload_bits: in an integer network, 1 for plain spikes, more for whole numbers of so many bits, sign included.
    """

    external: ClassVar[bool] = True
    always_on: bool = False
    start: int = 0
    payload_bits: int = 1

    @property
    def label(self) -> str:
        return "bias axon" if self.always_on else "input"

    def features(self, arithmetic: Arithmetic) -> tuple[Feature, ...]:
        del arithmetic
        return ()

    def graded(self, arithmetic: Arithmetic) -> bool:
        return not self.always_on and (self.payload_bits > 1 or arithmetic == "float")

    def largest_message(self, arithmetic: Arithmetic) -> int:
        del arithmetic
        return max(1, (1 << (self.payload_bits - 1)) - 1)

    def levels(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Changes of a value that lies within what it can send; a plain spike only ever adds."""
        if self.always_on or self.payload_bits == 1:
            return super().levels(low, high)
        most = float(self.largest_message("loihi"))
        return np.full(np.shape(low), -most), np.full(np.shape(high), most)

    def message_bits(self, arithmetic: Arithmetic) -> int:
        del arithmetic
        return self.payload_bits if self.payload_bits > 1 else 0

    def check(self, name: str, size: int, arithmetic: Arithmetic) -> None:
        super().check(name, size, arithmetic)
        if not 0 <= self.start < 1 << 31 or not 1 <= self.payload_bits <= 32:
            raise InvalidInputError(
                f"population {name!r}: start or payload_bits is out of its range",
                found=f"{self.start} and {self.payload_bits}", allowed="0 to 2^31 - 1, and 1 to 32",
            )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Lif(Neuron):
    """A current-based leaky integrate-and-fire neuron; see the module's docstring for the equations and units.

    Args:
        du, dv: what a step takes away of current and potential; fractions, or registers of 12 bits.
        bias: what every step adds to the potential.
        threshold, lower: what the potential passes for a spike, and downwards for one of -1; ``lower`` None for none.
        reset_to, initial: potential after a hard reset, and before the first step.
        reset, reset_time: what a spike does to the membrane, and when.
        comparison: whether a potential equal to the threshold spikes.
        spiking: else it sends ``v`` in every step (a read-out), in integers ``v >> send_shift``.
        max_spikes: in one step.
        floor: least potential, after the reset; None for none.
        refractory: int32 ``[neurons]``, in steps; None for none.
        threshold_decay, threshold_jump: of an adaptive threshold; None for a fixed one.
        send_shift: bits that a message leaves out, to stay within a chip's payload.
        reset_current: whether a spike clears ``u``.
    """

    registers: ClassVar[bool] = True
    states: ClassVar[tuple[str, ...]] = ("u", "v")
    plastic: ClassVar[bool] = True
    current_shift: ClassVar[int] = 6
    endless: ClassVar[tuple[str, ...]] = ("threshold", "floor", "lower")
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

    @property
    def label(self) -> str:
        if not self.spiking:
            return "read-out"
        return f"LIF, {self.reset} reset" + (" of potential and current" if self.reset_current else "")

    def first_potential(self, size: int) -> Array:
        del size
        return self.initial

    def resets(self) -> tuple[Reset, ...]:
        return (self.reset,) if self.spiking else ()

    def features(self, arithmetic: Arithmetic) -> tuple[Feature, ...]:
        """A hard reset ``next``, to 0, gives the spikes of one ``now``; ``gate`` those with a refractory step."""
        integer, hard = arithmetic == "loihi", self.spiking and self.reset == "hard"
        asked: dict[Feature, bool] = {
            "synaptic current": bool((self.du < (loihi_ranges.DECAY_ONE - 1 if integer else 1)).any()),
            "leak": bool(np.any(self.dv)),
            "bias": bool(np.any(self.bias)),
            "refractory time": self.refractory is not None or (hard and self.reset_time == "gate"),
            "adaptive threshold": self.threshold_decay is not None,
            "lower bound": self.floor is not None,
            "read-out": not self.spiking,
            "several spikes a step": self.spiking and self.max_spikes > 1,
            "negative spikes": self.spiking and self.lower is not None,
            "reset of the current": self.reset_current,
            "spike at the threshold itself": integer and self.spiking and self.comparison == ">=",
            "reset to another potential": integer and hard and bool(np.any(self.reset_to)),
        }
        return tuple(name for name, there in asked.items() if there)

    def joins(self, arithmetic: Arithmetic) -> str:
        """The filter of a MAX is not the MAX of filtered currents, so there is none."""
        none = loihi_ranges.DECAY_ONE - 1 if arithmetic == "loihi" else 1
        filtered = np.asarray(self.du) != none
        return "" if not filtered.any() else f"a filter of the current (du {self.du[filtered][0]:g}, not {none})"

    def thresholds(self) -> Array | None:
        return self.threshold

    def never_spikes(self, arriving: float) -> Array:
        if not self.spiking or self.lower is not None:
            return super().never_spikes(arriving)
        if self.threshold_decay is not None:
            return np.isposinf(self.threshold)
        # |u| <= A / du, |v| <= (A / du + |bias|) / dv, or less: geometric series; without leak there is no bound.
        du, dv = np.asarray(self.du, np.float64), np.asarray(self.dv, np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            current = np.where((du > 0) & (du <= 1), arriving / du, np.inf)
            bound = np.where((dv > 0) & (dv <= 1), (current + np.abs(self.bias)) / dv, np.inf)
        bound = bound if self.floor is None else np.maximum(bound, self.floor)  # which may lift it
        lowest = np.maximum(bound, np.maximum(np.abs(self.initial), np.abs(self.reset_to)))
        return np.isposinf(self.threshold) | (self.threshold > lowest)

    @property
    def rests(self) -> bool:
        still = self.spiking and not np.any(self.bias) and not np.any(self.initial)
        return still and bool((self.threshold > 0).all())

    def graded(self, arithmetic: Arithmetic) -> bool:
        del arithmetic
        return not self.spiking or self.max_spikes > 1 or self.lower is not None

    @property
    def valued(self) -> bool:
        return not self.spiking

    def largest_message(self, arithmetic: Arithmetic) -> int:
        del arithmetic
        if not self.spiking:
            return STATE_LIMIT >> self.send_shift
        return 1 if self.max_spikes == 1 else min(self.max_spikes, STATE_LIMIT // max(int(self.threshold.min()), 1))

    def message_bits(self, arithmetic: Arithmetic) -> int:
        if not self.spiking:
            return super().message_bits(arithmetic)
        return 2 if self.lower is not None else self.max_spikes.bit_length() if self.max_spikes > 1 else 0

    def signed(self, arithmetic: Arithmetic) -> bool:
        del arithmetic
        return not self.spiking or self.lower is not None

    def reach(self, low: Array, high: Array) -> tuple[float, float]:
        """As the base class says it; rounding toward zero only brings states nearer to 0.

        With ``k`` what is kept of a state, ``x <- k x + a`` with ``a <= A`` stays below ``max(x_0, A / (1 - k))``. A
        potential that a hard reset takes may saturate above its threshold: it loses nothing there.
        """
        one, most = 4096, STATE_LIMIT - 1
        scale = 1 << self.current_shift
        kept_u, kept_v = (one - 1 - self.du.astype(np.float64)) / one, (one - self.dv.astype(np.float64)) / one
        lowest, highest = scale * _limit(-low, kept_u), scale * _limit(high, kept_u)
        u = max(lowest.max(initial=0.0), highest.max(initial=0.0)) / (STATE_LIMIT - 1)
        if self.spiking and (self.threshold <= 0).any():
            return float(u), math.inf
        limit, raised = self.threshold.astype(np.float64), 0.0
        if self.threshold_decay is not None and self.threshold_jump is not None:
            if (self.threshold_jump < 0).any():
                return float(u), math.inf
            jump = self.threshold_jump * float(self.largest_message("loihi"))
            kept = (one - self.threshold_decay.astype(np.float64)) / one
            raised = float(_limit(jump, kept).max(initial=0.0))
        start = np.abs(self.initial.astype(np.float64))
        below = np.maximum(_limit(lowest - self.bias, kept_v), np.maximum(start, np.abs(self.reset_to)))
        if self.spiking and self.reset_time != "now" and self.reset == "subtract":
            below = np.maximum(below, lowest - self.bias + limit)
        if self.floor is not None:
            below = np.where(self.floor >= -most, 0.0, below)
        v = max(float(below.max(initial=0.0)), raised)
        taken = self.spiking and self.reset == "hard" and self.max_spikes == 1
        if not (taken and (limit + raised < most).all()):
            above = np.maximum(_limit(highest + self.bias, kept_v), np.maximum(start, np.abs(self.reset_to)))
            v = max(v, float(above.max(initial=0.0)))
        return float(u), v / most

    def check(self, name: str, size: int, arithmetic: Arithmetic) -> None:
        super().check(name, size, arithmetic)
        low, high = (0, 4096) if arithmetic == "loihi" else (-1.0, 3.0)  # what is kept of a float at most doubles
        for parameter in ("du", "dv", "threshold_decay"):
            if (decay := getattr(self, parameter)) is not None:
                check_within(f"population {name!r}: parameter {parameter}", decay, low, high)
        if self.refractory is not None:
            check_within(f"population {name!r}: parameter refractory", self.refractory, 0, (1 << 31) - 1)
        if (self.threshold_decay is None) != (self.threshold_jump is None):
            raise InvalidInputError(
                f"population {name!r}: its threshold adapts by half",
                found="threshold_decay" if self.threshold_jump is None else "threshold_jump",
                allowed="both threshold_decay and threshold_jump, or neither",
            )
        _check_shift(name, "send_shift", self.send_shift, arithmetic)
        if self.spiking and self.max_spikes > 1 and (self.threshold <= 0).any():
            raise InvalidInputError(
                f"population {name!r} sends several spikes with a threshold that is not positive",
                found=self.threshold.min(), allowed="thresholds above 0, since the potential is divided by them",
            )  # fmt: skip
        if not 1 <= self.max_spikes <= UNLIMITED:
            raise InvalidInputError(
                f"population {name!r}: max_spikes is out of its range", found=self.max_spikes,
                allowed=f"1 to {UNLIMITED:,}",
            )  # fmt: skip
        self._check_times(name)
        if not self.reset_current or (self.spiking and (self.reset, self.reset_time) == ("hard", "now")):
            return
        found = f"reset {self.reset!r}, reset_time {self.reset_time!r}" if self.spiking else "no spikes"
        raise InvalidInputError(
            f"population {name!r}: reset_current does not go with its other rules", found=found,
            allowed="spiking neurons with reset 'hard' and reset_time 'now'",
        )  # fmt: skip

    def check_registers(self, name: str) -> None:
        decays = {"du": self.du, "dv": self.dv}
        check_lif(name, self.bias, self.threshold if self.spiking else None, decays, self.initial)

    def _check_times(self, name: str) -> None:
        """Refuse rules that mean nothing together; see the module's docstring."""
        late = {"next": ("hard", "subtract"), "gate": ("hard",), "once": ("subtract",)}.get(self.reset_time)
        extra = {"max_spikes": self.max_spikes > 1, "a lower threshold": self.lower is not None,
                 "a refractory time or an adaptive threshold": self.slow}  # fmt: skip
        with_it = [what for what, there in extra.items() if there]
        both = self.lower is not None and self.max_spikes > 1
        if self.spiking and (both or (late is not None and (with_it or self.reset not in late))):
            raise InvalidInputError(
                f"population {name!r} has rules that do not go together",
                found=", ".join((f"reset {self.reset!r} {self.reset_time!r}", *with_it)),
                allowed="any reset 'now'; hard or subtract 'next', hard 'gate', subtract 'once', none of these with "
                "several spikes, a lower threshold, a refractory time or an adaptive threshold; one spike a step "
                "beside a lower threshold",
            )


@dataclass(frozen=True, eq=False)
class SigmaDelta(Neuron):
    """A neuron of a conventional network that sends only what has changed (a graded spike of its difference).

    With input ``I`` (the differences that its sources send) and activation ``f``,

        u <- u + I ;  v = f(u + bias) ;  d = v - sent ;  s = d where |d| >= threshold, else 0 ;  sent <- sent + s

    which is Lava's ``SigmaDelta`` with its residue written as a sum. With threshold 0 the values that arrive everywhere
    are those of the conventional network. In integers a message is ``s >> send_shift`` (rounded down), and `sent` grows
    by what the message is worth, so that nothing is lost over time (`remainder` ``"kept"``), or by ``s`` itself, as in
    Lava 0.10 and lava-dl's recordings of Loihi 2 (``"lost"``): then a receiver drifts by up to 1 for each message.

    Args:
        bias, threshold: ``[neurons]``, in units of the activation.
        activation: ``"relu"`` or ``"identity"``.
        send_shift: fractional bits that the state has and the messages have not (integers; Lava's ``state_exp``).
        remainder: what becomes of these bits of a message.
        accumulate: whether what arrives adds up in ``u``; else it is the value itself, ``u <- I`` (Lava's ``Delta``).
    """

    registers: ClassVar[bool] = True
    states: ClassVar[tuple[str, ...]] = ("u", "v")
    bias: Array
    threshold: Array
    activation: Literal["relu", "identity"] = "relu"
    send_shift: int = 0
    remainder: Literal["kept", "lost"] = "kept"
    accumulate: bool = True

    @property
    def label(self) -> str:
        return f"{'sigma-delta' if self.accumulate else 'delta'}, {self.activation}"

    def joins(self, arithmetic: Arithmetic) -> str:
        del arithmetic
        return "sigma-delta neurons, at which changes arrive: the largest change is not the change of the largest"

    def features(self, arithmetic: Arithmetic) -> tuple[Feature, ...]:
        del arithmetic
        return ("sigma-delta",)

    def graded(self, arithmetic: Arithmetic) -> bool:
        del arithmetic
        return True

    def thresholds(self) -> Array | None:
        return self.threshold

    @property
    def sums_up(self) -> bool:
        return self.accumulate

    def levels(self, low: Array, high: Array) -> tuple[Array, Array]:
        """A kept remainder leaves ``v >> send_shift`` for the sum of all messages, a lost one adds up without end."""
        if self.remainder == "lost" and self.send_shift:
            return super().levels(low, high)
        least = 0.0 if self.activation == "relu" else -STATE_LIMIT
        ends = (np.clip(end + self.bias, least, STATE_LIMIT) for end in (low, high))
        first, last = (np.floor(end / 2.0**self.send_shift) if self.send_shift else end for end in ends)
        return np.minimum(first, 0), np.maximum(last, 0)

    def reach(self, low: Array, high: Array) -> tuple[float, float]:
        most = STATE_LIMIT - 1
        ends = [low, high, low + self.bias, high + self.bias]
        return 0.0, float(max(np.abs(end).max(initial=0.0) for end in ends)) / most

    def largest_message(self, arithmetic: Arithmetic) -> int:
        del arithmetic
        lowest = 0 if self.activation == "relu" else STATE_LIMIT
        return (STATE_LIMIT + lowest) >> self.send_shift  # from the lowest to the highest value

    def check(self, name: str, size: int, arithmetic: Arithmetic) -> None:
        super().check(name, size, arithmetic)
        _check_shift(name, "send_shift", self.send_shift, arithmetic)


@dataclass(frozen=True, eq=False)
class Relu(Neuron):
    """A rectifier without memory: sends ``v = I + bias`` as a graded spike where ``v > threshold`` (>= 0).

    Lava's ``GradedReluVec``, with a bias. Both parameters are ``[neurons]``, in units of the activation.
    """

    registers: ClassVar[bool] = True
    bias: Array
    threshold: Array

    @property
    def label(self) -> str:
        return "rectifier (graded)"

    def joins(self, arithmetic: Arithmetic) -> str:
        del arithmetic
        return ""

    def features(self, arithmetic: Arithmetic) -> tuple[Feature, ...]:
        del arithmetic
        return ("rectifier",)

    def graded(self, arithmetic: Arithmetic) -> bool:
        del arithmetic
        return True

    def thresholds(self) -> Array | None:
        return self.threshold


@dataclass(frozen=True, eq=False)
class Product(Neuron):
    """A gate: sends the product of what arrives at its two ports, ``v = I_0 I_1``, where ``|v| > threshold`` (>= 0).

    In integers ``v = (I_0 I_1) >> shift``. Lava's ``ProdNeuron``. `Projection.port` says which port is meant.
    """

    registers: ClassVar[bool] = True
    ports: ClassVar[int] = 2
    threshold: Array
    shift: int = 0

    @property
    def label(self) -> str:
        return "product of two inputs"

    def features(self, arithmetic: Arithmetic) -> tuple[Feature, ...]:
        del arithmetic
        return ("product",)

    def graded(self, arithmetic: Arithmetic) -> bool:
        del arithmetic
        return True

    def thresholds(self) -> Array | None:
        return self.threshold

    def check(self, name: str, size: int, arithmetic: Arithmetic) -> None:
        super().check(name, size, arithmetic)
        _check_shift(name, "shift", self.shift, arithmetic)


def _limit(arriving: Array, kept: Array) -> Array:
    """Where ``x <- kept x + arriving`` ends from 0, if ``arriving`` is above 0; else 0."""
    ends = np.divide(arriving, 1 - kept, out=np.full(np.shape(arriving), np.inf), where=kept < 1)
    return np.where(arriving > 0, ends, 0.0)


def _check_shift(name: str, what: str, shift: int, arithmetic: Arithmetic) -> None:
    most = 31 if arithmetic == "loihi" else 0
    if not 0 <= shift <= most:
        raise InvalidInputError(
            f"population {name!r}: {what} is out of its range",
            found=shift,
            allowed=f"0 to {most}" if most else "0 in floats",
        )


NEURONS: tuple[type[Neuron], ...] = (Source, Lif, SigmaDelta, Relu, Product)
"""The models that come with neurodeploy; `neurodeploy.network.dispatch` finds those of others."""
