"""SpikingJelly (2.0.0): its neurons as NIR nodes.

What a node computes in a step with input ``X`` (``functional/neuron.py``, read and checked numerically), before a spike
resets it, with ``v_r = v_reset``, or 0 where that is None:

    IFNode                       v <- v + X                           IF: r = 1 / dt
    LIFNode, ParametricLIFNode   v <- v + (X - (v - v_r)) / tau       LIF: tau dt, r = 1, v_leak = v_r
      decay_input=False          v <- v - (v - v_r) / tau + X         LIF: tau dt, r = tau, v_leak = v_r
    OTTTLIFNode, SLTTLIFNode     LIFNode, where it does not train
    HalfThresholdIFNode          IFNode whose membrane starts at v_threshold / 2
    CUBALIFNode                  c <- c_decay c + X ; v <- v_decay v + c
                                                                      CubaLIF: w_in = tau_syn / dt, r = tau_mem / dt
    NonSpikingLIFNode and the like decode a whole sequence            refused

ParametricLIFNode learns ``1 / tau = sigmoid(w)``. A spike is ``v >= v_threshold``; then ``v <- v_reset``, or
``v <- v - v_threshold`` where v_reset is None. The membrane starts at v_reset (0 where None, and in the Simple nodes).
There is no length of a step: ``dt`` only gives the numbers their unit.

Step modes ``s`` and ``m`` compute the same; the exported network is one step. LinearRecurrentContainer is a linear
layer in front and one from the neuron back to itself; ElementWiseRecurrentContainer with a sum returns the spikes to
its input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import torch
from spikingjelly.activation_based import base, functional, layer, neuron
from torch import Tensor, nn

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array
from neurodeploy.network.neurons import Reset

from .framework import Framework, Neuron, Note, full
from .looking import looked_on, twin_of
from .sequence.site import STEP, Site
from .spikingjelly_refusals import LAYERS, reason
from .torch_step.steps import divisor, inverse, leaky
from .usage import TimeAxis

_KNOWN = (
    neuron.IFNode,
    neuron.LIFNode,
    neuron.ParametricLIFNode,
    neuron.CUBALIFNode,
    neuron.SimpleIFNode,
    neuron.SimpleLIFNode,
    neuron.OTTTLIFNode,
    neuron.SLTTLIFNode,
    neuron.HalfThresholdIFNode,
)

_RECURRENT = (layer.LinearRecurrentContainer, layer.ElementWiseRecurrentContainer)

_SEQUENCES = (layer.SeqToANNContainer, layer.MultiStepContainer)
"""Containers that only take whole sequences: their children in a row do the same in one step."""

_STEP = (
    "forward", "single_step_forward", "multi_step_forward", "single_step_functional_forward",
    "multi_step_functional_forward", "neuronal_charge", "neuronal_fire", "neuronal_reset",
)  # fmt: skip
"""Methods that decide what a node computes."""


def _kind(module: nn.Module) -> Any:
    """The first class of SpikingJelly that the module's class is or inherits."""
    return next((kind for kind in type(module).__mro__ if kind.__module__.partition(".")[0] == "spikingjelly"), None)


def _claims(module: nn.Module) -> bool:
    kind = _kind(module)
    return kind is not None and (kind in _RECURRENT or ".neuron" in kind.__module__ or kind.__name__ in LAYERS)


def _refusal(module: Any) -> str | None:
    kind = _kind(module)
    if kind in _RECURRENT:
        return _recurrence_refused(module, kind)
    if kind not in _KNOWN:
        return reason(kind.__name__)
    for method in _STEP:
        if getattr(type(module), method, None) is not getattr(kind, method, None):
            return f"it overrides {method} of {kind.__name__}, so what it computes is not known"
    if getattr(module, "v_reset", 0.0) is None and math.isinf(float(module.v_threshold)):
        return (
            "v_reset=None takes 0 times its infinite v_threshold from every potential, which is not a number in "
            "SpikingJelly itself; for a read-out use v_reset=0.0"
        )
    probe = torch.tensor([-2.0, -1.0, -1e-3, 0.0, 1e-3, 1.0, 2.0])
    try:
        same = torch.equal(module.surrogate_function(probe).detach(), (probe >= 0).float())
    except Exception as error:  # user code: anything may come
        return f"its surrogate_function fails: {type(error).__name__}"
    return None if same else "its surrogate_function does not spike exactly where v >= v_threshold (spiking=False?)"


