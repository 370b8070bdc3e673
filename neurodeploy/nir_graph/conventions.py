"""What NIR does not say and every tool decides for itself: time step, reset, threshold equality, recurrent bias.

Each comes from the option given, else from the file's own metadata (written by our exporters), else from a stated
assumption; all three are visible in `Conventions.notes`, so that no report rests on a silent guess. The time step is
never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array
from neurodeploy.network.neurons import Comparison, Reset, ResetTime

from .nir_file import NAMESPACE, NirFile, plain
from .shapes import delayed_edges, kind, of_kind

RecurrentBias = Literal["from-start", "after-delay"]

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "reset": get_args(Reset),
    "comparison": get_args(Comparison),
    "recurrent_bias": get_args(RecurrentBias),
    "reset_time": get_args(ResetTime),
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


@dataclass(frozen=True, eq=False)
class NeuronRules:
    """What the metadata of one neuron node say beyond NIR; see `neurodeploy.network.neurons` for the meaning.

    In a file they stand in the node's metadata under ``neurodeploy``: ``reset``, ``reset_time``, ``comparison``,
    ``max_spikes``, ``v_floor`` and ``v_initial``, each only where it differs from the graph's or NIR's own; and for a
    refractory time ``refractory`` (steps), for an adaptive threshold ``threshold_decay`` (per step) and
    ``threshold_jump``. Those three and ``v_initial`` are one number or one for each neuron. ``reset_current`` true says
    that a spike also sets the synaptic current to 0.
    """

    reset: Reset
    reset_time: ResetTime
    comparison: Comparison
    max_spikes: int
    floor: float | None
    initial: Array
    refractory: Array | None = None
    threshold_decay: Array | None = None
    threshold_jump: Array | None = None
    reset_current: bool = False


_ARRAYS = ("v_initial", "refractory", "threshold_decay", "threshold_jump")


def rules_of(name: str, node: Any, conventions: Conventions) -> NeuronRules:
    """The rules of the neuron node ``name``: options first, then its metadata, then the graph's conventions.

    Raises:
        InvalidInputError: a value that is unknown or does not go with another; names the node.
    """
    section = (getattr(node, "metadata", None) or {}).get(NAMESPACE)
    section = section if isinstance(section, Mapping) else {}
    values = {key: plain(value) for key, value in section.items() if key not in _ARRAYS}

    def choose(key: str, otherwise: Any) -> Any:
        return otherwise if key in conventions.given else values.get(key, otherwise)

    initial = _several(name, section, "v_initial", -np.inf, np.inf)
    rules = NeuronRules(
        reset=choose("reset", conventions.reset),
        reset_time="now" if "reset" in conventions.given else values.get("reset_time", "now"),
        comparison=choose("comparison", conventions.comparison),
        max_spikes=values.get("max_spikes", 1),
        floor=values.get("v_floor"),
        initial=np.zeros(()) if initial is None else initial,
        refractory=_several(name, section, "refractory", 0, 2**31 - 1),
        threshold_decay=_several(name, section, "threshold_decay", 0, 1),
        threshold_jump=_several(name, section, "threshold_jump", -np.inf, np.inf),
        reset_current=False if "reset" in conventions.given else values.get("reset_current", False),
    )
    for key in ("reset", "reset_time", "comparison"):
        if not _is_choice(key, getattr(rules, key)):
            raise InvalidInputError(
                f"node {name!r}: unknown {key} in its metadata",
                found=getattr(rules, key),
                allowed=", ".join(_CHOICES[key]),
            )
    if not isinstance(rules.floor, (int, float, type(None))):
        raise InvalidInputError(
            f"node {name!r}: v_floor cannot be used", found=str(rules.floor)[:80], allowed="one number"
        )
    pairs = {"next": ("hard", "subtract"), "gate": ("hard",), "once": ("subtract",)}
    if rules.reset_time != "now" and rules.reset not in pairs[rules.reset_time]:
        raise InvalidInputError(
            f"node {name!r}: reset_time {rules.reset_time!r} does not go with its reset",
            found=rules.reset,
            allowed=" or ".join(pairs[rules.reset_time]),
        )
    slow = [key for key in _ARRAYS[1:] if getattr(rules, key) is not None]
    if ("threshold_decay" in slow) != ("threshold_jump" in slow):
        raise InvalidInputError(
            f"node {name!r}: an adaptive threshold needs threshold_decay and threshold_jump", found=", ".join(slow)
        )
    if slow and rules.reset_time != "now":
        raise InvalidInputError(
            f"node {name!r}: {slow[0]} does not go with its reset_time", found=rules.reset_time, allowed="now"
        )
    several = isinstance(rules.max_spikes, int) and rules.max_spikes > 1
    if not isinstance(rules.max_spikes, int) or rules.max_spikes < 1 or (several and rules.reset_time != "now"):
        raise InvalidInputError(
            f"node {name!r}: max_spikes cannot be used",
            found=f"{rules.max_spikes!r} with reset_time {rules.reset_time!r}",
            allowed="a whole number from 1 on, above 1 only with reset_time 'now'",
        )
    if not isinstance(rules.reset_current, bool):
        raise InvalidInputError(
            f"node {name!r}: reset_current cannot be used",
            found=str(rules.reset_current)[:80],
            allowed="true or false",
        )
    found = kind(node), rules.reset, rules.reset_time
    if rules.reset_current and found != ("CubaLIF", "hard", "now"):
        raise InvalidInputError(
            f"node {name!r}: reset_current does not go with its model or reset",
            found="{}, reset {!r}, reset_time {!r}".format(*found),
            allowed="CubaLIF with reset 'hard' and reset_time 'now'",
        )
    return rules


def _is_choice(key: str, value: object) -> bool:
    return isinstance(value, str) and value in _CHOICES[key]


def _several(name: str, section: Mapping[str, Any], key: str, least: float, most: float) -> Array | None:
    """A number, or one for each neuron, from the metadata of a node."""
    if key not in section:
        return None
    try:
        array = np.asarray(section[key], dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if not (np.isfinite(array) & (array >= least) & (array <= most)).all():
        raise InvalidInputError(
            f"node {name!r}: {key} cannot be used", found=str(section[key])[:80], allowed=f"{least:g} to {most:g}"
        )
    return array


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
