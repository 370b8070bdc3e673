"""Does a chip hold a network's numbers, and has it such neurons? Each value and rule that it has not, by layer.

An integer network's weights, thresholds, biases and decays must lie in the chip's registers
(`neurodeploy.network.registers`); its neurons, and those of a float network, must be of the chip's kinds. What nobody
published of a chip is not checked, and stands in the notes of the Program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from neurodeploy.network import loihi_ranges
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import TRAINS_EQUALLY, Network, Population, Projection
from neurodeploy.network.neuron import JOIN, Feature
from neurodeploy.network.registers import Registers, weight_bits
from neurodeploy.program.limits import Limits, added

from .need import Need

DIFFERENT = "different weights at a neuron"
FLOATS = "; --float takes it as it is, for counts and costs only"
REMEDY = "compile the float network for this chip (compile the .nir file), so that quantise takes its widths"


SEVERAL = (
    "join the {count} projections that end there (a loop, a bias and each sign are one each, with own weights), "
    "or use another chip"
)


def needs(network: Network, limits: Limits) -> list[Need]:
    """Rows for what a chip has not; and for the bits of weights, which are always told."""
    found: list[Need] = []
    for population in network.populations:
        found += _kinds(population, network, limits)
        if network.arithmetic == "loihi" and not population.external:
            found += _values(population, limits)
    if network.arithmetic == "loihi":
        found += [_weights(p, limits) for p in network.projections if network.by_name[p.target].neuron.registers]
        found += _different(network, limits)
    return found


def of_arithmetic(need: Need) -> bool:
    """Whether a row is one of `needs`, and nothing of how neurons lie on cores."""
    return bool(need.lacks or need.said or need.limit in ("weight", DIFFERENT))


def notes(network: Network, limits: Limits) -> dict[str, str]:
    """What a reader must know of how the chip's rules were kept: compartments, and what was not checked."""
    found = {}
    for population in network.populations:
        if said := _compartments(population, network, limits):
            found[f"compartments {population.name}"] = said
    unsaid = [p.name for p in network.populations if "model of its own" in asked(p, network)]
    if unsaid and limits.features is not None:
        found["kinds of neuron not checked"] = f"{', '.join(unsaid)}: the model does not say what it needs of a chip"
    lacking = [need for p in network.populations for need in _kinds(p, network, limits)]
    if lacking:
        found[f"not on {limits.chip}"] = "; ".join(map(str, lacking))
    for feature in limits.unsure:
        asking = [p.name for p in network.populations if feature in asked(p, network)]
        if asking:
            found[f"{feature} not checked"] = f"{', '.join(asking)}: whether {limits.chip} has it was not published"
    if limits.unknown:
        found[f"not in the file of {limits.chip}, so not checked"] = ", ".join(limits.unknown)
    if limits.registers.state_bits < 24 and network.arithmetic == "loihi":
        found["states"] = (
            f"computed with 24 bits; {limits.chip} has {limits.registers.state_bits}. A potential or current beyond "
            f"{limits.registers.state_max:,} would differ there: what `quantise` made sure of stands in its notes"
        )
    return found


def asked(population: Population, network: Network) -> tuple[Feature, ...]:
    """What a population needs of a chip's neurons: its model, and what stands in front of it."""
    return (*population.neuron.features(network.arithmetic), *(() if population.join is None else (JOIN,)))