def _recurrence_refused(module: Any, kind: Any) -> str | None:
    inner = _inside(module.sub_module)[0]
    if inner is None:
        return f"the module inside its {kind.__name__} is not one neuron layer, or linear layers and a neuron layer"
    if (reason := _refusal(inner)) is not None:
        return f"the neuron inside its {kind.__name__}: {reason}"
    if kind is layer.ElementWiseRecurrentContainer:
        a, b = torch.tensor([0.25, -1.0, 3.0]), torch.tensor([2.0, 0.5, -0.75])
        try:
            added = torch.equal(module.element_wise_function(a, b), a + b)
        except Exception as error:  # user code: anything may come
            return f"its element_wise_function fails: {type(error).__name__}"
        if not added:
            return "its element_wise_function is not a sum, which NIR cannot say"
    return None


def _inside(module: nn.Module) -> tuple[Any, list[nn.Linear]]:
    """The neuron of a container's module, and the linear layers in front of it; None where it is anything else."""
    parts = list(module.children()) if isinstance(module, nn.Sequential) else [module]
    *front, last = parts
    if not _claims(last) or not all(isinstance(part, nn.Linear) for part in front):
        return None, []
    return last, [part for part in front if isinstance(part, nn.Linear)]


def _neuron(module: Any, path: str, shape: tuple[int, ...], dt: float) -> Neuron:
    if _kind(module) in _RECURRENT:
        inner, _ = _inside(module.sub_module)
        made = _node(inner, path, shape, dt)
        return Neuron(made.node, made.reset, made.initial, recurrent=_back(module, shape))
    return _node(module, path, shape, dt)


def _node(module: Any, path: str, shape: tuple[int, ...], dt: float) -> Neuron:
    def value(number: object, name: str) -> Array:
        return full(number, shape, f"parameter {name} of module {path!r}", endless=name == "v_threshold")

    reset: Reset = "subtract" if module.v_reset is None else "hard"
    threshold, v_reset = value(module.v_threshold, "v_threshold"), value(module.v_reset or 0.0, "v_reset")
    if reset == "hard" and (threshold <= v_reset).any():
        raise InvalidInputError(
            f"parameter v_threshold of module {path!r} is not above v_reset",
            found=float((threshold - v_reset).min()),
            allowed="a threshold above the reset potential",
        )
    kind = _kind(module)
    if kind in (neuron.IFNode, neuron.SimpleIFNode, neuron.HalfThresholdIFNode):
        node: nir.NIRNode = nir.IF(r=inverse(np.full(shape, dt)), v_threshold=threshold, v_reset=v_reset)
    elif kind is neuron.CUBALIFNode:
        tau_syn, w_in = leaky(_fraction(1 - value(module.c_decay, "c_decay"), "c_decay", path), dt)
        tau_mem, r = leaky(_fraction(1 - value(module.v_decay, "v_decay"), "v_decay", path), dt)
        node = nir.CubaLIF(
            tau_syn=tau_syn, tau_mem=tau_mem, r=r, v_leak=np.zeros(shape), v_threshold=threshold, v_reset=v_reset,
            w_in=w_in,
        )  # fmt: skip
    else:
        if kind is neuron.ParametricLIFNode:
            leak = 1 / (1 + np.exp(-value(module.w, "w")))
        else:
            leak = _fraction(1 / value(module.tau, "tau"), "tau", path)
        tau = divisor(dt, leak)
        r = np.ones(shape) if module.decay_input else inverse(dt / tau)
        node = nir.LIF(tau, r, v_reset, threshold, v_reset)
    if kind is neuron.HalfThresholdIFNode:
        return Neuron(node, reset, value(module._memories_rv["v"], "v"))
    simple = kind in (neuron.SimpleIFNode, neuron.SimpleLIFNode)
    return Neuron(node, reset, np.zeros(shape) if simple else v_reset)


def _fraction(leak: Array, name: str, path: str) -> Array:
    if not ((leak >= 0) & (leak <= 1)).all():
        raise InvalidInputError(
            f"parameter {name} of module {path!r} gives no leak between 0 and 1 a step",
            found=float(leak.min() if (leak < 0).any() else leak.max()),
            allowed="tau of 1 or more; decays from 0 to 1",
        )
    return leak


def _back(module: Any, shape: tuple[int, ...]) -> nir.NIRNode:
    """From the neuron of a container to its input of the next step, through the linear layers inside."""
    linears = _inside(module.sub_module)[1]
    if isinstance(module, layer.LinearRecurrentContainer):
        weight = _double(module.rc)[:, module.rc.in_features - module.sub_module_out_features :]
    elif linears:
        weight = np.eye(linears[0].in_features)
    else:
        return nir.Scale(np.ones(shape))
    for linear in linears:
        weight = _double(linear) @ weight
    return nir.Linear(weight)


