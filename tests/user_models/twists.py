"""What is asked of a plan before it is twisted, and the two kinds of twists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from .plan import Layer, Plan

Twist = Callable[[Plan], bool]
"""Changes a plan; False where it does not fit."""


def listed(where: dict[str, Twist], name: str) -> Callable[[Twist], Twist]:
    """Enter a twist in a table."""

    def keep(twist: Twist) -> Twist:
        where[name] = twist
        return twist

    return keep


def stepped(plan: Plan) -> bool:
    """Whether the code of a step is written out."""
    return plan.form in ("loop", "method") and plan.mode == "step"


def written(plan: Plan) -> bool:
    """Whether forward is written out, for a step or for a sequence."""
    return plan.form in ("loop", "method", "layers")


def spiking(plan: Plan) -> list[Layer]:
    return [layer for layer in plan.layers if layer.neuron.spiking]


def by_hand(plan: Plan) -> list[Layer]:
    """Layers whose states are handed in."""
    return [layer for layer in plan.layers if layer.neuron.states and stepped(plan)]


def membrane(plan: Plan, layer: Layer) -> str:
    states = plan.states(layer)
    return layer.neuron.membrane.format(n=f"self.{layer.neuron.attr}", s=states[-1] if states else "")


def pairs(plan: Plan) -> list[tuple[Layer, Layer]]:
    """Layers of the same shape."""
    found = spiking(plan)
    return [(a, b) for a in found for b in found if a.number < b.number and a.neuron.shape == b.neuron.shape]


def share_neuron(plan: Plan, first: Layer, second: Layer) -> None:
    """Make the second layer's neurons the first one's module."""
    old, last = membrane(plan, second), plan.layers[-1]
    second.neuron = replace(first.neuron, shape=second.neuron.shape, shared=True)
    plan.kinds.add(f"neuron {second.neuron.kind}")
    for trace in plan.traces:
        if trace.what == "membrane" and second is last and trace.value == old:
            trace.value = membrane(plan, second)
