"""Which Process runs a population, and its parameters: Lava's own where it expresses the neuron, else one of ours.

Integers are effective values, given as Loihi's registers hold them; one that no register value gives is refused before
(`neurodeploy.network.network.check_registers`), here as by every other back-end:

    threshold = vth << 6,    bias = mantissa << exponent,    a = (W s) << weight_exp

Lava truncates weights by *sign mode*: eight bits of magnitude when all have one sign, else even numbers from -256 to
254 (``clip_weights``, ``truncate_weights`` of lava-nc 0.10.0). Effective weights must pass unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.dispatch import dispatch, expect
from neurodeploy.network.loihi_ranges import WEIGHT_MAX, WEIGHT_MIN
from neurodeploy.network.network import Population, Projection
from neurodeploy.network.neurons import Lif, Neuron, Product, Relu, SigmaDelta
from neurodeploy.network.plasticity import LearningRule
from neurodeploy.network.registers import bias_registers

NEVER = 1 << 17
"""A ``vth`` whose threshold of 2^23 lies above the largest membrane potential."""

HALF, SUM_LIMIT = 1 << 23, 1 << 31

LOWEST = -(1 << 31)
"""Below every potential: of a floor or a lower threshold that is not there."""


@dataclass(frozen=True, eq=False)
class Described:
    """A population as the worker makes it.

    Args:
        kind: name of the Process (`worker.build.KINDS`).
        arrays: its parameters, ``[1]`` where all neurons agree and Lava documents one number, else ``[neurons]``.
        rules: its other parameters.
        limit: the ``|u|`` from which a step could leave 32 bits; 0 where it cannot come to that.
    """

    kind: str
    arrays: Mapping[str, Array]
    rules: Mapping[str, Any] = field(default_factory=dict)
    limit: int = 0


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
    describe = dispatch(MODELS, population, "Lava")
    return describe(population, _Use(fixed, arriving, heard, taught))


@dataclass(frozen=True)
class _Use:
    """Arguments of `neurons`."""

    fixed: bool
    arriving: int
    heard: bool
    taught: LearningRule | None


def _integrator(population: Population, use: _Use) -> Described:
    neuron = expect(population, Lif, "Lava")
    limit = _piles_up(neuron, use.arriving) if use.fixed else 0
    if use.taught is None:
        return replace(_lif(population, neuron, use.fixed, use.heard), limit=limit)
    own, pairs = _own(neuron, use.fixed), {"y1": use.taught.y1, "y3": use.taught.y3}
    traces = {name: [trace.impulse, trace.tau] for name, trace in pairs.items()}
    return Described("LearningNeuron", own.arrays, {**own.rules, "traces": traces}, limit)


def _sigma_delta(population: Population, use: _Use) -> Described:
    neuron = expect(population, SigmaDelta, "Lava")
    uniform = _uniform(neuron.threshold)
    rules = {
        "relu": neuron.activation == "relu",
        "state_exp": neuron.send_shift,
        "accumulate": neuron.accumulate,
        "keep": neuron.remainder == "kept",
    }
    stock = not use.fixed and uniform.size == 1 and neuron.accumulate
    threshold = uniform if stock else neuron.threshold
    return Described("SigmaDelta" if stock else "SigmaDeltaNeuron", {"vth": threshold, "bias": neuron.bias}, rules)


def _relu(population: Population, use: _Use) -> Described:
    neuron = expect(population, Relu, "Lava")
    uniform = _uniform(neuron.threshold)
    if use.fixed and uniform.size == 1 and not neuron.bias.any() and use.arriving < HALF:
        return Described("GradedReluVec", {"vth": uniform})
    return Described("ReluNeuron", {"vth": neuron.threshold, "bias": neuron.bias})


def _product(population: Population, use: _Use) -> Described:
    neuron = expect(population, Product, "Lava")
    uniform, largest = _uniform(neuron.threshold), use.arriving**2
    rules = {"exp": neuron.shift}
    if use.fixed and uniform.size == 1 and largest < SUM_LIMIT and largest >> neuron.shift < HALF:
        return Described("ProdNeuron", {"vth": uniform}, rules)
    return Described("ProductNeuron", {"vth": neuron.threshold}, rules)


MODELS: Mapping[type[Neuron], Callable[[Population, _Use], Described]] = {
    Lif: _integrator,
    SigmaDelta: _sigma_delta,
    Relu: _relu,
    Product: _product,
}
"""How each model stands in Lava."""


def _piles_up(neuron: Lif, arriving: int) -> int:
    """Return the ``|u|`` from which a step could leave the 32 bits of a LIF, 0 where it cannot come to that.

    A step takes 2^24 from a ``u`` out of range, once; what exceeds that piles up until it decays as fast.
    """
    step, kept = arriving * 64, (4095 - int(neuron.du.min(initial=4095))) / 4096
    settled = max((step - 2 * HALF) / (1 - kept), HALF)
    return SUM_LIMIT - step - 1 if step + kept * settled >= SUM_LIMIT else 0


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
    """Loihi's registers; that they hold the neuron, `neurodeploy.network.network.check_registers` has seen."""
    mantissa, exponent = bias_registers(neuron.bias)
    return {
        "du": _uniform(neuron.du.astype(np.int64)),
        "dv": _uniform(neuron.dv.astype(np.int64)),
        "vth": np.array([NEVER]) if silent else _uniform(neuron.threshold.astype(np.int64) >> 6),
        "bias_mant": mantissa,
        "bias_exp": exponent,
        "v": neuron.initial.astype(np.int64),
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
    """Return the name of Lava's sign mode under which the weights of a projection pass unchanged."""
    weights = projection.connectivity.weights
    low, high = int(weights.min(initial=0)), int(weights.max(initial=0))
    if low >= WEIGHT_MIN and high <= WEIGHT_MAX and not (weights & 1).any():
        return "MIXED"
    return "EXCITATORY" if low >= 0 else "INHIBITORY"


def _uniform(values: Array) -> Array:
    return values[:1] if values.size and (values == values[0]).all() else values
