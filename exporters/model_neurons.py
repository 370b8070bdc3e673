"""The neurons of `neurodeploy.models.neurons` as NIR nodes.

Lif         LIF: tau dt, r = 1; r = tau where the input is not divided; hard reset to 0
Threshold   Threshold
Membrane    LI with tau = dt, whose potential is its input
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import nir
import numpy as np
from torch import nn

from neurodeploy.models.neurons import Lif, Membrane, Threshold
from neurodeploy.models.neurons import Neuron as Model
from neurodeploy.network.arrays import Array

from .framework import Framework, Neuron, Note, Stub
from .looking import looked_on
from .sequence.site import STEP, Site


def _lif(module: Lif, dt: float, one: Array) -> Neuron:
    r = one if module.decay_input else module.tau * one
    node = nir.LIF(module.tau * dt * one, r, 0 * one, module.threshold * one, 0 * one)
    return Neuron(node, "hard", 0 * one, comparison=">" if module.strict else ">=")


def _threshold(module: Threshold, dt: float, one: Array) -> Neuron:
    del dt
    return Neuron(nir.Threshold(module.threshold * one), "none", comparison=">")


def _membrane(module: Membrane, dt: float, one: Array) -> Neuron:
    del module
    return Neuron(nir.LI(dt * one, one, 0 * one), None)


_NODES: Mapping[type, Callable[[Any, float, Array], Neuron]] = {
    Lif: _lif, Threshold: _threshold, Membrane: _membrane,
}  # fmt: skip


def _claims(module: nn.Module) -> bool:
    return isinstance(module, Model)


def _refusal(module: Any) -> str | None:
    if type(module) not in _NODES:
        return f"{type(module).__name__} is no neuron of neurodeploy.models.neurons itself"
    return "it goes on from the call before" if getattr(module, "keeps", False) else None


def _neuron(module: Any, path: str, shape: tuple[int, ...], dt: float) -> Neuron:
    del path
    return _NODES[type(module)](module, dt, np.ones(shape))


def _observe(module: Any, note: Note) -> None:
    def look(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        x = args[0].detach().clone()
        sent = forward(*args, **kwargs)
        note(sent, lambda: module.potentials(x), 0 if module.timed else None)
        return sent

    looked_on(module, look)


def _fresh(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, Model):
            part.reset()


def _opaque(module: Any, site: Site) -> None:
    module.forward = lambda x: site(x, (), 0 if module.timed else STEP)
    module.reset = site.reset


FRAMEWORK = Framework(
    "neurodeploy",
    ">=",
    _claims,
    _refusal,
    lambda _module: None,
    _neuron,
    Stub,
    lambda _module: None,
    _observe,
    default_dt=1e-3,
    opaque=_opaque,
    fresh=_fresh,
)
