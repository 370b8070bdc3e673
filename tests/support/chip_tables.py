"""The tables about chips, from their architecture files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from neurodeploy.hwsim.chips.arch import Architecture, available, load_architecture

from .tables import Table

PAGE = "reference-chips.md"
NUMBERS = {"loihi": "Loihi's integers, as computed here", "own": "its own", None: "not published"}


def prices(name: str) -> list[str]:
    """What the file of a chip knows of energies and times."""
    chip = load_architecture(name)
    energies, times = (
        [p for key in type(part).model_fields if (p := getattr(part, key)).value is not None]
        for part in (chip.energy, chip.latency)
    )
    operation = chip.energy.synaptic_operation
    price = "–" if operation.value is None else f"{operation.value:g} pJ"
    price += " all-in" if operation.scope == "all-in" and operation.value is not None else ""
    sure = ", ".join(sorted({str(p.confidence) for p in (*energies, *times)})) or "–"
    return [chip.title, price, str(len(energies)), str(len(times)), sure]


def arithmetic(name: str) -> list[str]:
    """What the neurons of a chip compute with, by its file."""
    chip = load_architecture(name)
    own, limits = chip.arithmetic, chip.limits
    bits = "–" if limits.weight_bits is None else str(limits.weight_bits.value)
    bits += "" if own.weight_values is None else f", {own.weight_values.value} different at a neuron"
    states = "–" if limits.state_bits is None else str(limits.state_bits.value)
    return [NUMBERS[own.numbers.value], bits, states, resets(chip), neurons(chip)]


def resets(chip: Architecture) -> str:
    """Its resets; of one that takes several neurons, how many."""
    said = listed(chip.arithmetic.resets.value)
    several = chip.arithmetic.compartments_for_subtract
    return said if several is None else f"{said}; subtract with {several.value} compartments"


def neurons(chip: Architecture) -> str:
    """What its neurons have, and what nobody published."""
    own = chip.arithmetic.neurons
    if own.value == "any":
        return "any"
    return listed(own.value) + (f"; not published: {', '.join(own.unknown)}" if own.unknown else "")


def listed(values: Sequence[Any] | None) -> str:
    """Words, or that nothing was published."""
    return "not published" if values is None else ", ".join(map(str, values))


def fields(part: str) -> int:
    """How many figures a file may have of energy or of latency."""
    return len(type(getattr(load_architecture("loihi1"), part)).model_fields)


TABLES = (
    Table(
        PAGE, "chips",
        ("chip", "what", "synaptic operation", f"energies known (of {fields('energy')})",
         f"times known (of {fields('latency')})", "confidence"),
        {f"`{name}`": partial(prices, name) for name in available()},
    ),
    Table(
        PAGE, "arithmetic", ("chip", "numbers", "weight bits", "state bits", "resets", "neurons have"),
        {f"`{name}`": partial(arithmetic, name) for name in available()},
    ),
)  # fmt: skip
