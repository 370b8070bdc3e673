"""snnTorch (1.0.0): its neurons as NIR nodes.

What a layer computes in a step with input ``I`` (read in its source) before a spike resets it, with ``beta`` and
``alpha`` clamped to 0 ... 1:

    Leaky       mem <- beta mem + I                                         LIF: tau = dt / (1 - beta), r = tau / dt
    Synaptic    syn <- alpha syn + I ;  mem <- beta mem + syn               CubaLIF: the same, w_in = tau_syn / dt
    Lapicque    mem <- (1 - T / (R C)) mem + T / C I,  T its time_step      LIF: tau = dt R C / T, r = R
    RLeaky, RSynaptic: I + recurrent(spk), spk of the step before           and a node around the neuron
    where every beta is 1                                                   IF: r = 1 / dt

NIR's equations by forward Euler then are snnTorch's: ``dt`` only gives the numbers their unit. A single ``beta = 1``
among others is ``tau = 2^60 dt``, whose leak is lost in the rounding of a float. A spike is ``mem > threshold``,
strictly. What it does to ``mem`` (as `neurodeploy.network.neurons` calls it):

    reset_mechanism   reset_delay=True                                      reset_delay=False
    subtract          subtract, next                                        subtract, once
    zero              hard, next (Leaky); hard, gate (all others)           hard, now
    none              none                                                  none

Lapicque always delays; RSynaptic has no reset_delay=False that works (its source uses names that it has not set).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import nir
import numpy as np
import torch
from snntorch._neurons.neurons import SpikingNeuron
from torch import Tensor, nn

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array
from neurodeploy.network.neurons import Reset, ResetTime

from .framework import Framework, Neuron, Note, full
from .looking import looked_on
from .sequence.site import Site
from .torch_step.capture import potential_of
from .torch_step.layers import conv2d, linear
from .torch_step.steps import divisor, inverse, leaky

_STATES = {
    "Leaky": ("mem",),
    "Lapicque": ("mem",),
    "Synaptic": ("syn", "mem"),
    "RLeaky": ("spk", "mem"),
    "RSynaptic": ("spk", "syn", "mem"),
}
"""Classes that can be exported, and their states in the order in which they are returned."""

_SEQUENCE = "it computes a whole sequence at once; use Leaky and pass one step at a time"

_REASONS = {
    "Alpha": "two synaptic currents (excitatory and inhibitory), which NIR has no node for; use Synaptic",
    "SLSTM": "an LSTM, which NIR has no node for",
    "SConv2dLSTM": "an LSTM, which NIR has no node for",
    "LeakyParallel": _SEQUENCE,
    "LeakyKernel": _SEQUENCE,
    "StateLeaky": _SEQUENCE,
    "LinearLeaky": _SEQUENCE,
    "AssociativeLeaky": _SEQUENCE,
    "SpikingNeuron": "a base class, which says nothing of what its subclass computes",
    "LIF": "a base class, which says nothing of what its subclass computes; use Leaky",
    "DeltaLeaky": "spikes on changes of its membrane potential, which NIR has no node for",
}

_RULES: dict[int, tuple[str, Reset]] = {
    0: ("_base_sub", "subtract"),
    1: ("_base_zero", "hard"),
    2: ("_base_int", "none"),
}
"""Value of reset_mechanism_val -> the method that computes the state, and the rule."""


def _snntorch_class(module: nn.Module) -> Any:
    """The first class of snnTorch that the module's class is or inherits."""
    return next((kind for kind in type(module).__mro__ if kind.__module__.partition(".")[0] == "snntorch"), None)


def _claims(module: nn.Module) -> bool:
    kind = _snntorch_class(module)
    return kind is not None and kind.__module__.startswith("snntorch._neurons.")


