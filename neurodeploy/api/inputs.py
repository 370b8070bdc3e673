"""Inputs as a user has them: one array, or one for each input, laid out as the exported model takes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.exporters.usage import AXES, TimeAxis, Usage
from neurodeploy.lowering.lower import SAMPLE
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.nir_graph.nir_file import NirFile

if TYPE_CHECKING:
    from torch import Tensor

Inputs: TypeAlias = "Array | Tensor | Mapping[str, Array | Tensor]"
"""An array or torch tensor as the exported model takes it, or a mapping from the names of inputs to these."""

Labels: TypeAlias = "Array | Tensor | Sequence[int]"
"""The class of each sample, ``[batch]``."""


def given(inputs: Inputs) -> dict[str, Array]:
    """Arrays by input; ``""`` names the only one.

    Raises:
        InvalidInputError: something that is no array of numbers.
    """
    named = inputs if isinstance(inputs, Mapping) else {"": inputs}
    found = {}
    for name, value in named.items():
        array = array_of(value)
        if array.dtype.kind not in "biuf":
            raise InvalidInputError(
                f"the input {name!r} is no array of numbers" if name else "the input is no array of numbers",
                found=type(value).__name__, allowed="a NumPy array or a torch tensor, or one for each input by name",
            )  # fmt: skip
        found[str(name)] = array
    return found


def array_of(value: Array | Tensor) -> Array:
    """An array as it is, or what a torch tensor holds."""
    if not hasattr(value, "detach"):
        return np.asarray(value)
    held = value.detach().cpu()
    return held.float().numpy() if str(held.dtype) == "torch.bfloat16" else held.numpy()  # which NumPy has not


@dataclass(frozen=True)
class Taken:
    """How the exported model takes its input.

    Args:
        axis: where time lies in it, one of `neurodeploy.exporters.usage.AXES`.
        steps: that it ran when it was exported; 0 where that is not known.
        order: of a flat input, ``batch outside`` or ``time outside``; empty where that is not known.
        ranks: dimensions of a sample's step, by input.
    """

    axis: TimeAxis
    steps: int
    order: str
    ranks: Mapping[str, int]

    @classmethod
    def of(cls, model: Network | NirFile) -> Taken:
        """As a file's metadata or a network's notes say it; ``[time, batch, *shape]`` where they do not."""
        if isinstance(model, NirFile):
            nodes = {name: node for name, node in model.graph.nodes.items() if type(node).__name__ == "Input"}
            ranks = {name: len(node.input_type["input"]) for name, node in nodes.items()}
            said = {name: str(model.metadata.get(name, "")) for name in ("time_axis", "steps", "flat_order")}
            return cls(_axis(said["time_axis"]), _whole(said["steps"]), said["flat_order"], ranks)
        found = re.match(r"([\w-]+)(?: \(([\w ]+)\))?, (\d+) steps", model.notes.get(SAMPLE, ""))
        axis, order, steps = found.groups() if found else ("", "", "")
        return cls(_axis(axis), _whole(steps), order or "", {p.name: len(p.shape) for p in model.inputs})

    def usage(self, axis: TimeAxis, name: str, value: Array) -> Usage:
        """How one input lies, read with time at ``axis``.

        Raises:
            InvalidInputError: it has another number of dimensions, or not whole steps; or nobody says how it is flat.
        """
        together = axis in ("none", "flat")
        wanted = self.ranks.get(name, next(iter(self.ranks.values()), 0)) + (1 if together else 2)
        uneven = axis == "flat" and (not self.steps or len(value) % self.steps)
        if value.ndim != wanted or uneven or (axis == "none" and not self.steps):
            raise InvalidInputError(
                f"the input does not lie as --input-axis {axis} says", found=list(value.shape),
                allowed=f"{wanted} dimensions" + (f", batch times {self.steps} steps" if axis == "flat" else ""),
            )  # fmt: skip
        if axis == "flat" and not self.order:
            raise InvalidInputError(
                "the file does not say whether batch or time is outside in a flat input",
                hint="export it again, or give the input as [time, batch, *shape] with --input-axis 0",
            )
        if together:
            samples = len(value) // self.steps if axis == "flat" else len(value)
            return Usage(axis, self.steps, samples, self.order != "time outside")
        return Usage(axis, value.shape[int(axis)], len(value))


def _axis(text: str) -> TimeAxis:
    return next((axis for axis in AXES if str(axis) == text), 0)


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def over_time(
    inputs: Mapping[str, Array],
    model: Network | NirFile,
    axis: TimeAxis | None = None,
    note: Callable[[str], None] | None = None,
) -> dict[str, Array]:
    """Inputs as ``[time, batch, *shape]``.

    Args:
        model: that they are for.
        axis: where time lies in them; None as the exported model takes it. What has one dimension more than a static
            or flat input is ``[time, batch, *shape]`` already.
        note: where given, an input that None would read with time at 1 or -1 is ``[time, batch, *shape]`` all the same,
            and this is called with words about it.

    Raises:
        InvalidInputError: they do not lie so.
    """
    taken = Taken.of(model)
    found: dict[str, Array] = {}
    for name, value in inputs.items():
        read = taken.axis if axis is None else axis
        if axis is None and read in (1, -1) and note is not None:
            note(
                f"the model takes time at {read}; this input is read as [time, batch, ...] (--input-axis {read} reads "
                "it as the model does)"
            )
            read = 0
        rank = taken.ranks.get(name, next(iter(taken.ranks.values()), 0))
        if axis is None and read in ("none", "flat") and (value.ndim != rank + 1 or not taken.steps):
            read = 0
        found[name] = value if read in (0, "step") else taken.usage(read, name, value).time_first(value)
    return found
