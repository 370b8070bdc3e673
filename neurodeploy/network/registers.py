"""What a chip's registers hold of Loihi's integers: all of them, or those of fewer bits.

Only Loihi's arithmetic is computed (`neurodeploy.network.loihi_ranges`), so a chip with wider registers uses Loihi's
width of them, and one with narrower ones a part of Loihi's numbers. A weight of ``b`` bits stands at the top of Loihi's
8, as lava-nc's ``num_weight_bits`` has it (`loihi_ranges.effective_weights`): with both signs on a projection multiples
of 2^(9 - b) from -256 on, with one sign multiples of 2^(8 - b) below 256. Since a projection has a common exponent, a
weight is held if its bits are, wherever they stand: 14 needs three bits, as 7 and 224 do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError

from . import loihi_ranges
from .arrays import Array

QUANTISE = "run the quantise pass, which chooses values that the chip can hold"
"""What to do about integers that fit no register."""


@dataclass(frozen=True)
class Registers:
    """Widths in bits, the sign of signed numbers included; Loihi's by default.

    Args:
        weight_bits: of a weight as it is stored: magnitude where all weights of a projection have one sign, else with
            the sign.
        weight_values: different weights that may end at one neuron, beside 0; None for any number.
        state_bits: of current and potential.
        decay_bits: of the share that a step takes away.
        bias_mantissa_bits, bias_exponent_max: a bias is ``mantissa << exponent``.
        threshold_bits: of the threshold in units of 64, unsigned.
    """

    weight_bits: int = 8
    weight_values: int | None = None
    state_bits: int = 24
    decay_bits: int = 12
    bias_mantissa_bits: int = 13
    bias_exponent_max: int = loihi_ranges.BIAS_EXPONENT_MAX
    threshold_bits: int = 17

    def __post_init__(self) -> None:
        for name, least in (("weight_bits", 1), ("state_bits", 8), ("decay_bits", 1), ("bias_mantissa_bits", 1)):
            if getattr(self, name) < least:
                raise InvalidInputError(
                    f"a chip whose {name} are too few for integers", found=getattr(self, name), allowed=f"{least} on"
                )

    @property
    def grid_bits(self) -> int:
        """Bits with which weights are made: as many as give no neuron more different ones than it can have."""
        few = self.weight_bits if self.weight_values is None else (self.weight_values + 1).bit_length() - 1
        return max(1, min(self.weight_bits, few))

    @property
    def state_max(self) -> int:
        """Largest magnitude of a state."""
        return (1 << (self.state_bits - 1)) - 1

    @property
    def bias_mantissa_max(self) -> int:
        """Largest mantissa of a bias."""
        return (1 << (self.bias_mantissa_bits - 1)) - 1

    @property
    def threshold_max(self) -> int:
        """Largest threshold, in units of 64: one that a state can pass."""
        return min((1 << self.threshold_bits) - 1, self.state_max >> loihi_ranges.STATE_SHIFT)

    @property
    def decay_step(self) -> int:
        """Unit of a decay, in those of Loihi's 12 bits."""
        return 1 << (12 - self.decay_bits)


LOIHI = Registers()


def weight_bits(weights: Array) -> int:
    """Return how many bits the weights of one projection need (see the module's docstring); 0 where all are 0."""
    whole = np.unique(weights.astype(np.int64))
    whole = whole[whole != 0]
    if not whole.size:
        return 0
    low, high = int(whole[0]), int(whole[-1])
    shift = int(np.bitwise_or.reduce(np.abs(whole)))
    shift = (shift & -shift).bit_length() - 1
    if low < 0 < high:
        return max((-low - 1).bit_length(), high.bit_length()) + 1 - shift
    return max(-low, high).bit_length() - shift


def within_weights(weights: Array) -> bool:
    """Whether Loihi holds these weights: from -256 to 255, and with 8 bits.

    Odd ones of both signs it holds twice as large, with an exponent lower by one (`doubled`).
    """
    low, high = int(weights.min(initial=0)), int(weights.max(initial=0))
    return low >= loihi_ranges.WEIGHT_MIN and high <= loihi_ranges.WEIGHT_ONE_SIGN and weight_bits(weights) <= 8