def _refusal(module: Any) -> str | None:
    kind = _snntorch_class(module)
    name = kind.__name__
    if name not in _STATES:
        return _REASONS.get(name, f"snnTorch's {name} is not known to the exporter")
    if type(module).forward is not kind.forward:
        return f"it overrides the forward of {name}, so what it computes is not known"
    if module.inhibition:
        return "inhibition=True lets only the strongest neuron of a layer spike, which NIR has no node for"
    if module.state_quant:
        return "state_quant rounds its states, which NIR cannot say; quantise with neurodeploy instead"
    if not bool((torch.as_tensor(module.graded_spikes_factor) == 1).all()):
        return "graded_spikes_factor is not 1; put the factor into the weights behind the layer"
    if _RULES[int(module.reset_mechanism_val)][0] != getattr(module.state_function, "__name__", ""):
        return (
            "its reset_mechanism was changed after it was built, which snnTorch only half follows; "
            "build it with the reset_mechanism that it was trained with"
        )
    if name == "RSynaptic" and not module.reset_delay:
        return "RSynaptic with reset_delay=False, which snnTorch 1.0.0 does not compute; use reset_delay=True"
    if module.reset_mechanism == "subtract" and bool(torch.as_tensor(module.threshold).isinf().any()):
        return (
            "reset_mechanism='subtract' takes 0 times its infinite threshold from every potential, which is not a "
            "number in snnTorch itself; for a read-out use reset_mechanism='none'"
        )
    return _spikes_otherwise(module)


def _spikes_otherwise(module: Any) -> str | None:
    """A reason where the surrogate's forward pass is anything but ``x > 0``."""
    probe = torch.tensor([-2.0, -1.0, -1e-3, 0.0, 1e-3, 1.0, 2.0])
    try:
        same = all(torch.equal(module.spike_grad(probe).detach(), (probe > 0).float()) for _ in range(3))
    except Exception as error:  # user code: anything may come
        return f"its spike_grad fails: {type(error).__name__}"
    return None if same else "its spike_grad does not spike exactly where mem > threshold"


def _time_step(module: nn.Module) -> None:
    return None


def _neuron(module: Any, path: str, shape: tuple[int, ...], dt: float) -> Neuron:
    name = _snntorch_class(module).__name__

    def value(attribute: str) -> Array:
        what = f"parameter {attribute} of module {path!r}"
        return full(getattr(module, attribute), shape, what, endless=attribute == "threshold")

    threshold = value("threshold")
    reset, time = _reset(module, name)
    if reset == "hard" and (threshold < 0).any():
        raise InvalidInputError(
            f"parameter threshold of module {path!r} is below the reset potential",
            found=threshold.min(),
            allowed="0 or more with reset_mechanism='zero'",
        )
    zero = np.zeros(shape)
    if name == "Lapicque":
        leak = value("time_step") / (value("R") * value("C"))
        if not ((leak > 0) & (leak <= 1)).all():
            raise InvalidInputError(
                f"time_step / (R C) of module {path!r} is not a leak",
                found=leak.max() if (leak > 1).any() else leak.min(),
                allowed="more than 0, at most 1",
            )
        return Neuron(nir.LIF(divisor(dt, leak), value("R"), zero, threshold, zero), reset, reset_time=time)
    leak = 1 - np.clip(value("beta"), 0, 1)
    recurrent = _recurrent(module, path, shape) if name in ("RLeaky", "RSynaptic") else None
    if name in ("Synaptic", "RSynaptic"):
        tau_syn, w_in = leaky(1 - np.clip(value("alpha"), 0, 1), dt)
        tau_mem, r = leaky(leak, dt)
        node = nir.CubaLIF(
            tau_syn=tau_syn, tau_mem=tau_mem, r=r, v_leak=zero, v_threshold=threshold, v_reset=zero, w_in=w_in
        )
    elif not leak.any():
        node = nir.IF(r=inverse(np.full(shape, dt)), v_threshold=threshold, v_reset=zero)
    else:
        tau, r = leaky(leak, dt)
        node = nir.LIF(tau, r, zero, threshold, zero)
    return Neuron(node, reset, reset_time=time, recurrent=recurrent)


def _reset(module: Any, name: str) -> tuple[Reset, ResetTime]:
    rule = _RULES[int(module.reset_mechanism_val)][1]
    delayed = name == "Lapicque" or module.reset_delay
    if rule == "subtract":
        return rule, "next" if delayed else "once"
    if rule == "hard" and delayed:
        return rule, "next" if name == "Leaky" else "gate"
    return rule, "now"


def _recurrent(module: Any, path: str, shape: tuple[int, ...]) -> nir.NIRNode:
    """The connection through which the layer's own spikes return."""
    inner = module.recurrent
    if not module.all_to_all:
        return nir.Scale(full(inner.V, shape, f"parameter V of module {path!r}"))
    weight, bias = _array(inner.weight, path), None if inner.bias is None else _array(inner.bias, path)
    if isinstance(inner, nn.Linear):
        return linear(weight, bias, shape)
    given = {key: getattr(inner, key) for key in ("stride", "padding", "dilation", "groups")}
    return conv2d(given, weight, bias, shape)


