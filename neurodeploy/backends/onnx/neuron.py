"""The neuron of `neurodeploy.network.neurons` as ONNX functions of the domain ``ai.neurodeploy``.

A model carries the functions that it uses, so any ONNX runtime runs it without a library of ours; a reader who knows
the domain finds the neurons and their parameters back. Each combination of rules is a function of its own, called
after them: ``LifStep_hard_gt``, ``CubaLifStep_subtract_once_ge_floor``, ``CubaLifStep_hard_current_gt``, ``LiStep``.

    (output, u, v) = Step(current, [u], v, [keep_u], keep_v, bias, [threshold], [reset_to], [max_spikes], [floor])

in that order, with only the inputs that the rules need; ``keep`` is 1 - decay, all parameters are ``[neurons]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import FunctionProto, NodeProto, helper

from neurodeploy.network.arrays import Array
from neurodeploy.network.neurons import Lif

DOMAIN = "ai.neurodeploy"
OPSET = 20
IR_VERSION = 9
"""Of ONNX 1.15, the first with opset 20: older than what onnx itself would write, so more readers take it."""


def filtered(neuron: Lif) -> bool:
    """Whether the neuron keeps its current ``u`` from step to step."""
    return not bool((neuron.du == 1).all())


def lacks(neuron: Lif) -> str:
    """What of the neuron no function computes, as in "has a refractory time"; empty where one does."""
    if neuron.slow:
        return "has a refractory time or an adaptive threshold"
    return "also sends negative spikes" if neuron.lower is not None else ""


def function_name(neuron: Lif) -> str:
    """Name of the function that computes one step of the neuron."""
    parts = [("Cuba" if filtered(neuron) else "") + ("LifStep" if neuron.spiking else "LiStep")]
    if neuron.spiking:
        parts.append(neuron.reset)
        parts += [neuron.reset_time] if neuron.reset_time != "now" else []
        parts += ["current"] if neuron.reset_current else []
        parts.append("several" if neuron.max_spikes > 1 else {">": "gt", ">=": "ge"}[neuron.comparison])
    return "_".join(parts + (["floor"] if neuron.floor is not None else []))


def parameters(neuron: Lif, number: np.dtype[Any]) -> dict[str, Array]:
    """The function's parameters by name, in the order of its inputs, in the arithmetic of ``number``."""
    values: dict[str, Array] = {}
    if filtered(neuron):
        values["keep_u"] = 1 - neuron.du.astype(number)
    values |= {"keep_v": 1 - neuron.dv.astype(number), "bias": neuron.bias}
    if neuron.spiking:
        values["threshold"] = neuron.threshold
        if neuron.reset == "hard":
            values["reset_to"] = neuron.reset_to
        if neuron.max_spikes > 1:
            values["max_spikes"] = np.array([neuron.max_spikes])
    if neuron.floor is not None:
        values["floor"] = neuron.floor
    return {name: np.ascontiguousarray(value, dtype=number) for name, value in values.items()}


def function(neuron: Lif) -> FunctionProto:
    """One step of the neuron as an ONNX function; the order of operations is that of the reference."""
    body: list[NodeProto] = []

    def add(operator: str, *inputs: str, to: str) -> str:
        body.append(helper.make_node(operator, list(inputs), [to]))
        return to

    def crossing(v: str, to: str) -> str:
        return add("GreaterOrEqual" if neuron.comparison == ">=" else "Greater", v, "threshold", to=to)

    late = neuron.spiking and neuron.reset_time != "now"
    u = "u_driven" if neuron.reset_current else "u_next"
    if filtered(neuron):
        add("Add", add("Mul", "keep_u", "u", to="u_kept"), "current", to=u)
    else:
        add("Identity", "current", to=u)
    rest = "v"
    if late:
        crossing("v", "crossed")
        add("CastLike", "crossed", "v", to="crossed_before")
        if (neuron.reset, neuron.reset_time) == ("hard", "next"):
            rest = add("Where", "crossed", "reset_to", "v", to="rest")
    v = add("Add", add("Mul", "keep_v", rest, to="v_kept"), u, to="v_driven")
    v = add("Add", v, "bias", to="v_full")
    if late and neuron.reset == "subtract":
        v = add("Sub", v, add("Mul", "crossed_before", "threshold", to="owed"), to="v_late")
    elif late and neuron.reset_time == "gate":
        v = add("Where", "crossed", "reset_to", v, to="v_late")

    if neuron.spiking:
        if neuron.max_spikes > 1:
            times = add("Div", add("Relu", v, to="v_positive"), "threshold", to="times")
            add("Min", add("Floor", times, to="whole_times"), "max_spikes", to="output")
        else:
            add("CastLike", crossing(v, "spikes"), v, to="output")
        if neuron.reset_time == "once":
            taken = add("Sub", "output", "crossed_before", to="still_owed")
            v = add("Sub", v, add("Mul", taken, "threshold", to="taken"), to="v_reset")
        elif neuron.reset_time == "now" and neuron.reset == "hard":
            fired = "spikes"
            if neuron.max_spikes > 1:
                fired = add("Cast", "output", to="fired")
                body[-1].attribute.append(helper.make_attribute("to", 9))  # bool
            v = add("Where", fired, "reset_to", v, to="v_reset")
            if neuron.reset_current:
                body.append(helper.make_node("Constant", [], ["zero_float"], value_float=0.0))
                u = add("Where", fired, add("CastLike", "zero_float", u, to="zero"), u, to="u_next")
        elif neuron.reset_time == "now" and neuron.reset == "subtract":
            v = add("Sub", v, add("Mul", "output", "threshold", to="taken"), to="v_reset")
    add("Max" if neuron.floor is not None else "Identity", v, *(["floor"] * (neuron.floor is not None)), to="v_next")
    if not neuron.spiking:
        add("Identity", "v_next", to="output")

    needed = list(parameters(neuron, np.dtype(np.float64)))
    inputs = ["current", *(["u"] if filtered(neuron) else []), "v", *needed]
    return helper.make_function(
        DOMAIN, function_name(neuron), inputs, ["output", u, "v_next"], body, [helper.make_opsetid("", OPSET)]
    )


def described(neuron: Lif) -> Mapping[str, object]:
    """The neuron's rules for the metadata; its parameters are initialisers."""
    return {
        "function": function_name(neuron),
        "reset": neuron.reset,
        "reset_time": neuron.reset_time,
        "comparison": neuron.comparison,
        "spiking": neuron.spiking,
        "max_spikes": neuron.max_spikes,
        "reset_current": neuron.reset_current,
    }
