"""What a `.nir` file says beyond NIR: our section of the metadata, and the rules of a neuron in it.

Graph and nodes carry it under ``neurodeploy``, so that other tools can ignore it. A node's section holds ``module``
(the path of its torch module) and, for a neuron, its `NeuronRules`: each only where it differs from what the graph says
or from NIR's own. One table, `KEYS`, says how each rule is written, read and checked; a new rule is a field and a line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.files.hdf5 import plain
from neurodeploy.network.arrays import Array
from neurodeploy.network.neurons import UNLIMITED, Comparison, Reset, ResetTime

NAMESPACE = "neurodeploy"
"""Key of our metadata in a graph and in a node."""

OVERRIDDEN: Mapping[str, tuple[str, ...]] = {
    "reset": ("reset", "reset_time", "reset_current"),
    "reset_time": ("reset_time",),
    "comparison": ("comparison",),
    "max_spikes": ("max_spikes",),
    "v_floor": ("v_floor",),
    "initial": ("v_initial",),
}
"""Option of the user -> the keys of a node that it puts out of force."""

RESETS: Mapping[ResetTime, tuple[Reset, ...]] = {
    "now": get_args(Reset),
    "next": ("hard", "subtract"),
    "gate": ("hard",),
    "once": ("subtract",),
}
"""The resets that a reset time goes with (`neurodeploy.network.neurons`)."""


def section_of(item: Any) -> Mapping[str, Any]:
    """Our section of the metadata of a graph or a node, empty if it has none."""
    section = (getattr(item, "metadata", None) or {}).get(NAMESPACE)
    return section if isinstance(section, Mapping) else {}


def put(item: Any, entries: Mapping[str, Any]) -> None:
    """Add entries to our section of the metadata of a graph or a node."""
    if entries:
        item.metadata = {**(item.metadata or {}), NAMESPACE: {**section_of(item), **entries}}


def drop(item: Any, key: str) -> None:
    """Take an entry out of our section of the metadata of a graph or a node, if it is there."""
    if key in section_of(item):
        left = {name: value for name, value in section_of(item).items() if name != key}
        item.metadata = {**item.metadata, NAMESPACE: left}


@dataclass(frozen=True, eq=False)
class NeuronRules:
    """What a neuron node says beyond NIR; by default nothing, which is NIR's own neuron in the graph's conventions.

    The equations are those of `neurodeploy.network.neurons`. An `Array` is one number or one for each neuron.

    Args:
        reset: what a spike does to the membrane; None leaves it to the graph.
        initial: membrane potential before the first step (norse, SpikingJelly: ``v_leak`` or ``v_reset``).
        reset_time: when it does so (snnTorch's ``reset_delay``).
        max_spikes: most spikes in one step (sinabs's ``MultiSpike`` and ``MaxSpike``).
        floor: least membrane potential, after the reset (sinabs's ``min_v_mem``); None for no bound.
        comparison: whether a potential equal to the threshold spikes; None leaves it to the graph.
        refractory: steps of silence after a spike (norse's ``LIFRefracCell``); None for none.
        threshold_decay, threshold_jump: what the threshold loses in a step, and gains by a spike (sinabs's ``ALIF``);
            None for a fixed threshold.
        reset_current: whether a spike also sets the synaptic current of a CubaLIF to 0.
    """

    reset: Reset | None = None
    initial: Array | float = 0.0
    reset_time: ResetTime = "now"
    max_spikes: int = 1
    floor: float | None = None
    comparison: Comparison | None = None
    refractory: Array | None = None
    threshold_decay: Array | None = None
    threshold_jump: Array | None = None
    reset_current: bool = False

    def to_metadata(self, reset: Reset | None = None, comparison: Comparison | None = None) -> dict[str, Any]:
        """What a node's section must say: all but the defaults, the ``reset`` and the ``comparison`` of its graph."""
        graph = {"reset": reset, "comparison": comparison}
        said = {}
        for key, how in KEYS.items():
            value = getattr(self, how.field)
            if how.each and value is not None:
                value = _compact(np.asarray(value))
            # What is still an array has different values, and so no default.
            if isinstance(value, np.ndarray) or value not in (None, graph.get(key), getattr(_NOTHING, how.field)):
                said[key] = value
        return said

    @staticmethod
    def from_metadata(section: Mapping[str, Any], name: str, kind: str) -> NeuronRules:
        """The rules that the section of the neuron node ``name``, a NIR ``kind`` such as ``LIF``, says.

        Raises:
            InvalidInputError: an unknown key, a value that cannot be used, or rules that do not go together; names the
                node, what was found and what is allowed.
        """
        unknown = sorted(str(key) for key in section if key not in KEYS and key != "module")
        if unknown:
            raise InvalidInputError(
                f"node {name!r}: unknown key in its metadata",
                found=", ".join(unknown)[:80],
                allowed=", ".join(("module", *KEYS)),
                hint="remove it, or read the file with the neurodeploy that wrote it",
            )
        values = {}
        for key, how in KEYS.items():
            if key in section:
                values[how.field] = value = how.read(section[key] if how.each else plain(section[key]))
                if value is None:
                    raise InvalidInputError(
                        f"node {name!r}: {how.wrong.format(key)}", found=str(section[key])[:80], allowed=how.allowed
                    )
        rules = NeuronRules(**values)
        _check_together(rules, name, kind)
        return rules


_NOTHING = NeuronRules()


@dataclass(frozen=True)
class Key:
    """How a rule stands in a node's section.

    Args:
        field: of `NeuronRules`.
        read: its value from that of the file; None where that cannot be used.
        allowed: values, for messages.
        each: whether there may be one value for each neuron.
        wrong: what messages say of a value that cannot be used.
    """

    field: str
    read: Callable[[Any], Any]
    allowed: str
    each: bool = False
    wrong: str = "{} cannot be used"


def _one_of(field: str, kinds: Any) -> Key:
    allowed = get_args(kinds)
    return Key(
        field,
        lambda value: value if isinstance(value, str) and value in allowed else None,
        ", ".join(allowed),
        wrong="unknown {} in its metadata",
    )


def _numbers(field: str, least: float, most: float, *, whole: bool = False) -> Key:
    """A number, or one for each neuron."""

    def read(value: Any) -> Array | None:
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            return None
        good = np.isfinite(array) & (array >= least) & (array <= most)
        return array if good.all() and not (whole and (array % 1).any()) else None

    return Key(field, read, f"{'whole numbers from ' if whole else ''}{least:g} to {most:g}", each=True)


def _flag(field: str) -> Key:
    return Key(field, lambda value: value if isinstance(value, bool) else None, "true or false")


def _number(value: Any) -> float | None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    return float(value) if good else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 1 else None


_SEVERAL = "a whole number from 1 on, above 1 only with reset_time 'now'"

KEYS: Mapping[str, Key] = {
    "v_initial": _numbers("initial", -np.inf, np.inf),
    "refractory": _numbers("refractory", 0, UNLIMITED, whole=True),
    "threshold_decay": _numbers("threshold_decay", 0, 1),
    "threshold_jump": _numbers("threshold_jump", -np.inf, np.inf),
    "reset": _one_of("reset", Reset),
    "reset_time": _one_of("reset_time", ResetTime),
    "comparison": _one_of("comparison", Comparison),
    "max_spikes": Key("max_spikes", _count, _SEVERAL),
    "v_floor": Key("floor", _number, "one number"),
    "reset_current": _flag("reset_current"),
}
"""The keys of a neuron's rules, in the order in which they are written."""


def _check_together(rules: NeuronRules, name: str, kind: str) -> None:
    """Refuse rules that do not go with each other; a reset that is left to the graph goes with all."""
    time = rules.reset_time
    if rules.reset not in (None, *RESETS[time]):
        raise InvalidInputError(
            f"node {name!r}: reset_time {time!r} does not go with its reset",
            found=rules.reset,
            allowed=" or ".join(RESETS[time]),
        )
    slow = [key for key in ("refractory", "threshold_decay", "threshold_jump") if getattr(rules, key) is not None]
    if ("threshold_decay" in slow) != ("threshold_jump" in slow):
        raise InvalidInputError(
            f"node {name!r}: an adaptive threshold needs threshold_decay and threshold_jump", found=", ".join(slow)
        )
    if slow and time != "now":
        raise InvalidInputError(f"node {name!r}: {slow[0]} does not go with its reset_time", found=time, allowed="now")
    if rules.max_spikes > 1 and time != "now":
        raise InvalidInputError(
            f"node {name!r}: max_spikes cannot be used",
            found=f"{rules.max_spikes} with reset_time {time!r}",
            allowed=_SEVERAL,
        )
    if rules.reset_current and (kind != "CubaLIF" or rules.reset not in (None, "hard") or time != "now"):
        raise InvalidInputError(
            f"node {name!r}: reset_current does not go with its model or reset",
            found=f"{kind}, reset {rules.reset!r}, reset_time {time!r}",
            allowed="CubaLIF with reset 'hard' and reset_time 'now'",
        )


def _compact(values: Array) -> Any:
    """A number where all are equal."""
    return float(values.flat[0]) if (values == values.flat[0]).all() else values
