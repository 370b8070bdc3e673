"""What NIR does not say and every tool decides for itself: time step, reset, threshold equality, recurrent bias.

Each comes from the option given, else from the file's own metadata (written by our exporters), else from a stated
assumption; all three are visible in `Conventions.notes`, so that no report rests on a silent guess. The time step is
never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.neurons import Comparison, Reset

from .metadata import OVERRIDDEN, NeuronRules, section_of
from .nir_file import NirFile
from .shapes import delayed_edges, kind, of_kind

RecurrentBias = Literal["from-start", "after-delay"]

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "reset": get_args(Reset),
    "comparison": get_args(Comparison),
    "recurrent_bias": get_args(RecurrentBias),
}
_ASSUMED = {
    "reset": ("hard", "NIR's own equations: v is set to v_reset"),
    "comparison": (">", "NIR's own equations: a spike where v > v_threshold"),
    "recurrent_bias": (
        "from-start",
        "NIR's Affine adds its bias in every step, the first included (as snnTorch does; norse starts one step later)",
    ),
}


@dataclass(frozen=True)
class Conventions:
    """How a NIR graph is to be understood.

    Args:
        dt: length of a step in seconds.
        reset: hard (to ``v_reset``), subtract (the threshold) or none.
        comparison: whether a membrane that equals the threshold spikes.
        recurrent_bias: whether the bias of a layer that is only fed by last step's spikes acts in step 0.
        notes: for each convention, its value and whose choice it was.
        given: names of those that were given as options: they also override the metadata of single nodes.
    """

    dt: float
    reset: Reset = "hard"
    comparison: Comparison = ">"
    recurrent_bias: RecurrentBias = "from-start"
    notes: Mapping[str, str] = field(default_factory=dict)
    given: frozenset[str] = frozenset()


def rules_of(name: str, node: Any, conventions: Conventions) -> NeuronRules:
    """The rules of the neuron node ``name``: options first, then its metadata, then the graph's conventions.

    Raises:
        InvalidInputError: a key or value that is unknown or does not go with another; names the node.
    """
    overridden = {key for option in conventions.given for key in OVERRIDDEN.get(option, ())}
    own = {key: value for key, value in section_of(node).items() if key not in overridden}
    graph = {"reset": conventions.reset, "comparison": conventions.comparison}
    return NeuronRules.from_metadata({**graph, **own}, name, kind(node))


def _is_choice(key: str, value: object) -> bool:
    return isinstance(value, str) and value in _CHOICES[key]


def resolve(file: NirFile, **options: Any) -> Conventions:
    """Settle the conventions for a file.

    Args:
        file: the graph and its metadata.
        options: ``dt``, ``reset``, ``comparison``, ``recurrent_bias`` as the user gave them; None means not given.

    Raises:
        InvalidInputError: an unknown value, or no time step anywhere.
    """
    values: dict[str, Any] = {}
    notes: dict[str, str] = {}
    loops = bool(delayed_edges(file.graph))
    for name, (assumed, why) in _ASSUMED.items():
        value, origin = _choose(file, name, options.get(name))
        if origin is None:
            value, origin = assumed, f"assumed, since the file does not say: {why}"
        if not _is_choice(name, value):
            raise InvalidInputError(f"unknown {name}", found=value, allowed=", ".join(_CHOICES[name]))
        values[name] = value
        if name != "recurrent_bias" or loops:
            notes[name] = f"{value} ({origin})"
    dt, origin = _choose(file, "dt", options.get("dt"))
    if origin is None:
        if of_kind(file.graph, "LIF", "LI", "CubaLIF", "CubaLI", "IF", "I", "Delay"):
            raise InvalidInputError(
                f"{file.path} does not say the length of its time step",
                allowed="seconds, for example 1e-4 for snnTorch's exporter, 1e-3 for norse, 1 for sinabs",
                hint="give it with --dt",
            )
        dt, origin = 1.0, "assumed, since no node depends on it"
    if not isinstance(dt, (int, float)) or not 0 < dt < float("inf"):
        raise InvalidInputError("the time step must be a positive number of seconds", found=dt)
    notes["dt"] = f"{dt:g} s ({origin})"
    given = frozenset(name for name, value in options.items() if value is not None)
    return Conventions(dt=float(dt), notes=notes, given=given, **values)


def _choose(file: NirFile, name: str, option: Any) -> tuple[Any, str | None]:
    if option is not None:
        return option, "given as an option"
    if name in file.metadata:
        return file.metadata[name], "from the file's metadata"
    return None, None
