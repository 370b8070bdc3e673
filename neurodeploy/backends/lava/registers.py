"""Effective integers of a `Network` as Loihi's registers hold them; refused where no register value gives them.

    threshold = vth << 6,    bias = mantissa << exponent,    a = (W s) << weight_exp

Lava truncates weights by *sign mode*: eight bits of magnitude when all have one sign, else even numbers from -256 to
254 (``clip_weights``, ``truncate_weights`` of lava-nc 0.10.0). Effective weights must pass unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodeploy.connectivity import Array
from neurodeploy.errors import UnsupportedError
from neurodeploy.network import Population, Projection
from neurodeploy.neurons import Lif

NEVER = 1 << 17
"""A ``vth`` whose threshold of 2^23 lies above the largest membrane potential."""

MANTISSA = (-4096, 4095)
DECAY = (0, 4095)
WEIGHT_EXPONENT = (-8, 7)
HINT = "run the quantise pass, which chooses values that the chip can hold"


@dataclass(frozen=True, eq=False)
class Registers:
    """Registers of a population: ``[1]`` where all neurons agree, else ``[neurons]``; the bias always ``[neurons]``."""

    du: Array
    dv: Array
    vth: Array
    bias_mant: Array
    bias_exp: Array


def registers(population: Population) -> Registers:
    """Return the registers of a LIF population.

    Raises:
        UnsupportedError: Lava's LIFReset does not express the neuron, or a value fits no register.
    """
    neuron = population.neuron
    assert isinstance(neuron, Lif), "only integer networks get here, and they have no other neurons"
    _check_model(population, neuron)
    mantissa, exponent = _bias(population, _integers(population, "bias", neuron.bias))
    return Registers(
        du=_uniform(_within(population, "du", neuron.du, DECAY)),
        dv=_uniform(_within(population, "dv", neuron.dv, DECAY)),
        vth=_uniform(_threshold(population, neuron)),
        bias_mant=mantissa,
        bias_exp=exponent,
    )


def sign_mode(projection: Projection) -> str:
    """Return the name of Lava's sign mode under which the weights of a projection pass unchanged.

    Raises:
        UnsupportedError: there is none.
    """
    weights = projection.connectivity.weights
    whole = weights.astype(np.int64)
    low, high = (int(whole.min()), int(whole.max())) if whole.size else (0, 0)
    if (whole == weights).all():
        if low >= -256 and high <= 254 and not (whole & 1).any():
            return "MIXED"
        if low >= 0 and high <= 255:
            return "EXCITATORY"
        if high <= 0 and low >= -255:
            return "INHIBITORY"
    raise UnsupportedError(
        f"the weights of projection {projection.name!r} are not what the chip can hold",
        found=f"values from {low} to {high}" + (", some of them odd" if (whole & 1).any() else ""),
        allowed="even numbers from -256 to 254, or 8-bit numbers of one sign",
        hint=HINT,
    )


def _check_model(population: Population, neuron: Lif) -> None:
    refused = {
        "the reset": (neuron.reset, "hard", neuron.spiking and neuron.reset != "hard"),
        "the potential after a spike": ("not 0", 0, neuron.spiking and np.any(neuron.reset_to)),
        "the comparison": (neuron.comparison, ">", neuron.spiking and neuron.comparison != ">"),
        "the initial potential": ("not 0", 0, np.any(neuron.initial)),
        "the time of the reset": (neuron.reset_time, "now", neuron.spiking and neuron.reset_time != "now"),
        "the number of spikes in a step": (neuron.max_spikes, 1, neuron.max_spikes > 1),
        "the floor of the potential": ("one", "none", neuron.floor is not None),
    }
    for what, (found, allowed, wrong) in refused.items():
        if wrong:
            raise UnsupportedError(
                f"{what} of population {population.name!r} is not one that Lava's LIF neuron has",
                found=found,
                allowed=allowed,
                hint="run it with the reference or hwsim back-end, or quantise for a chip that rewrites it",
            )


def _integers(population: Population, name: str, values: Array) -> Array:
    whole = values.astype(np.int64)
    if not (whole == values).all():
        raise UnsupportedError(
            f"{name} of population {population.name!r} is not a whole number",
            found=values[whole != values].ravel()[0],
            hint=HINT,
        )
    return whole


def _within(population: Population, name: str, values: Array, limits: tuple[int, int]) -> Array:
    whole = _integers(population, name, values)
    if whole.size and not (limits[0] <= whole.min() and whole.max() <= limits[1]):
        raise UnsupportedError(
            f"{name} of population {population.name!r} does not fit its register",
            found=f"values from {whole.min()} to {whole.max()}",
            allowed=f"{limits[0]} to {limits[1]}",
            hint=HINT,
        )
    return whole


def _threshold(population: Population, neuron: Lif) -> Array:
    if not neuron.spiking:
        return np.array([NEVER])
    threshold = _within(population, "threshold", neuron.threshold, (0, (NEVER << 6) - 1))
    if (threshold % 64).any():
        raise UnsupportedError(
            f"the threshold of population {population.name!r} does not fit its register",
            found=int(threshold[threshold % 64 != 0][0]),
            allowed="multiples of 64, because the chip stores threshold / 64",
            hint=HINT,
        )
    return threshold >> 6


def _bias(population: Population, bias: Array) -> tuple[Array, Array]:
    """Return mantissas and the smallest exponents that give ``bias``."""
    mantissa, exponent = np.zeros_like(bias), np.full_like(bias, -1)
    for shift in range(8):
        shifted = bias >> shift
        fits = (exponent < 0) & (shifted << shift == bias) & (shifted >= MANTISSA[0]) & (shifted <= MANTISSA[1])
        mantissa[fits], exponent[fits] = shifted[fits], shift
    if (exponent < 0).any():
        raise UnsupportedError(
            f"the bias of population {population.name!r} does not fit its registers",
            found=int(bias[exponent < 0][0]),
            allowed=f"a whole number from {MANTISSA[0]} to {MANTISSA[1]}, times 2^0 to 2^7",
            hint=HINT,
        )
    return mantissa, exponent


def _uniform(values: Array) -> Array:
    return values[:1] if values.size and (values == values[0]).all() else values