def _compartments(population: Population, network: Network, limits: Limits) -> str:
    """How many of a chip's neurons a population takes where these are more than its own, in words."""
    if population.external:
        return ""
    each, size = limits.compartments(network, population.name), population.size
    taken, chip, counted = int(each.sum()), limits.chip, "counted on cores, as updates and in energy"
    subtract = limits.of_subtract if "subtract" in population.neuron.resets() else 1
    if population.join is None:
        return "" if subtract == 1 else (
            f"{size:,} neurons that reset by subtraction take {taken:,} of {chip}'s neurons, whose plain ones cannot: "
            f"{subtract} compartments each; both are {counted}"
        )  # fmt: skip
    soma = "the soma stands behind them, since it adds what arrives at itself" if added(network, population.name) else (
        "the soma is one of them, since nothing else arrives there"
    )  # fmt: skip
    more = f"; each resets by subtraction, for which it takes {subtract}" if subtract > 1 else ""
    return (
        f"{size:,} neurons take {taken:,} of {chip}'s neurons (compartments), {int(each.max())} each at most: a MAX of "
        f"k currents takes k, and {soma}{more}; all are {counted}"
    )


def others(notes: Mapping[str, str]) -> dict[str, str]:
    """Notes without those of `notes`, which speak of the chip that a network was placed on before."""
    begins = ("compartments ", "not on ", "not in the file of ")
    return {k: v for k, v in notes.items() if not (k.startswith(begins) or k.endswith(" not checked") or k == "states")}


def _kinds(population: Population, network: Network, limits: Limits) -> Iterator[Need]:
    """Reset rules and kinds of neuron that the chip has not; floats, which no chip computes with, fit all the same."""
    neuron, where, fits = population.neuron, population.handle.module, network.arithmetic == "float"
    if limits.resets is not None:
        for rule in neuron.resets():
            if rule not in limits.resets and not (rule == "subtract" and limits.of_subtract > 1):
                yield Need(
                    population.name, where, f"{_RULE[rule]}", "rules", 1, 0, f"a neuron of {limits.chip}",
                    f"train it with the reset that there is ({' or '.join(limits.resets)}){FLOATS}", fits,
                    said=f"{_DOES[rule]}; the neurons of {limits.chip} have {_have(limits.resets)}", lacks=rule,
                )  # fmt: skip
    if limits.features is not None:
        # What spikes carry to others has a limit of its own; a model that does not say what it needs is not checked.
        heard = any(p.source == population.name for p in network.projections)
        told = {"model of its own", *limits.unsure} | (_carried(limits) if heard else set())
        for feature in asked(population, network):
            if feature not in limits.features and feature not in told:
                yield Need(
                    population.name, where, feature, "kinds", 1, 0, f"a neuron of {limits.chip}",
                    f"train it without: {feature}{'; ' + TRAINS_EQUALLY if feature == JOIN else ''}{FLOATS}", fits,
                    said=f"has neurons with: {feature}; those of {limits.chip} have none", lacks=feature,
                )  # fmt: skip


def _carried(limits: Limits) -> set[str]:
    return set() if limits.payload_bits is None else {"several spikes a step", "negative spikes"}


_RULE = {"hard": "hard reset", "subtract": "reset by subtraction", "none": "spikes without a reset"}
_DOES = {
    "hard": "resets to a potential (hard reset)",
    "subtract": "resets by subtraction (soft reset)",
    "none": "does not reset",
}


def _have(rules: tuple[str, ...]) -> str:
    return " and ".join(_RULE[rule] for rule in rules) or "no reset"


def _weights(projection: Projection, limits: Limits) -> Need:
    """Bits that the weights need; those that learn may take any value of 8."""
    kind = projection.connectivity
    need = 8 if projection.local_rule is not None else weight_bits(kind.weights)
    have = limits.registers.weight_bits
    found = np.unique(kind.weights)
    low, high = found.min(initial=0), found.max(initial=0)
    said = f"needs {need} bits of weight ({len(found)} different ones from {low} to {high}); "
    said += f"a synapse of {limits.chip} has {have}"
    fits = need <= have
    return Need(
        projection.name, projection.handle.module, "weight", "bits", need, have, f"a synapse of {limits.chip}",
        "" if fits else REMEDY, fits, said="" if fits else said,
    )  # fmt: skip


