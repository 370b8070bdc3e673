"""The neurons of `neurodeploy.models.neurons` as NIR nodes.

Lif         LIF: tau dt, r = 1; r = tau where the input is not divided; hard reset to 0
Threshold   Threshold
Membrane    LI with tau = dt, whose potential is its input
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
from torch import nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.models.neurons import Lif, Membrane, Threshold
from neurodeploy.models.neurons import Neuron as Model

from .framework import Framework, Neuron, Note, Stub
from .looking import looked_on
from .sequence.site import STEP, Site


def _claims(module: nn.Module) -> bool:
    return isinstance(module, Model)


def _refusal(module: Any) -> str | None:
    if type(module) not in (Lif, Threshold, Membrane):
        return f"{type(module).__name__} is no neuron of neurodeploy.models.neurons itself"
    return "it goes on from the call before" if isinstance(module, Lif) and module.keeps else None


def _neuron(module: Any, path: str, shape: tuple[int, ...], dt: float) -> Neuron:
    zero, one = np.zeros(shape), np.ones(shape)
    if isinstance(module, Lif):
        r = one if module.decay_input else module.tau * one
        node = nir.LIF(module.tau * dt * one, r, zero, module.threshold * one, zero)
        return Neuron(node, "hard", zero, comparison=">" if module.strict else ">=")
    if isinstance(module, Threshold):
        return Neuron(nir.Threshold(module.threshold * one), "none", comparison=">")
    if isinstance(module, Membrane):
        return Neuron(nir.LI(dt * one, one, zero), None)
    raise UnsupportedError(f"the neuron of module {path!r} is unknown", found=type(module).__name__)


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
