"""Pass ``quantise``: from floats to Loihi's integers. Not exact; the loss is what `neurodeploy verify` measures.

Each population gets one scale S, integer units of its state per unit of its float membrane:

    w_int = 2 round(S w / (2 * 64 * 2^e)) in [-256, 254]        (the sum of weights is shifted by e, then by 6 bits)
    vth   = round(S theta / 64) <= 2^17 - 1                      (the state is compared with vth << 6)
    dv    = round(4096 dv_f),  du = round(4096 du_f) - 1          (Loihi adds 1 to du)
    bias  = round(S b / 2^k) << k, a 13-bit mantissa               (k as small as possible, one for the population)

S is chosen so that the largest weight of the population's projections fills the 8 bits, and is then doubled until
every projection has an exponent e >= 0, as long as the threshold and the largest state seen in calibration fit; the
exponent of a projection is the smallest that holds its largest weight. A reset potential other than 0 is shifted to 0
first (exact): v' = v - v_reset, theta' = theta - v_reset, b' = b - dv v_reset. A bias that drives the current, or
that starts late, becomes an always-on axon with synapses of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from neurodeploy import loihi
from neurodeploy.connectivity import Array, Dense, largest_sum, with_weights
from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.network import Network, Population, Projection
from neurodeploy.neurons import Lif, SigmaDelta, Source

_UNIT = 1 << loihi.STATE_SHIFT


@dataclass(frozen=True)
class Quantise:
    """Turn a float network into Loihi's integers.

    Args:
        calibration: inputs of a few samples, ``[time, batch, *shape]``; the float network runs on them and the largest
            potential of each population is kept from saturating. Without them only weights and thresholds decide.
        headroom: how much larger than in calibration a potential may grow before it saturates.
    """

    name: ClassVar[str] = "quantise"
    calibration: Mapping[str, Array] | None = field(default=None, repr=False)
    headroom: float = 2.0

    def apply(self, network: Network) -> Network:
        """See the module's docstring.

        Raises:
            InvalidInputError: the network is not in floats.
            UnsupportedError: a read-out that feeds another population, or a parameter beyond the integers' range.
        """
        if network.arithmetic != "float":
            raise InvalidInputError("the network is already quantised", found=network.arithmetic, allowed="float")
        axons = [_bias_axon(p) for p in network.projections if p.bias is not None]
        projections = [replace(p, bias=None) for p in network.projections] + [p for _, p in axons]
        sources = [s for s, _ in axons]
        peaks = self._peaks(network)
        notes = dict(network.notes)
        populations: list[Population] = list(sources)
        integer: dict[str, Projection] = {}
        for population in network.populations:
            if isinstance(population.neuron, SigmaDelta):
                raise UnsupportedError(
                    f"population {population.name!r} is sigma-delta, which is not quantised yet",
                    allowed="integrate-and-fire neurons",
                    hint="compile it with --float",
                )
            if isinstance(population.neuron, Source):
                populations.append(population)
                continue
            if isinstance(population.neuron, Lif) and population.neuron.slow:
                raise UnsupportedError(
                    f"population {population.name!r} has a refractory time or an adaptive threshold, which is not "
                    "quantised yet",
                    allowed="neurons without",
                    hint="compile it with --float",
                )
            if not population.spiking and any(p.source == population.name for p in projections):
                raise UnsupportedError(
                    f"the read-out {population.name!r} feeds another population",
                    allowed="in integers a population that does not spike must be an output",
                    hint="put a spiking neuron between them",
                )
            incoming = [p for p in projections if p.target == population.name]
            quantised, done = _population(population, incoming, peaks.get(population.name, 0.0) * self.headroom)
            populations.append(quantised)
            integer |= {p.name: p for p in done}
            notes[f"quantise {population.name}"] = _describe(quantised, done)
        return replace(
            network,
            populations=tuple(populations),
            projections=tuple(integer[p.name] for p in projections),
            arithmetic="loihi",
            notes=notes,
        )

    def _peaks(self, network: Network) -> dict[str, float]:
        """Largest potential above the reset of each population on the calibration samples."""
        if self.calibration is None:
            return {}
        from neurodeploy.backends.reference import run_network
        from neurodeploy.recording import Record

        recording = run_network(network, self.calibration, record=Record(("v",)))
        return {name: float(np.abs(v).max()) for name, v in recording.states["v"].items()}


def _bias_axon(projection: Projection) -> tuple[Population, Projection]:
    assert projection.bias is not None
    name = f"bias of {projection.name}"
    source = Population(name, (1,), Source(always_on=True, start=projection.bias_start), projection.handle)
    weights = Dense(projection.bias[:, None])
    return source, Projection(name, name, projection.target, weights, handle=projection.handle)


def _population(population: Population, incoming: list[Projection], peak: float) -> tuple[Population, list[Projection]]:
    neuron = population.neuron
    assert isinstance(neuron, Lif)
    if neuron.reset == "hard":
        neuron = replace(
            neuron,
            threshold=neuron.threshold - neuron.reset_to,
            bias=neuron.bias - neuron.dv * neuron.reset_to,
            initial=neuron.initial - neuron.reset_to,
            reset_to=np.zeros_like(neuron.reset_to),
            floor=None if neuron.floor is None else neuron.floor - neuron.reset_to,
        )
    largest = {p.name: float(np.abs(p.connectivity.weights).max(initial=0.0)) for p in incoming}
    scale = _scale(population, neuron, largest, peak)
    done = [_projection(p, scale, largest[p.name]) for p in incoming]
    rounded = Lif(
        du=np.clip(np.rint(neuron.du * loihi.DECAY_ONE) - 1, 0, loihi.DECAY_ONE - 1).astype(np.int32),
        dv=np.clip(np.rint(neuron.dv * loihi.DECAY_ONE), 0, loihi.DECAY_ONE - 1).astype(np.int32),
        bias=_bias(population, neuron.bias * scale),
        threshold=_threshold(population, neuron, scale),
        reset_to=np.zeros(population.size, dtype=np.int32),
        initial=_state(neuron.initial * scale),
        reset=neuron.reset,
        reset_time=neuron.reset_time,
        comparison=">",
        spiking=neuron.spiking,
        max_spikes=neuron.max_spikes,
        floor=None if neuron.floor is None else _state(neuron.floor * scale),
    )
    return replace(population, neuron=rounded, scale=scale), done


def _scale(population: Population, neuron: Lif, largest: Mapping[str, float], peak: float) -> float:
    """S: as fine as weights, threshold and the largest potential allow; see the module's docstring."""
    weights = [value for value in largest.values() if value > 0]
    ceiling = math.inf
    if neuron.spiking and neuron.threshold.max() > 0:
        ceiling = (loihi.THRESHOLD_MAX * _UNIT) / float(neuron.threshold.max())
    peak = max(peak, float(np.abs(neuron.initial).max()))
    if peak > 0:
        ceiling = min(ceiling, loihi.STATE_MAX / peak)
    if bias := float(np.abs(neuron.bias).max()):
        ceiling = min(ceiling, (loihi.BIAS_MANTISSA_MAX << loihi.BIAS_EXPONENT_MAX) / bias)
    if not weights:
        return min(ceiling, float(_UNIT) * loihi.WEIGHT_MAX)
    scale = _UNIT * loihi.WEIGHT_MAX / max(weights)
    wanted = _UNIT * loihi.WEIGHT_MAX / min(weights)
    while scale * 2 <= ceiling and scale < wanted:
        scale *= 2
    while scale > ceiling:
        scale /= 2
    lowest = _exponent(scale, min(weights))
    if lowest < loihi.WEIGHT_EXPONENT_MIN or _exponent(scale, max(weights)) > loihi.WEIGHT_EXPONENT_MAX:
        raise UnsupportedError(
            f"population {population.name!r}: weights and threshold do not fit one integer scale",
            found=f"weights of {min(weights):g} to {max(weights):g}, threshold {neuron.threshold.max():g}",
            allowed=f"weight exponents {loihi.WEIGHT_EXPONENT_MIN}..{loihi.WEIGHT_EXPONENT_MAX}",
            hint="bring the layers' weights closer together (weight decay or normalisation in training)",
        )
    return scale


