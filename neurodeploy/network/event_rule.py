"""How a projection learns event by event: the rule's name and its constants.

The equations are those of `neurodeploy.network.event_rules`. A projection that has a rule learns in learning runs
(`neurodeploy.learning`), from labelled samples; any other run takes its weights as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from neurodeploy.errors import InvalidInputError

from .schema import check_types

RuleName = Literal["mpd-ed", "std-ed", "bptt"]
RULES: tuple[RuleName, ...] = ("mpd-ed", "std-ed", "bptt")


@dataclass(frozen=True)
class AdaptiveThreshold:
    """How thresholds follow activity.

    After every ``window`` samples, with r the spikes per neuron and step in them: below ``target / 2`` the threshold
    is multiplied by ``down`` (not below ``lowest`` times its start); above ``target`` by ``up``, not above its start.

    Args:
        each: ``layer`` for one number a layer, moved by the mean of its neurons; ``neuron`` for one a neuron: lowered
            with all others by the mean, or by itself where it did not fire at all, so that a loud neuron does not hide
            silent ones; raised where its own spikes are above the target.
    """

    target: float = 0.04
    lowest: float = 0.02
    down: float = 0.9
    up: float = 1.01
    window: int = 32
    each: Literal["layer", "neuron"] = "layer"

    def __post_init__(self) -> None:
        check_types(self)
        fine = self.window >= 1 and self.target > 0 and 0 < self.lowest <= 1 and 0 < self.down <= 1 <= self.up
        if not fine or self.each not in ("layer", "neuron"):
            raise InvalidInputError(
                "an adaptive threshold cannot be used", found=self,
                allowed="target above 0, lowest and down above 0 up to 1, up and window from 1 on, layer or neuron",
            )  # fmt: skip


@dataclass(frozen=True)
class EventRule:
    """A rule and its constants; see `neurodeploy.network.event_rules`.

    Args:
        name: of the rule.
        learning_rate: step along the negative gradient, after every ``batch`` samples (of their summed gradients).
        width: of psi, in thresholds.
        slope: smallest current at a spike that STD-ED divides by, in thresholds.
        batch: samples after which weights change; 1 is what a chip without a store of gradients does.
        adapt: the adaptive threshold; None for fixed thresholds.
        skip: a sample whose right class already has a probability above ``1 - skip`` teaches nothing (0: all teach).
        weight_bits: weights stay on a grid of so many bits (signed), to which changes are rounded stochastically; None
            for float64.
        weight_range: largest magnitude on that grid, in thresholds.
        seed: of the stochastic rounding.

    Raises:
        InvalidInputError: a constant out of its range.
    """

    name: RuleName
    learning_rate: float
    width: float = 1.0
    slope: float = 0.1
    batch: int = 1
    adapt: AdaptiveThreshold | None = AdaptiveThreshold()
    skip: float = 0.0
    weight_bits: int | None = None
    weight_range: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        limits = {
            "name": (self.name in RULES, ", ".join(RULES)),
            "learning_rate": (0 < self.learning_rate < np.inf, "above 0"),
            "width": (0 < self.width < np.inf, "above 0"),
            "slope": (0 < self.slope < np.inf, "above 0"),
            "batch": (self.batch >= 1, "1 or more"),
            "skip": (0 <= self.skip < 1, "0 to below 1"),
            "weight_bits": (self.weight_bits is None or 2 <= self.weight_bits <= 16, "2 to 16, or none"),
            "seed": (0 <= self.seed < 1 << 62, "0 to 2^62 - 1"),
            "weight_range": (0 < self.weight_range < np.inf, "above 0"),
        }
        for name, (fine, allowed) in limits.items():
            if not fine:
                raise InvalidInputError(
                    f"{name} of the learning rule cannot be used", found=getattr(self, name), allowed=allowed
                )
