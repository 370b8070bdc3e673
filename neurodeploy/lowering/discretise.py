"""From a NIR neuron's differential equation to one step.

With ``alpha`` what a state loses in a step, ``dt / tau`` by forward Euler (norse, snnTorch, SpikingJelly) or
``1 - exp(-dt / tau)``, its exact solution (sinabs, Rockpool, Nengo), as `Conventions.decay` says, and input ``I``:

    LIF, LI      v <- v + alpha ((v_leak - v) + r I)               du = 1, dv = alpha, gain = alpha r
    IF, I        v <- v + dt r I                                   du = 1, dv = 0,     gain = dt r
    CubaLIF/LI   i <- i + alpha_s (w_in S - i)
                 v <- v + alpha_m ((v_leak - v) + r i)             du = alpha_s, dv = alpha_m,
                                                                   gain = alpha_s w_in alpha_m r,  u = alpha_m r i
    Threshold    s = I > threshold                                 du = 1, dv = 1,     gain = 1

and ``bias = dv v_leak``. `gain` multiplies everything that arrives (see `neurodeploy.network.neurons.Lif` for the
rest). That is the gain ``nir`` of `Conventions.gain`; tools that leave out a part of it have

    unit        1: what arrives is added as it is, without r and w_in (spyx, Rockpool's LIF, IF of norse and sinabs)
    membrane    alpha_m r: w_in and alpha_s are left out (CubaLIF of norse, whose current takes in a spike whole)
    decayed     1 - alpha of the current, or of an LI: what arrives decays in the same step (Rockpool)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array
from neurodeploy.network.neurons import Lif
from neurodeploy.nir_graph.conventions import Conventions, rules_of
from neurodeploy.nir_graph.shapes import kind


@dataclass(frozen=True, eq=False)
class Discrete:
    """A neuron model and the gain of its input, each ``[neurons]``."""

    neuron: Lif
    gain: Array


def discretise(name: str, node: Any, shape: tuple[int, ...], conventions: Conventions) -> Discrete:
    """Return one step of a neuron node.

    Raises:
        InvalidInputError: a parameter that is not finite, or a time constant shorter than the step.
    """
    what = kind(node)
    size = int(np.prod(shape))

    def value(attribute: str, default: float | None = None, *, endless: bool = False) -> Array:
        raw = default if default is not None and not hasattr(node, attribute) else getattr(node, attribute)
        array = np.asarray(raw, dtype=np.float64)
        if not (np.isfinite(array) | (endless & np.isposinf(array))).all():
            raise InvalidInputError(
                f"node {name!r}: parameter {attribute} is not finite",
                found=array.ravel()[:4],
                hint=_endless(attribute) if np.isposinf(array).any() else "",
            )
        return np.broadcast_to(array, shape).reshape(size) if array.size == 1 else array.reshape(size)

    def rate(attribute: str) -> Array:
        tau = value(attribute, endless=unscaled) * conventions.tau_unit
        if (tau <= 0).any() or (conventions.decay == "euler" and (tau < conventions.dt * (1 - 1e-9)).any()):
            raise InvalidInputError(
                f"node {name!r}: {attribute} is shorter than the time step",
                found=f"{attribute} = {tau.min():g} s, dt = {conventions.dt:g} s",
                allowed=f"{attribute} >= dt" if conventions.decay == "euler" else f"{attribute} > 0",
                hint="check the units: both are in seconds (--dt sets the step; --as norse knows those of norse 1.1.0)",
            )
        rates = conventions.dt / tau
        return -np.expm1(-rates) if conventions.decay == "exponential" else np.minimum(rates, 1.0)

    one, zero = np.ones(size), np.zeros(size)
    scaling = conventions.at(name, "gain")
    unscaled = scaling in ("unit", "decayed")
    r = one if unscaled else value("r", 1.0)
    if what in ("LIF", "LI"):
        du, dv = one, rate("tau")
        gain, current, bias = dv * r, dv, dv * value("v_leak")
    elif what in ("IF", "I"):
        du, dv, gain, current, bias = one, zero, conventions.dt * r, zero, zero
    elif what in ("CubaLIF", "CubaLI"):
        du, dv = rate("tau_syn"), rate("tau_mem")
        gain, current, bias = dv * r, du, dv * value("v_leak")
        gain = gain * du * value("w_in") if scaling == "nir" and not unscaled else gain
    else:
        du, dv, gain, current, bias = one, one, one, zero, zero
    if unscaled and what != "Threshold":
        late = scaling == "decayed" and what in ("LI", "CubaLIF", "CubaLI")
        gain = 1 - current if late else one
    spiking = what in ("LIF", "IF", "CubaLIF", "Threshold")
    rules = rules_of(name, node, conventions)
    resets = spiking and what != "Threshold"
    neuron = Lif(
        du=du,
        dv=dv,
        bias=bias,
        threshold=value("threshold" if what == "Threshold" else "v_threshold") if spiking else zero,
        reset_to=value("v_reset", 0.0) if resets else zero,
        initial=_full(name, "v_initial", np.asarray(rules.initial), shape),
        reset=(rules.reset or conventions.at(name, "reset")) if resets else "none",
        reset_time=rules.reset_time if resets else "now",
        comparison=rules.comparison or conventions.at(name, "comparison"),
        spiking=spiking,
        max_spikes=rules.max_spikes if spiking else 1,
        floor=None if rules.floor is None else np.full(size, rules.floor),
        refractory=_optional(name, "refractory", rules.refractory, shape, np.int32),
        threshold_decay=_optional(name, "threshold_decay", rules.threshold_decay, shape),
        threshold_jump=_optional(name, "threshold_jump", rules.threshold_jump, shape),
        reset_current=rules.reset_current,
    )
    return Discrete(neuron, gain)


def _optional(
    name: str, key: str, value: Array | None, shape: tuple[int, ...], dtype: type = np.float64
) -> Array | None:
    return None if value is None else _full(name, key, value, shape).astype(dtype)


def _full(name: str, key: str, value: Array, shape: tuple[int, ...]) -> Array:
    """A number of the node's metadata for each neuron, ``[neurons]``."""
    try:
        return np.broadcast_to(value, shape).reshape(-1).astype(np.float64)
    except ValueError as error:
        raise InvalidInputError(
            f"node {name!r}: {key} has the wrong shape",
            found=list(value.shape),
            allowed=f"one number, or {list(shape)}",
        ) from error


def _endless(attribute: str) -> str:
    """What to do about a parameter that is infinite."""
    if "threshold" in attribute:
        return (
            "a last layer that never spikes is a read-out of its potential: write LI in place of LIF, I in place of IF"
        )
    return "snnTorch writes beta = 1 like this: --as snntorch"