def doubled(weights: Array) -> bool:
    """Whether the chip holds twice these weights, and not the weights themselves: odd ones of both signs."""
    return bool(weights.min(initial=0) < 0 < weights.max(initial=0) and (weights & 1).any())


def check_lif(name: str, bias: Array, threshold: Array | None, decays: Mapping[str, Array], initial: Array) -> None:
    """Refuse parameters of integrate-and-fire neurons that no register value of Loihi gives.

    Args:
        name: of the population.
        bias, initial: effective values, ``[neurons]``.
        threshold: effective, ``[neurons]``; None where nothing is compared.
        decays: registers of 12 bits, by name.

    Raises:
        UnsupportedError: names the population and the parameter.
    """
    where = f"population {name!r}"
    if (lost := bias[bias_registers(bias)[1] < 0]).size:
        most = loihi_ranges.BIAS_MANTISSA_MAX
        raise UnsupportedError(
            f"the bias of {where} does not fit its registers",
            found=int(lost[0]),
            allowed=f"a whole number from {-most - 1} to {most}, times 2^0 to 2^{loihi_ranges.BIAS_EXPONENT_MAX}",
            hint=QUANTISE,
        )
    if threshold is not None:
        _within(f"threshold of {where}", threshold, 0, ((loihi_ranges.THRESHOLD_MAX + 1) << 6) - 1)
        if (odd := threshold[threshold % 64 != 0]).size:
            raise UnsupportedError(
                f"the threshold of {where} does not fit its register",
                found=int(odd[0]),
                allowed="multiples of 64, because the chip stores threshold / 64",
                hint=QUANTISE,
            )
    for parameter, decay in decays.items():
        # All of a potential can decay; of a current, which decays by one more than its register says, all but that one.
        _within(f"{parameter} of {where}", decay, 0, loihi_ranges.DECAY_ONE - (parameter == "du"))
    _within(f"initial of {where}", initial, -loihi_ranges.STATE_MAX, loihi_ranges.STATE_MAX)


def check_synapses(name: str, weights: Array, exponent: int, *, plastic: bool) -> None:
    """Refuse weights of a projection ``name`` that Loihi does not hold as they are.

    Raises:
        UnsupportedError: names the projection, its weights and what is allowed.
    """
    low, high = loihi_ranges.WEIGHT_EXPONENT_MIN + doubled(weights), loihi_ranges.WEIGHT_EXPONENT_MAX
    if not low <= exponent <= high:
        raise UnsupportedError(
            f"the weight exponent of projection {name!r} does not fit its register",
            found=exponent,
            allowed=f"{low} to {high}",
            hint=QUANTISE,
        )
    if not plastic and not within_weights(weights):
        odd = ", some of them odd" if (weights & 1).any() else ""
        raise UnsupportedError(
            f"the weights of projection {name!r} are not what the chip can hold",
            found=f"values from {weights.min()} to {weights.max()}{odd}",
            allowed="even numbers from -256 to 254, odd ones from -128 to 127, or 8-bit numbers of one sign",
            hint=QUANTISE,
        )


def _within(what: str, values: Array, low: int, high: int) -> None:
    if values.size and (values.min() < low or values.max() > high):
        raise UnsupportedError(
            f"{what} does not fit its register",
            found=f"values from {values.min()} to {values.max()}",
            allowed=f"{low} to {high}",
            hint=QUANTISE,
        )


def bias_registers(bias: Array) -> tuple[Array, Array]:
    """Return mantissas and the smallest exponents that give each ``bias``; an exponent of -1 where none does."""
    whole = bias.astype(np.int64)
    mantissa, exponent = np.zeros_like(whole), np.full_like(whole, -1)
    most = loihi_ranges.BIAS_MANTISSA_MAX
    for shift in range(loihi_ranges.BIAS_EXPONENT_MAX + 1):
        shifted = whole >> shift
        fits = (exponent < 0) & (shifted << shift == whole) & (shifted >= -most - 1) & (shifted <= most)
        mantissa[fits], exponent[fits] = shifted[fits], shift
    return mantissa, exponent
