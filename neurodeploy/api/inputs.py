"""Inputs as a user has them: one array, or one for each input, laid out as the exported model takes them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.lowering.lower import SAMPLE
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.nir_graph.nir_file import NirFile

Inputs = Any
"""An array or torch tensor, or a mapping from the names of inputs to these; ``[time, batch, *shape]``."""


def given(inputs: Inputs) -> dict[str, Array]:
    """Arrays by input; ``""`` names the only one.

    Raises:
        InvalidInputError: something that is no array of numbers.
    """
    named = inputs if isinstance(inputs, Mapping) else {"": inputs}
    found = {}
    for name, value in named.items():
        array = value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise InvalidInputError(
                f"the input {name!r} is no array of numbers" if name else "the input is no array of numbers",
                found=type(value).__name__, allowed="a NumPy array or a torch tensor, or one for each input by name",
            )  # fmt: skip
        found[str(name)] = array
    return found


def taken(model: Network | NirFile) -> tuple[str, int, dict[str, int]]:
    """Where time lies in what the exported model takes, the steps that it ran, and the dimensions of each input."""
    if isinstance(model, NirFile):
        nodes = {name: node for name, node in model.graph.nodes.items() if type(node).__name__ == "Input"}
        ranks = {name: len(node.input_type["input"]) for name, node in nodes.items()}
        steps = str(model.metadata.get("steps", 0))
        return str(model.metadata.get("time_axis", 0)), int(steps) if steps.isdecimal() else 0, ranks
    axis, _, rest = model.notes.get(SAMPLE, "0, 0 steps").partition(", ")
    return axis, int(rest.partition(" ")[0]), {p.name: len(p.shape) for p in model.inputs}


def over_time(
    inputs: Mapping[str, Array], model: Network | NirFile, axis: Any = None, note: Callable[[str], None] = warnings.warn
) -> dict[str, Array]:
    """Inputs as ``[time, batch, *shape]``, of those that lie as the exported model takes them.

    Args:
        model: that they are for.
        axis: where time lies, as given; None takes them as they are, but for what has one dimension too few: a static
            sample of a model that repeats it, or batch times time.
        note: called with what the user should know of how they were read.

    Raises:
        InvalidInputError: they do not lie so.
    """
    from neurodeploy.exporters.usage import Usage

    said, count, ranks = taken(model)
    found: dict[str, Array] = {}
    for name, value in inputs.items():
        rank = ranks.get(name, next(iter(ranks.values()), 0))
        read = axis
        if read is None and value.ndim == rank + 1 and said in ("none", "flat") and count:
            read = said
        if read is None and said in ("1", "-1"):
            note(
                f"the model takes time at {said}; this input is read as [time, batch, ...] (--input-axis {said} reads "
                "it as the model does)"
            )
        if read in (None, 0, "step"):
            found[name] = value
            continue
        wanted = rank + (1 if read in ("none", "flat") else 2)
        if value.ndim != wanted or (read == "flat" and (not count or len(value) % count)):
            raise InvalidInputError(
                f"the input does not lie as --input-axis {read} says", found=list(value.shape),
                allowed=f"{wanted} dimensions" + (f", batch times {count} steps" if read == "flat" else ""),
            )  # fmt: skip
        samples = len(value) // count if read == "flat" else len(value)
        usage = Usage(read, count if read in ("none", "flat") else value.shape[int(read)], samples)
        found[name] = usage.time_first(value)
    return found
