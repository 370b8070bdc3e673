"""Looking on neurons that are written by hand: what their comparisons give while the untouched module runs.

They are no modules that could be asked. But each of their steps compares in a line of the user's file, and a short
recording has told which comparison of that line is whose: of each layer in turn in every step, or one layer after the
other over all steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from neurodeploy.network.arrays import Array

from .usage import Usage
from .user_line import user_line

COMPARISONS = frozenset(
    ("gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal", "heaviside", "sign", "sgn")
)
"""Names of the operators whose outcome may be a spike."""


@dataclass(frozen=True)
class Watch:
    """Which comparisons are the spikes of which layer.

    Args:
        lines: line -> the layer of each of its comparisons, in order; None where that is of no layer.
        outcomes: of a layer: what a comparison gives without and with a spike.
        steps: that were recorded.
    """

    lines: Mapping[str, Sequence[str | None]]
    outcomes: Mapping[str, tuple[float, float]]
    steps: int

    def outputs(self, noted: Mapping[str, Sequence[Tensor]], usage: Usage) -> dict[str, Array]:
        """Spikes by layer, ``[time, batch, neurons]``, of those that were called once in each step."""
        found: dict[str, list[Tensor]] = {}
        for line, given in noted.items():
            for layer, value in zip(self._layers(line, usage.steps), given, strict=False):
                if layer is not None and len(given) * self.steps == len(self.lines[line]) * usage.steps:
                    found.setdefault(layer, []).append(value)
        made = {}
        for layer, values in found.items():
            low, high = self.outcomes[layer]
            shapes = {tuple(value.shape) for value in values}
            if len(values) == usage.steps and len(shapes) == 1 and next(iter(shapes))[:1] == (usage.samples,):
                spikes = (torch.stack(values).double() > (low + high) / 2) == (high > low)
                made[layer] = spikes.double().reshape(usage.steps, usage.samples, -1).numpy()
        return made

    def _layers(self, line: str, steps: int) -> list[str | None]:
        """Whose the comparisons of a line are over so many steps; nobody's where that cannot be told."""
        known = list(self.lines.get(line, ()))
        each, rest = divmod(len(known), self.steps)
        if rest or not each:
            return []
        turns, blocks = known[:each], known[:: self.steps]
        if known == turns * self.steps:
            return turns * steps
        if known == [layer for layer in blocks for _ in range(self.steps)]:
            return [layer for layer in blocks for _ in range(steps)]
        return []


@dataclass(eq=False)
class Watching(TorchFunctionMode):
    """Notes what comparisons give, by the line of the user's file."""

    noted: dict[str, list[Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_")
        if name in COMPARISONS and isinstance(made, Tensor):
            self.noted.setdefault(user_line(), []).append(made.detach().clone())
        return made