def _different(network: Network, limits: Limits) -> Iterator[Need]:
    """Neurons at which more different weights end than the chip has for one."""
    have = limits.registers.weight_values
    if have is None:
        return
    for population in network.populations:
        pairs = [_pairs(p, population) for p in network.into(population.name)]
        if not pairs:
            continue
        targets, values = (np.concatenate(part) for part in zip(*pairs, strict=True))
        each = np.unique(np.stack([targets[values != 0], values[values != 0]]), axis=1)[0].astype(np.int64)
        need = int(np.bincount(each).max(initial=0)) if each.size else 0
        if need > have:
            yield Need(
                population.name, population.handle.module, DIFFERENT, "weights", need, have,
                f"a neuron of {limits.chip}", SEVERAL.format(count=len(pairs)) if len(pairs) > 1 else REMEDY,
                fits=False,
            )  # fmt: skip


def _pairs(projection: Projection, target: Population) -> tuple[Array, Array]:
    """Target neuron and effective weight of each stored synapse."""
    matrix = projection.connectivity.to_csr().tocoo()
    onto = target.at(projection.port, np.arange(target.size))
    return onto[matrix.col].astype(np.float64), matrix.data.astype(np.float64) * 2.0**projection.connectivity.exponent


def _values(population: Population, limits: Limits) -> Iterator[Need]:
    """Values of an integer population that are too large, or too fine, for the chip."""
    registers, neuron = limits.registers, population.neuron
    for what, value, most, unit in _largest(population, registers):
        if value > most:
            yield _row(population, limits, what, value, most, unit)
    step = registers.decay_step
    for name, extra in (("du", 1), ("dv", 0), ("threshold_decay", 0)):
        decay = getattr(neuron, name, None)
        if decay is not None and step > 1 and ((decay + extra) % step).any():
            wrong = int(decay[(decay + extra) % step != 0][0]) + extra
            yield Need(
                population.name, population.handle.module, name, "", wrong, step, f"a neuron of {limits.chip}", REMEDY,
                fits=False, said=f"has a {name} of {wrong}/4096; the {registers.decay_bits} bits of {limits.chip} hold "
                f"multiples of {step}/4096",
            )  # fmt: skip


def _largest(population: Population, registers: Registers) -> Iterator[tuple[str, int, int, str]]:
    """Name, found, allowed and unit of each size."""
    neuron = population.neuron
    thresholds = neuron.thresholds() if population.spiking else None
    if thresholds is not None and neuron.current_shift:
        unit = 1 << loihi_ranges.STATE_SHIFT
        yield "threshold", -(-int(thresholds.max(initial=0)) // unit), registers.threshold_max, "units of 64"
    bias = getattr(neuron, "bias", None)
    if bias is not None and neuron.current_shift:
        mantissa, most = _mantissa(bias, registers.bias_exponent_max), registers.bias_mantissa_max
        yield "bias", mantissa, most, f"2^0 to 2^{registers.bias_exponent_max}"
        yield "bias in a state", int(np.abs(bias).max(initial=0)), registers.state_max, "state units"
    initial = getattr(neuron, "initial", None)
    if initial is not None:
        yield "first potential", int(np.abs(initial).max(initial=0)), registers.state_max, "state units"


def _mantissa(bias: Array, exponents: int) -> int:
    """Largest mantissa that a bias needs, at the exponent that leaves each the least."""
    whole = np.abs(bias.astype(np.int64))
    low = np.where(whole == 0, 0, whole & -whole)
    shift = np.minimum(np.log2(np.maximum(low, 1)).astype(np.int64), exponents)
    # The lowest mantissa is one further from 0 than the highest.
    return int(np.where(bias < 0, (whole >> shift) - 1, whole >> shift).max(initial=0))


def _row(population: Population, limits: Limits, what: str, need: int, have: int, unit: str) -> Need:
    return Need(
        population.name, population.handle.module, what, unit, need, have, f"a neuron of {limits.chip}", REMEDY,
        fits=False, said=f"has a {what} of {need:,} {unit}; the neurons of {limits.chip} hold up to {have:,}",
    )  # fmt: skip