def _double(linear: nn.Linear) -> Array:
    weight: Array = linear.weight.detach().cpu().double().numpy()
    return weight


class _Stub(nn.Module):
    def __init__(self, operator: Callable[[Tensor], Tensor], front: nn.Module | None = None) -> None:
        super().__init__()
        self.operator, self.front = operator, front or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.operator(self.front(x))


def _stub_for(module: Any, operator: Callable[[Tensor], Tensor]) -> nn.Module:
    if _kind(module) not in _RECURRENT:
        return _Stub(operator)
    front: list[nn.Module] = list(_inside(module.sub_module)[1])
    if isinstance(module, layer.LinearRecurrentContainer):
        inputs = module.rc.in_features - module.sub_module_out_features
        first = nn.Linear(inputs, module.rc.out_features, module.rc.bias is not None)
        first.weight = nn.Parameter(module.rc.weight.detach()[:, :inputs].clone())
        first.bias = module.rc.bias
        front.insert(0, first)
    return _Stub(operator, nn.Sequential(*front))


def _prepare(module: nn.Module) -> None:
    for path, part in list(module.named_modules()):
        if isinstance(part, _SEQUENCES) and path:
            module.set_submodule(path, nn.Sequential(*part.children()))
    functional.set_step_mode(module, "s")
    functional.reset_net(module)


def _widen(_module: nn.Module) -> None:
    """Nothing: its parameters are numbers, and torch's own."""


def _observe(module: Any, note: Note) -> None:
    def look(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if module.step_mode == "s":
            spikes = forward(*args, **kwargs)
            note(spikes, _firing(module).v)
            return spikes
        twin, x = twin_of(module), args[0].detach().clone()
        spikes = forward(*args, **kwargs)
        last, sent = _firing(module).v.clone(), spikes.detach().clone()
        note(sent, lambda: _potentials(twin, x, sent, last), 0)
        return spikes

    looked_on(module, look)


def _firing(module: Any) -> Any:
    """The neuron layer, also of a container around it."""
    return _inside(module.sub_module)[0] if _kind(module) in _RECURRENT else module


def _potentials(twin: Any, x: Tensor, sent: Tensor, last: Tensor) -> Tensor | None:
    """Of each step of a sequence, by a twin in the state before it that keeps them and sends the same."""
    firing = _firing(twin)
    if not hasattr(firing, "store_v_seq"):  # the simple nodes keep the last one alone
        return _potentials_one_by_one(twin, x, sent)
    firing.store_v_seq = True
    spikes = twin(x)
    same = torch.equal(spikes, sent) and torch.equal(firing.v_seq[-1], last)
    return firing.v_seq[-len(x) :] if same else None


def _potentials_one_by_one(twin: Any, x: Tensor, sent: Tensor) -> Tensor | None:
    functional.set_step_mode(twin, "s")
    spikes, potentials = zip(*((twin(step), _firing(twin).v.clone()) for step in x), strict=True)
    return torch.stack(potentials) if torch.equal(torch.stack(spikes), sent) else None


def _fresh(module: nn.Module) -> None:
    """What ``functional.reset_net`` does to what is inside a module; its own ``reset`` is called for all frameworks."""
    for part in module.modules():
        if part is not module or isinstance(part, base.MemoryModule):
            reset = getattr(part, "reset", None)
            if callable(reset):
                reset()


def _time_axis(module: nn.Module) -> TimeAxis:
    whole = any(isinstance(part, _SEQUENCES) or getattr(part, "step_mode", "s") == "m" for part in module.modules())
    return 0 if whole else "step"


def _opaque(module: Any, site: Site) -> None:
    stub = _stub_for(module, lambda x: site(x, (), 0 if module.step_mode == "m" else STEP))
    inner = _inside(module.sub_module)[0] if _kind(module) in _RECURRENT else module
    if inner is not module:
        module.front = stub.front  # its operators are those of a module at this path

    def forward(x: Tensor, *_given: Any, **_named: Any) -> Tensor:
        sent: Tensor = stub(x)
        v = site.state(sent, "v")
        inner.v = v[-1] if module.step_mode == "m" else v
        if getattr(inner, "store_v_seq", False):
            inner.v_seq = v
        return sent

    module.forward, module.reset = forward, site.reset


FRAMEWORK = Framework(
    "spikingjelly",
    ">=",
    _claims,
    _refusal,
    lambda _module: None,
    _neuron,
    _Stub,
    _widen,
    _observe,
    stub_for=_stub_for,
    default_dt=1e-3,
    prepare=_prepare,
    keeps_state=lambda _module: True,
    opaque=_opaque,
    fresh=_fresh,
    time_axis=_time_axis,
)
