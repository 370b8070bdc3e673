"""What a chip computes with: its numbers, its reset rules, its kinds of neuron; a section of its file.

What of it is computed here says `neurodeploy.hwsim.chips.computed`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from neurodeploy.network.neurons import Feature
from neurodeploy.network.neurons import Reset as ResetRule

from .figures import Confidence, Limit, Model, Text


class Fact(Model):
    """Something that is known of a chip, with its origin; ``value`` None where nobody published it.

    Args:
        source: paper and table, or program and version.
        confidence: ``specified`` is what the maker states or its software fixes.
        note: what there is to say about it; why nothing is known, where nothing is.
    """

    source: Text
    confidence: Confidence | Literal["specified"] | None = None
    note: str = ""

    @model_validator(mode="after")
    def _explained(self) -> Fact:
        known = getattr(self, "value", None) is not None
        if known and self.confidence is None:
            raise ValueError("what is known needs a confidence: measured, simulated, derived, assumed or specified")
        if not known and not self.note:
            raise ValueError("what is not known (value: null) needs a note that says why")
        return self


class Numbers(Fact):
    """Which numbers: ``loihi`` for Loihi's integers as Lava computes them, ``own`` for others."""

    value: Literal["loihi", "own"] | None


class Resets(Fact):
    """What a spike can do to a potential; a rule that is not listed does not exist."""

    value: tuple[ResetRule, ...] | None


class Neurons(Fact):
    """What a neuron can have beside a threshold and a potential that adds up; ``any`` where neurons are programs.

    Args:
        source, confidence, note: as for `Fact`.
        value: what it has.
        unknown: of which nobody published whether it has them.
    """

    value: tuple[Feature, ...] | Literal["any"] | None
    unknown: tuple[Feature, ...] = ()


def _unknown(what: str) -> dict[str, str | None]:
    return {"value": None, "source": "none", "note": f"{what} not in the chip's file"}


class Arithmetic(Model):
    """The section ``arithmetic`` of an architecture file; see the module's docstring.

    Args:
        numbers, resets, neurons: what it has.
        compartments_for_subtract: neurons (compartments) of the core that make up one that resets by subtraction, where
            a plain one cannot.
        weight_values: different weights that may end at one neuron.
    """

    numbers: Numbers = Numbers.model_validate(_unknown("numbers"))
    resets: Resets = Resets.model_validate(_unknown("reset rules"))
    neurons: Neurons = Neurons.model_validate(_unknown("kinds of neuron"))
    compartments_for_subtract: Limit | None = None
    weight_values: Limit | None = None

    @property
    def of_subtract(self) -> int:
        """Compartments of a neuron that resets by subtraction."""
        return 1 if self.compartments_for_subtract is None else max(self.compartments_for_subtract.value, 1)
