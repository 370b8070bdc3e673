"""What every neuron model answers: the base of the models in `neurodeploy.network.neurons` and of a third party's."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import ClassVar, Literal

import numpy as np

from neurodeploy.errors import InvalidInputError

from .arrays import Array, Sealed
from .schema import check_numbers, check_within

Arithmetic = Literal["float", "loihi"]
Reset = Literal["hard", "subtract", "none"]
ResetTime = Literal["now", "next", "gate", "once"]
Comparison = Literal[">", ">="]
Feature = Literal[
    "synaptic current", "leak", "bias", "refractory time", "adaptive threshold", "lower bound", "read-out",
    "several spikes a step", "negative spikes", "reset of the current", "spike at the threshold itself",
    "reset to another potential", "sigma-delta", "rectifier", "product", "model of its own", "MAX of compartments",
]  # fmt: skip
"""What a neuron may have beside a potential that adds up, a threshold, and a reset to 0 (`Neuron.features`); the last
is what stands in front of it (`neurodeploy.network.join`)."""

JOIN: Feature = "MAX of compartments"

UNLIMITED = 2**31 - 1
"""`max_spikes` of a neuron that may send any number in a step."""

STATE_LIMIT = 1 << 23
"""Where Loihi's 24-bit state saturates."""


class Neuron(Sealed):
    """What every neuron model answers for itself; a model is a frozen dataclass that inherits this.

    A part that computes with neurons keeps a table ``type -> function`` and looks in it with
    `neurodeploy.network.dispatch`, which refuses a model that the part does not know. Arrays among a model's fields are
    ``[neurons]``.
    """

    external: ClassVar[bool] = False
    """Whether its events come from outside, so that nothing is computed."""
    ports: ClassVar[int] = 1
    """At how many ports what arrives is added up apart (`neurodeploy.network.network.Projection.port`)."""
    states: ClassVar[tuple[str, ...]] = ()
    """Of ``u`` and ``v``, those that it stores and that can be recorded."""
    plastic: ClassVar[bool] = False
    """Whether synapses onto it may learn."""
    current_shift: ClassVar[int] = 0
    """Bits by which an integer neuron shifts up what arrives."""
    registers: ClassVar[bool] = False
    """Whether its integers, and the weights onto it, are those of Loihi's registers."""
    endless: ClassVar[tuple[str, ...]] = ()
    """Parameters that may be infinite in floats: levels that are never reached."""
    always_on: bool = False
    """Whether it spikes by itself in every step from `start` on."""
    start: int = 0
    spiking: bool = True
    """Whether it sends events; else its potential ``v``, shifted down by `send_shift`, in every step."""
    send_shift: int = 0

    @property
    def label(self) -> str:
        """What a reader calls it."""
        return type(self).__name__

    @property
    def rests(self) -> bool:
        """Whether it never sends anything as long as nothing arrives; False where that is not known."""
        return False

    def first_potential(self, size: int) -> Array:
        """``v`` before the first step, ``[neurons]``."""
        return np.zeros(size)

    def graded(self, arithmetic: Arithmetic) -> bool:
        """Whether its messages carry a number."""
        del arithmetic
        return not self.spiking

    @property
    def valued(self) -> bool:
        """Whether its integer messages are values in the units of its state, shifted down by `send_shift`; else they
        are spikes, or numbers of them, in floats and in integers alike."""
        return self.graded("loihi")

    def largest_message(self, arithmetic: Arithmetic) -> int:
        """Largest magnitude of what it can send, in an integer network."""
        return STATE_LIMIT >> self.send_shift if self.graded(arithmetic) else 1

    def message_bits(self, arithmetic: Arithmetic) -> int:
        """Bits of what it sends beside the bare spike; 0 for none."""
        bits = 24 if arithmetic == "loihi" else 32
        return bits - self.send_shift if self.graded(arithmetic) else 0

    def signed(self, arithmetic: Arithmetic) -> bool:
        """Whether what it sends can be negative."""
        return self.graded(arithmetic)

    def reach(self, low: Array, high: Array) -> tuple[float, float]:
        """How far the current and the potential of its integers can go; see `neurodeploy.network.reach`.

        Args:
            low, high: least and largest sum that can arrive in one step, ``[neurons]``.

        Returns:
            Largest magnitudes in multiples of their range; infinite where nothing is proven.
        """
        del low, high
        return math.inf, math.inf

    @property
    def sums_up(self) -> bool:
        """Whether its state is the sum of all that ever arrived, so that `levels` of its sources bound it."""
        return False

    def levels(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Between what the sum of all that it has sent lies at any time; infinite where nothing is proven.

        Args:
            low, high: least and largest sum that arrives in a step, or where it `sums_up`, that has arrived.
        """
        return np.full(np.shape(low), -math.inf), np.full(np.shape(high), math.inf)

    def never_spikes(self, arriving: float) -> Array:
        """Which neurons can never reach their threshold, bool; in float units.

        Args:
            arriving: largest sum of what synapses bring to a neuron in one step; infinite where that is not known.
        """
        del arriving
        return np.zeros(1, bool)

    def joins(self, arithmetic: Arithmetic) -> str:
        """Why no MAX of compartments may stand in front of it (`neurodeploy.network.join`); empty where it may."""
        del arithmetic
        return f"{self.label}, of which nobody says what it does with one"

    def resets(self) -> tuple[Reset, ...]:
        """The rule by which a spike resets it; none where nothing is reset."""
        return ()

    def features(self, arithmetic: Arithmetic) -> tuple[Feature, ...]:
        """What it needs of a chip's neurons; a model that does not say is one that the chip must have by itself."""
        del arithmetic
        return ("model of its own",)

    def thresholds(self) -> Array | None:
        """Threshold of each neuron, of which a chip may hold few different ones on a core; None where there is none."""
        return None

    def check_registers(self, name: str) -> None:
        """Refuse parameters of an integer population ``name`` that no register value of Loihi gives.

        Raises:
            UnsupportedError: names the population and the parameter.
        """

    def check(self, name: str, size: int, arithmetic: Arithmetic) -> None:
        """Refuse parameters that do not fit a population ``name`` of ``size`` neurons.

        Raises:
            InvalidInputError: names the population and the parameter.
        """
        integer = arithmetic == "loihi"
        for item in fields(self):  # type: ignore[arg-type]  # every model is a dataclass
            value = getattr(self, item.name)
            if isinstance(value, np.ndarray):
                what = f"population {name!r}: parameter {item.name}"
                check_numbers(what, value, (size,), whole=integer)
                if integer:
                    check_within(what, value, -(1 << 31), (1 << 31) - 1)
                elif item.name not in self.endless and not np.isfinite(value).all():
                    raise InvalidInputError(f"{what} is not finite", found=value[~np.isfinite(value)][0])
