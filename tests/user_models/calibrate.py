"""Gains with which every layer of a program spikes, as training would find them."""

from __future__ import annotations

import contextlib
import types
from typing import Any

import torch

from .plan import Plan
from .write import GAINS

LOW, HIGH, ROUNDS = 0.06, 0.6, 20
"""Mean activity that is left as it is; how often gains are changed at most."""


def loaded(source: str, name: str = "program") -> Any:
    """The program's module."""
    module = types.ModuleType(name)
    exec(compile(source, f"<{name}>", "exec"), module.__dict__)
    return module


def _with(plan: Plan, template: str, gains: dict[str, float]) -> str:
    lines = []
    for attr, gain in gains.items():
        path = attr if attr.startswith("net") else f"net.{attr}"
        weight = path if path.endswith("weights") else f"{path}.weight"
        lines.append(f"        {weight}.mul_({gain:.3g})")
    return template.replace(f"    {GAINS}", "\n".join(lines) or "        pass")


def activities(plan: Plan, source: str) -> list[float]:
    """Mean activity of each layer, in the user's own run."""
    module = loaded(source)
    net = module.model()
    sums = [[0.0, 0] for _ in plan.layers]

    def hook(number: int) -> Any:
        def keep(_module: Any, _args: Any, out: Any) -> None:
            out = out[0] if isinstance(out, tuple) else out
            if isinstance(out, torch.Tensor):
                sums[number][0] += float((out != 0).double().mean())
                sums[number][1] += 1

        return keep

    for number, layer in enumerate(plan.layers):
        attr = layer.neuron.attr.removeprefix("net.net").removeprefix("net")
        path = attr.replace("[", ".").replace("]", "").strip(".")
        if plan.form == "inside":
            path = f"net.{path}"
        net.get_submodule(path).register_forward_hook(hook(number))
    with torch.no_grad():
        module.answer(net, module.sample())
    return [total / max(count, 1) for total, count in sums]


def calibrated(plan: Plan, template: str) -> str:
    """The source with gains in it."""
    gains = dict(plan.gains)
    order = [list(plan.gains)]  # those of a layer are changed together
    order = _by_layer(plan, gains)
    source = _with(plan, template, gains)
    if plan.random:
        return source
    for _ in range(ROUNDS):
        with contextlib.suppress(ZeroDivisionError):
            rates = activities(plan, source)
        changed = False
        for number, rate in enumerate(rates):
            if not plan.layers[number].neuron.spiking or LOW <= rate <= HIGH or not order[number]:
                continue
            for attr in order[number]:
                gains[attr] *= 1.6 if rate < LOW else 0.7
            changed = True
            break
        if not changed:
            break
        source = _with(plan, template, gains)
    return source


def _by_layer(plan: Plan, gains: dict[str, float]) -> list[list[str]]:
    """The gains that act on each layer of neurons."""
    found = []
    for layer in plan.layers:
        attrs = [part.attr for part in layer.parts if part.attr] + [layer.neuron.attr]
        mine = [g for g in gains if any(g == a or g.startswith((f"{a}.", f"{a}[")) for a in attrs)]
        found.append(mine[-1:])
    return found
