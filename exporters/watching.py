"""Looking on neurons that are written by hand: what their comparisons give while the untouched module runs.

They are no modules that could be asked. But each of their steps compares in a line of the user's file, called by one of
its modules, and a short recording has told which comparison at that place is whose. Where the run has more steps than
the recording, what was the same in each of these goes on: layers that take turns in every step, or one layer after the
other over all steps; other comparisons there may be made once, or once in each step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from neurodeploy.network.arrays import Array

from .usage import Usage
from .user_line import user_line

COMPARISONS = frozenset(
    ("gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal", "heaviside", "sign", "sgn")
)
"""Names of the operators whose outcome may be a spike."""


Place = tuple[str, str]
"""A line of the user's file, and the path of the module that was called last when it ran."""


@dataclass(frozen=True)
class Watch:
    """Which comparisons are the spikes of which layer.

    Args:
        places: place -> the layer of each of its comparisons, in order; None where that is of no layer.
        outcomes: of a layer: what a comparison gives without and with a spike.
        steps: that were recorded.
    """

    places: Mapping[Place, Sequence[str | None]]
    outcomes: Mapping[str, tuple[float, float]]
    steps: int

    def outputs(self, noted: Mapping[Place, Sequence[Tensor]], usage: Usage) -> dict[str, Array]:
        """Spikes by layer, ``[time, batch, neurons]``, of those that were called once in each step."""
        found: dict[str, list[Tensor]] = {}
        for place, given in noted.items():
            for layer, value in zip(self._layers(place, usage.steps, len(given)), given, strict=False):
                if layer is not None:
                    found.setdefault(layer, []).append(value)
        made = {}
        for layer, values in found.items():
            low, high = self.outcomes[layer]
            values = _by_step(values[0], usage) if len(values) == 1 else values
            shapes = {tuple(value.shape) for value in values}
            if len(values) == usage.steps and len(shapes) == 1 and next(iter(shapes))[:1] == (usage.samples,):
                spikes = (torch.stack(values).double() > (low + high) / 2) == (high > low)
                made[layer] = spikes.double().reshape(usage.steps, usage.samples, -1).numpy()
        return made

    def _layers(self, place: Place, steps: int, count: int) -> Sequence[str | None]:
        """Whose so many comparisons at a place are over so many steps; nobody's where that cannot be told."""
        known = self.places.get(place, ())
        if steps == self.steps:
            return known if len(known) == count else ()
        ways = (_over(known, self.steps, steps, others) for others in (False, True))
        return next((layers for layers in ways if len(layers) == count), ())


def _by_step(value: Tensor, usage: Usage) -> list[Tensor]:
    """What one comparison of all steps gives, step by step."""
    lead = (usage.samples, usage.steps) if usage.axis == 1 else (usage.steps, usage.samples)
    if len(value) == usage.steps * usage.samples:
        value = value.reshape(*lead, *value.shape[1:])
    if value.shape[:2] != lead:
        return [value]
    return list(value.unbind(1 if usage.axis == 1 else 0))


def _over(known: Sequence[str | None], before: int, steps: int, others: bool) -> list[str | None]:
    """What is known of ``before`` steps, over another number of them.

    Args:
        others: whether comparisons that are of no layer are made in each step, too, where they follow each other.
    """
    made: list[str | None] = []
    while known:
        sizes = range(1, len(known) // before + 1)
        turn = next((turn for size in sizes if (turn := [*known[:size]]) * before == [*known[: size * before]]
                     and (others or any(turn))), None)  # fmt: skip
        made += [known[0]] if turn is None else turn * steps
        known = known[1 if turn is None else len(turn) * before :]
    return made


@dataclass(eq=False)
class Watching(TorchFunctionMode):
    """Notes what comparisons give, by their place."""

    noted: dict[Place, list[Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._paths = [""]

    def follow(self, body: nn.Module) -> None:
        """Know which of the parts of a module is running."""
        for path, part in body.named_modules():
            part.register_forward_pre_hook(lambda _part, _args, path=path: self._paths.append(path))
            part.register_forward_hook(lambda *_: self._left(), always_call=True)

    def _left(self) -> None:
        self._paths.pop()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_")
        if name in COMPARISONS and isinstance(made, Tensor):
            self.noted.setdefault((user_line(), self._paths[-1]), []).append(made.detach().clone())
        return made