def _exponent(scale: float, largest: float) -> int:
    """Smallest exponent at which a weight of size ``largest`` fits 8 bits."""
    return math.ceil(math.log2(scale * largest / (_UNIT * loihi.WEIGHT_MAX)) - 1e-9)


def _projection(projection: Projection, scale: float, largest: float) -> Projection:
    exponent = max(_exponent(scale, largest), loihi.WEIGHT_EXPONENT_MIN) if largest > 0 else 0
    step = loihi.WEIGHT_STEP * _UNIT * 2.0**exponent
    weights = loihi.WEIGHT_STEP * np.rint(projection.connectivity.weights * (scale / step))
    weights = np.clip(weights, loihi.WEIGHT_MIN, loihi.WEIGHT_MAX).astype(np.int16)
    return replace(projection, connectivity=with_weights(projection.connectivity, weights, exponent))


def _state(value: Array) -> Array:
    """Rounded and held within the range of the membrane potential."""
    return np.clip(np.rint(value), -loihi.STATE_MAX, loihi.STATE_MAX).astype(np.int32)


def _bias(population: Population, bias: Array) -> Array:
    largest = float(np.abs(bias).max(initial=0.0))
    for exponent in range(loihi.BIAS_EXPONENT_MAX + 1):
        if largest / 2**exponent <= loihi.BIAS_MANTISSA_MAX + 0.5:
            mantissa = np.clip(np.rint(bias / 2**exponent), -loihi.BIAS_MANTISSA_MAX, loihi.BIAS_MANTISSA_MAX)
            return np.asarray(mantissa.astype(np.int32) << exponent)
    raise UnsupportedError(
        f"population {population.name!r}: its bias does not fit",
        found=f"{largest:.0f} in integer units",
        allowed=f"up to {loihi.BIAS_MANTISSA_MAX << loihi.BIAS_EXPONENT_MAX}",
        hint="train with smaller biases",
    )


def _threshold(population: Population, neuron: Lif, scale: float) -> Array:
    if not neuron.spiking:
        return np.full(population.size, (loihi.THRESHOLD_MAX + 1) * _UNIT, dtype=np.int32)
    mantissa = np.rint(neuron.threshold * scale / _UNIT)
    if mantissa.min() < 1:
        raise UnsupportedError(
            f"population {population.name!r}: a threshold rounds to {int(mantissa.min())}",
            found=f"threshold {neuron.threshold.min():g} beside far larger weights",
            allowed="a threshold of at least 1 in units of the largest weight / 254",
            hint="train with a larger threshold or smaller weights",
        )
    return np.asarray(np.minimum(mantissa, loihi.THRESHOLD_MAX) * _UNIT, dtype=np.int32)


def _describe(population: Population, incoming: list[Projection]) -> str:
    exponents = ", ".join(f"{p.source}: {p.connectivity.exponent}" for p in incoming)
    text = f"scale {population.scale:.4g} integer units per unit of potential; weight exponents {exponents or 'none'}"
    worst = sum(largest_sum(p.connectivity) for p in incoming)
    if worst * _UNIT > loihi.STATE_MAX:
        text += "; if all its inputs spiked at once the current would wrap"
    return text
