"""Neurons of a user's own, in plain torch: three methods on the module say what it is.

    def neurodeploy_neuron(self, shape, dt) -> Neuron     the layer as NIR says it, each parameter of the layer's shape
    def neurodeploy_potential(self) -> Tensor             membrane potential after the last step, [batch, *shape]
    def neurodeploy_reset(self) -> None                   forget the state: the next step is the first

``forward(input) -> spikes`` computes one step of ``[batch, *shape]`` and keeps its state in attributes. A layer that
cannot be exported raises `UnsupportedError` from ``neurodeploy_neuron``. Nothing else is assumed: whether the
declaration is true is proven on every export, where torch runs beside the file and every neuron of every step is
compared. For classes that cannot be edited the methods may be set from outside
(``TheirNeuron.neurodeploy_neuron = ...``); a whole framework is an entry point (docs: how to add a framework).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from neurodeploy.errors import UnsupportedError

from .framework import Framework, Neuron, Note, Stub
from .looking import looked_on
from .sequence.site import Site

NAME = "torch"
"""Of plain torch, as a framework among others."""

_METHODS = ("neurodeploy_neuron", "neurodeploy_potential", "neurodeploy_reset")


def declares(module: nn.Module) -> bool:
    """Whether the module is a neuron layer by this protocol."""
    return callable(getattr(module, _METHODS[0], None))


def _refusal(module: nn.Module) -> str | None:
    missing = [name for name in _METHODS if not callable(getattr(module, name, None))]
    return f"it declares {_METHODS[0]} but lacks {' and '.join(missing)}" if missing else None


def _neuron(module: Any, path: str, shape: tuple[int, ...], dt: float) -> Neuron:
    made = module.neurodeploy_neuron(shape, dt)
    if not isinstance(made, Neuron):
        raise UnsupportedError(
            f"neurodeploy_neuron of module {path!r} gives something else than a Neuron",
            found=type(made).__name__,
            allowed="neurodeploy.exporters.framework.Neuron",
        )
    return made


def _widen(module: nn.Module) -> None:
    for name, value in list(vars(module).items()):
        if isinstance(value, Tensor) and value.is_floating_point():
            setattr(module, name, value.detach().double())


def _observe(module: Any, note: Note) -> None:
    def look(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        spikes = forward(*args, **kwargs)
        note(spikes, module.neurodeploy_potential())
        return spikes

    looked_on(module, look)


def _fresh(module: nn.Module) -> None:
    for part in module.modules():
        if declares(part):
            part.neurodeploy_reset()  # type: ignore[operator]


def _opaque(module: Any, site: Site) -> None:
    module.forward = lambda x, *_given, **_named: site(x)
    module.neurodeploy_potential = lambda: site.state(site.last, "v") if site.last is not None else None
    module.neurodeploy_reset = site.reset


FRAMEWORK = Framework(
    NAME,
    ">",
    declares,
    _refusal,
    lambda _module: None,
    _neuron,
    Stub,
    _widen,
    _observe,
    default_dt=1e-3,
    keeps_state=lambda _module: True,
    opaque=_opaque,
    fresh=_fresh,
)