def _array(value: Tensor, path: str) -> Array:
    array: Array = value.detach().cpu().numpy().copy()
    if not np.isfinite(array).all():
        raise InvalidInputError(f"recurrent weights of module {path!r} that are not finite", hint="check the training")
    return array


class _Stub(nn.Module):
    """Returns what the neuron it stands for returns; has its methods that start a sequence."""

    def __init__(self, operator: Callable[[Tensor], Tensor], name: str, alone: bool) -> None:
        super().__init__()
        self.operator, self.states, self.alone = operator, _STATES[name], alone
        setattr(self, f"init_{name.lower()}", self.reset_mem)

    def reset_mem(self) -> Any:
        return None if len(self.states) == 1 else (None,) * len(self.states)

    def forward(self, input_: Tensor, *_states: Any, **_named: Any) -> Any:
        spikes = self.operator(input_)
        if self.alone:
            return spikes
        return (spikes, *(potential_of(spikes) for state in self.states if state != "spk"))


def _stub(operator: Callable[[Tensor], Tensor]) -> nn.Module:
    return _Stub(operator, "Leaky", alone=True)


def _stub_for(module: Any, operator: Callable[[Tensor], Tensor]) -> nn.Module:
    return _Stub(operator, _snntorch_class(module).__name__, bool(module.init_hidden and not module.output))


def _widen(module: Any) -> None:
    # snnTorch's surrogates return float32 whatever they are given; all spike where x > 0 (`_spikes_otherwise`).
    module.spike_grad = lambda x: (x > 0).to(x.dtype)
    if isinstance(getattr(getattr(module, "recurrent", None), "V", None), Tensor):
        module.recurrent.V = module.V  # torch does not know the inner one where it is not trained


def _observe(module: Any, note: Note) -> None:
    names = _STATES[_snntorch_class(module).__name__]

    def look(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        handed = dict(zip(names, args[1:], strict=False)) | {name: kwargs[name] for name in names if name in kwargs}
        before = [getattr(module, name) if handed.get(name) is None else handed[name] for name in names]
        result = forward(*args, **kwargs)
        spikes = result[0] if isinstance(result, tuple) else result
        note(spikes, module.mem, None, before, [getattr(module, name) for name in names])
        return result

    looked_on(module, look)


def _fresh(module: nn.Module) -> None:
    """What ``snntorch.utils.reset`` does, which only finds the neurons of classes that the module itself holds."""
    for part in module.modules():
        if callable(getattr(part, "reset_mem", None)) and isinstance(part, SpikingNeuron):
            part.reset_mem()


@contextmanager
def _alone(module: nn.Module) -> Iterator[None]:
    """``snntorch.utils.reset`` resets all neurons of a list of those that were built; copies are not in it."""
    neurons = [part for part in module.modules() if isinstance(part, SpikingNeuron)]
    kinds = {kind for part in neurons for kind in type(part).__mro__ if "instances" in vars(kind)}
    before: dict[Any, Any] = {kind: vars(kind)["instances"] for kind in kinds}
    try:
        for kind in before:
            kind.instances = list(neurons)
        yield
    finally:
        for kind, instances in before.items():
            kind.instances = instances


def _opaque(module: Any, site: Site) -> None:
    states = _STATES[_snntorch_class(module).__name__]

    def forward(input_: Tensor, *given: Any, **named: Any) -> Any:
        handed = () if module.init_hidden else [s for s in (*given, *named.values()) if isinstance(s, Tensor)]
        spikes = site(input_, [one for one in handed if one.shape == input_.shape], by_hand=bool(handed))
        kept = {s: spikes if s == "spk" else site.state(spikes, "v" if s == "mem" else "i") for s in states}
        for state, value in kept.items():
            setattr(module, state, value)
        if module.init_hidden and not module.output:
            return spikes
        return (spikes, *(kept[state] for state in states if state != "spk"))

    reset = module.reset_mem

    def reset_mem() -> Any:
        site.reset()
        return reset()

    module.forward, module.reset_mem = forward, reset_mem


FRAMEWORK = Framework(
    "snntorch",
    ">",
    _claims,
    _refusal,
    _time_step,
    _neuron,
    _stub,
    _widen,
    _observe,
    stub_for=_stub_for,
    default_dt=1e-3,
    keeps_state=lambda module: bool(module.init_hidden),
    opaque=_opaque,
    fresh=_fresh,
    alone=_alone,
)
