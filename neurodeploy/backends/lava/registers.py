"""Which Process runs a population, and its parameters: Lava's own where it expresses the neuron, else one of ours.

Integers are effective values, given as Loihi's registers hold them; refused where no register value gives them:

    threshold = vth << 6,    bias = mantissa << exponent,    a = (W s) << weight_exp

Lava truncates weights by *sign mode*: eight bits of magnitude when all have one sign, else even numbers from -256 to
254 (``clip_weights``, ``truncate_weights`` of lava-nc 0.10.0). Effective weights must pass unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Population, Projection
from neurodeploy.network.neurons import Lif, Product, Relu, SigmaDelta
from neurodeploy.network.plasticity import LearningRule

NEVER = 1 << 17
"""A ``vth`` whose threshold of 2^23 lies above the largest membrane potential."""

HALF, SUM_LIMIT = 1 << 23, 1 << 31
MANTISSA = (-4096, 4095)
DECAY = (0, 4095)
WEIGHT_EXPONENT = (-8, 7)
HINT = "run the quantise pass, which chooses values that the chip can hold"


LOWEST = -(1 << 31)
"""Below every potential: of a floor or a lower threshold that is not there."""


@dataclass(frozen=True, eq=False)
class Described:
    """A population as the worker makes it.

    Args:
        kind: name of the Process (`worker.build.KINDS`).
        arrays: its parameters, ``[1]`` where all neurons agree and Lava documents one number, else ``[neurons]``.
        rules: its other parameters.
    """

    kind: str
    arrays: Mapping[str, Array]
    rules: Mapping[str, Any] = field(default_factory=dict)


def neurons(
    population: Population, fixed: bool, arriving: int, heard: bool, taught: LearningRule | None = None
) -> Described:
    """Describe a population.

    Args:
        population: of neurons.
        fixed: in integers.
        arriving: largest current that can reach it (integers).
        heard: whether others receive what it sends.
        taught: the three-factor rule of synapses onto it, whose traces it sends.

    Raises:
        UnsupportedError: a value fits no register.
    """
    neuron, size = population.neuron, population.size
    if isinstance(neuron, Lif):
        if taught is not None:
            own, pairs = _own(neuron, fixed), {"y1": taught.y1, "y3": taught.y3}
            traces = {name: [trace.impulse, trace.tau] for name, trace in pairs.items()}
            return Described("LearningNeuron", own.arrays, {**own.rules, "traces": traces})
        return _lif(population, neuron, fixed, heard)
    assert isinstance(neuron, (SigmaDelta, Relu, Product)), f"{size} neurons of an unknown model"
    uniform = _uniform(neuron.threshold)
    if isinstance(neuron, SigmaDelta):
        rules = {"relu": neuron.activation == "relu", "state_exp": neuron.send_shift}
        stock = not fixed and uniform.size == 1
        threshold = uniform if stock else neuron.threshold
        return Described("SigmaDelta" if stock else "SigmaDeltaNeuron", {"vth": threshold, "bias": neuron.bias}, rules)
    if isinstance(neuron, Relu):
        if fixed and uniform.size == 1 and not neuron.bias.any() and arriving < HALF:
            return Described("GradedReluVec", {"vth": uniform})
        return Described("ReluNeuron", {"vth": neuron.threshold, "bias": neuron.bias})
    rules = {"exp": neuron.shift}
    if fixed and uniform.size == 1 and arriving**2 < SUM_LIMIT and arriving**2 >> neuron.shift < HALF:
        return Described("ProdNeuron", {"vth": uniform}, rules)
    return Described("ProductNeuron", {"vth": neuron.threshold}, rules)


def _lif(population: Population, neuron: Lif, fixed: bool, heard: bool) -> Described:
    # Lava's neurons reset to 0 at once and fire above their threshold; a read-out that nobody hears never fires.
    plain = (
        (neuron.reset, neuron.reset_time, neuron.comparison, neuron.max_spikes) == ("hard", "now", ">", 1)
        and not np.any(neuron.reset_to)
        and neuron.floor is None
        and neuron.threshold_decay is None
        and not neuron.reset_current
    )
    silent = not neuron.spiking and not heard and neuron.floor is None
    if not silent and not (plain and neuron.spiking):
        return _own(neuron, fixed)
    if neuron.refractory is not None and not silent:
        period = _uniform(neuron.refractory)
        one = period.size == _uniform(neuron.dv).size == 1
        if fixed or not one or period[0] < 1 or neuron.lower is not None:
            return _own(neuron, fixed)
        return Described("LIFRefractory", _floats(population, neuron, silent), {"period": int(period[0])})
    if neuron.lower is not None and not silent:
        ends = [_uniform(neuron.threshold), _uniform(neuron.lower)]
        if any(end.size > 1 or (fixed and end[0] % 64) for end in ends):
            return _own(neuron, fixed)
        arrays = _registers(population, neuron, silent) if fixed else _floats(population, neuron, silent)
        return Described("TernaryLIF", {**arrays, "vth_lo": ends[1] >> 6 if fixed else ends[1]})
    return Described("LIF", _registers(population, neuron, silent) if fixed else _floats(population, neuron, silent))


def _floats(population: Population, neuron: Lif, silent: bool) -> dict[str, Array]:
    return {
        "du": _uniform(neuron.du),
        "dv": _uniform(neuron.dv),
        "vth": np.array([np.inf]) if silent else _uniform(neuron.threshold),
        "bias_mant": neuron.bias,
        "bias_exp": np.zeros(population.size),
        "v": neuron.initial,
    }


def _registers(population: Population, neuron: Lif, silent: bool) -> dict[str, Array]:
    """Loihi's registers.

    Raises:
        UnsupportedError: a value fits none.
    """
    mantissa, exponent = _bias(population, _integers(population, "bias", neuron.bias))
    return {
        "du": _uniform(_within(population, "du", neuron.du, DECAY)),
        "dv": _uniform(_within(population, "dv", neuron.dv, DECAY)),
        "vth": np.array([NEVER]) if silent else _uniform(_threshold(population, neuron)),
        "bias_mant": mantissa,
        "bias_exp": exponent,
        "v": _within(population, "initial", neuron.initial, (1 - HALF, HALF - 1)),
    }


def _own(neuron: Lif, fixed: bool) -> Described:
    """Our general neuron; what a neuron does not have gets a value that has no effect."""
    size = len(neuron.du)
    number = np.dtype(np.int64) if fixed else np.dtype(np.float64)
    nothing, lowest = np.zeros(size, number), np.full(size, LOWEST if fixed else -np.inf, number)
    optional = {
        "floor": (neuron.floor, lowest),
        "lower": (neuron.lower, lowest),
        "refractory": (neuron.refractory, nothing),
        "theta_decay": (neuron.threshold_decay, nothing),
        "theta_jump": (neuron.threshold_jump, nothing),
    }
    arrays = {name: getattr(neuron, name) for name in ("du", "dv", "bias", "threshold", "reset_to")}
    arrays |= {name: default if value is None else value for name, (value, default) in optional.items()}
    rules = {
        "reset": neuron.reset,
        "reset_time": neuron.reset_time,
        "equal": neuron.comparison == ">=",
        "spiking": neuron.spiking,
        "max_spikes": neuron.max_spikes,
        "ternary": neuron.lower is not None,
        "send_shift": neuron.send_shift,
        "reset_current": neuron.reset_current,
    }
    return Described("Neuron", {**{n: a.astype(number) for n, a in arrays.items()}, "v": neuron.initial}, rules)


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
