"""sinabs (3.1.3): its layers as NIR nodes.

What a layer computes in a step with input ``X`` (``layers/functional``, read and checked numerically), before a spike
resets it, with ``a = exp(-1 / tau_mem)`` and ``a_s = exp(-1 / tau_syn)`` (or the alphas that were trained):

    LIF        v <- a v + (1 - a) X                        LIF: tau = dt / (1 - a), r = 1
      norm_input=False   v <- a v + X                      LIF: r = tau / dt
      tau_syn  X above replaced by i <- a_s (i + X)        CubaLIF: tau_syn = dt / (1 - a_s), w_in = a_s / (1 - a_s)
    IAF        LIF without leak, norm_input=False          IF: r = 1 / dt
    ExpLeak    LIF that sends its potential                LI
    ALIF       LIF with threshold b_0 + scale b, and b <- a_b b + (1 - a_b) s after the spike
                                                           `threshold_decay` and `threshold_jump` in the metadata
    ...Recurrent   X + rec_connect(s), s of the step before (nothing in the first: its bias starts one step late)
    ...Squeeze     the same, with batch and time in one dimension

MultiSpike sends trunc(v / threshold) spikes where v > 0, MaxSpike at most so many, SingleSpike one where
v >= threshold. MembraneSubtract subtracts a threshold for each spike, MembraneReset sets v to 0; then v is at least
min_v_mem. There is no length of a step: ``dt`` only gives the numbers their unit.

A sequence ``[batch, time, ...]`` is exported as one step ``[batch, ...]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import torch
from sinabs import activation
from sinabs import layers as sl
from sinabs.layers.alif import ALIFSqueeze
from sinabs.layers.reshape import SqueezeMixin
from torch import Tensor, nn

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array
from neurodeploy.network.neurons import UNLIMITED, Comparison, Reset

from .framework import Framework, Neuron, Note, Stub, full
from .looking import looked_on, twin_of
from .sequence.site import Site
from .torch_step.layers import conv2d, linear
from .torch_step.steps import inverse, leaky
from .usage import TimeAxis

_RECURRENT = (sl.LIFRecurrent, sl.IAFRecurrent, sl.ALIFRecurrent)

_ADAPTIVE = (sl.ALIF, ALIFSqueeze, sl.ALIFRecurrent)

_SEQUENCE: dict[type, Callable[[Any, Tensor], Tensor]] = {
    sl.LIF: sl.LIF.forward,
    sl.LIFSqueeze: sl.LIF.forward,
    sl.LIFRecurrent: sl.LIFRecurrent.forward,
    sl.IAF: sl.LIF.forward,
    sl.IAFSqueeze: sl.LIF.forward,
    sl.IAFRecurrent: sl.LIFRecurrent.forward,
    sl.ExpLeak: sl.LIF.forward,
    sl.ExpLeakSqueeze: sl.LIF.forward,
    sl.ALIF: sl.ALIF.forward,
    ALIFSqueeze: sl.ALIF.forward,
    sl.ALIFRecurrent: sl.ALIFRecurrent.forward,
}
"""Layers that can be exported, and what they do with ``[batch, time, ...]``."""


def _kind(module: nn.Module) -> Any:
    """The first class of sinabs that the module's class is or inherits."""
    return next((kind for kind in type(module).__mro__ if kind.__module__.partition(".")[0] == "sinabs"), None)


def _claims(module: nn.Module) -> bool:
    return isinstance(module, sl.StatefulLayer)


def _refusal(module: Any) -> str | None:
    kind = _kind(module)
    if kind not in _SEQUENCE:
        return f"sinabs's {kind.__name__} is not known to the exporter"
    for method in ("forward", "alpha_mem_calculated", "alpha_syn_calculated", "alpha_adapt_calculated"):
        if getattr(type(module), method, None) is not getattr(kind, method, None):
            return f"it overrides {method} of {kind.__name__}, so what it computes is not known"
    if kind in _ADAPTIVE and _alpha(module, "syn") is not None:
        return "an adaptive threshold with tau_syn, whose current sinabs 3.1.3 forgets between calls"
    if kind in _RECURRENT and not isinstance(module.rec_connect, (nn.Linear, nn.Conv2d, nn.Identity)):
        return f"its rec_connect is a {type(module.rec_connect).__name__}; Linear, Conv2d and Identity can be exported"
    if kind in (sl.ExpLeak, sl.ExpLeakSqueeze):
        return None
    if not (module.spike_fn in (activation.MultiSpike, activation.SingleSpike) or _most(module) is not None):
        return "a spike_fn of its own; MultiSpike, MaxSpike and SingleSpike are known"
    return _reset_refused(module)


def _most(module: Any) -> int | None:
    """Most spikes a step under MaxSpike; None for another spike_fn."""
    if not isinstance(module.spike_fn, activation.MaxSpike):
        return None
    limit = module.spike_fn.max_num_spikes_per_bin
    return UNLIMITED if limit is None else int(limit)


def _reset_refused(module: Any) -> str | None:
    if isinstance(module.reset_fn, activation.MembraneReset):
        if module.reset_fn.reset_value != 0:
            return "MembraneReset to another value than 0, which sinabs 3.1.3 adds to silent neurons too"
        return None
    if not isinstance(module.reset_fn, activation.MembraneSubtract):
        return "a reset_fn of its own; MembraneSubtract and MembraneReset are known"
    value = module.reset_fn.subtract_value
    threshold = module.b0 if hasattr(module, "b0") else module.spike_threshold
    if value is not None and (hasattr(module, "b0") or not bool((torch.as_tensor(threshold) == value).all())):
        return "MembraneSubtract of another value than the threshold, which NIR cannot say"
    return None


def _alpha(module: Any, name: str) -> Any:
    """Decay of a state in a step, as the layer computes it in float64; None where it has none."""
    trained = getattr(module, f"alpha_{name}", None)
    if trained is not None:
        return trained.detach().cpu().double()
    tau = getattr(module, f"tau_{name}", None)
    return None if tau is None else torch.exp(-1 / tau.detach().cpu().double())


def _neuron(module: Any, path: str, shape: tuple[int, ...], dt: float) -> Neuron:
    kind = _kind(module)
    adaptive = kind in _ADAPTIVE

    def leak_of(name: str) -> Array | None:
        alpha = _alpha(module, name)
        if alpha is None:
            return None
        leak = 1 - full(alpha, shape, f"parameter tau_{name} (or alpha_{name}) of module {path!r}")
        if not ((leak >= 0) & (leak <= 1)).all():
            raise InvalidInputError(
                f"module {path!r}: the decay of {name} is not between 0 and 1 a step",
                found=float(1 - leak.max() if (leak > 1).any() else 1 - leak.min()),
                allowed="time constants above 0, alphas from 0 to 1",
            )
        return leak

    zero, one = np.zeros(shape), np.ones(shape)
    leak, synapse = leak_of("mem"), leak_of("syn")
    integrates = kind in (sl.IAF, sl.IAFSqueeze, sl.IAFRecurrent)
    tau, r = leaky(zero if leak is None or integrates else leak, dt)
    if getattr(module, "norm_input", False):
        r = one
    floor = None if module.min_v_mem is None else full(module.min_v_mem, (), f"min_v_mem of module {path!r}")
    lowest = None if floor is None else float(floor)
    if kind in (sl.ExpLeak, sl.ExpLeakSqueeze):
        return Neuron(nir.LI(tau, r, zero), None, floor=lowest)
    given = module.b0 if adaptive else module.spike_threshold
    threshold = full(given, shape, f"spike_threshold of module {path!r}", endless=not adaptive)
    if not (threshold > 0).all():
        raise InvalidInputError(
            f"spike_threshold of module {path!r} is not positive", found=float(threshold.min()), allowed="above 0"
        )
    if synapse is not None:
        tau_syn, w_in = leaky(synapse, dt)
        node: nir.NIRNode = nir.CubaLIF(
            tau_syn=tau_syn, tau_mem=tau, r=r, v_leak=zero, v_threshold=threshold, v_reset=zero,
            w_in=w_in * (1 - synapse),
        )  # fmt: skip
    elif integrates:
        node = nir.IF(r=inverse(np.full(shape, dt)), v_threshold=threshold, v_reset=zero)
    else:
        node = nir.LIF(tau, r, zero, threshold, zero)
    single = module.spike_fn is activation.SingleSpike
    comparison: Comparison = ">="
    reset: Reset = "subtract" if isinstance(module.reset_fn, activation.MembraneSubtract) else "hard"
    adapt = leak_of("adapt") if adaptive else None
    scale = full(getattr(module, "adapt_scale", 0.0), shape, f"adapt_scale of module {path!r}")
    return Neuron(
        node,
        reset,
        max_spikes=1 if single else (_most(module) or UNLIMITED),
        floor=lowest,
        recurrent=_recurrent(module, path, shape) if kind in _RECURRENT else None,
        comparison=comparison,
        threshold_decay=adapt,
        threshold_jump=None if adapt is None else scale * adapt,
    )


def _recurrent(module: Any, path: str, shape: tuple[int, ...]) -> nir.NIRNode:
    inner = module.rec_connect
    if isinstance(inner, nn.Identity):
        return nir.Scale(np.ones(shape))
    weight = full(inner.weight, tuple(inner.weight.shape), f"rec_connect of module {path!r}")
    bias = None if inner.bias is None else full(inner.bias, tuple(inner.bias.shape), f"rec_connect of module {path!r}")
    if isinstance(inner, nn.Linear):
        return linear(weight, bias, shape)
    given = {key: getattr(inner, key) for key in ("stride", "padding", "dilation", "groups")}
    return conv2d(given, weight, bias, shape)


def _simplify(module: nn.Module) -> None:
    for path, part in list(module.named_modules()):
        if path and isinstance(part, sl.SumPool2d):
            pool = nn.AvgPool2d(part.kernel_size, part.stride, ceil_mode=part.ceil_mode, divisor_override=1)
            module.set_submodule(path, pool)


def _prepare(module: nn.Module) -> None:
    _simplify(module)
    for path, part in list(module.named_modules()):
        if not path:
            continue
        if isinstance(part, (sl.FlattenTime, sl.UnflattenTime)):
            module.set_submodule(path, nn.Identity())
        elif isinstance(part, sl.Repeat):
            part.forward = lambda x, inner=part: inner.module(x)


class _Double:
    """A spike_fn whose spikes are float64; sinabs's are float32 whatever it computes in."""

    def __init__(self, spike_fn: Any) -> None:
        self.spike_fn, self.required_states = spike_fn, spike_fn.required_states

    def apply(self, *given: Any) -> Tensor:
        spikes: Tensor = self.spike_fn.apply(*given)
        return spikes.double()


def _widen(module: Any) -> None:
    if module.spike_fn is not None:
        module.spike_fn = _Double(module.spike_fn)


def _observe(module: Any, note: Note) -> None:
    def look(forward: Callable[..., Any], input_data: Tensor) -> Tensor:
        if _inflated(module, input_data).shape[1] == 1:
            single: Tensor = forward(input_data)
            note(_inflated(module, single), module.v_mem[:, None], 1)
            return single
        twin, x = twin_of(module), input_data.detach().clone()
        output: Tensor = forward(input_data)
        sent = output.detach().clone()
        note(_inflated(module, sent), lambda: _potentials(twin, _inflated(twin, x), _inflated(twin, sent)), 1)
        return output

    looked_on(module, look)


def _inflated(module: Any, x: Tensor) -> Tensor:
    """``[batch, time, ...]``, also of a layer that takes both in one dimension."""
    return x.reshape(module.batch_size, module.num_timesteps, *x.shape[1:]) if _squeezes(module) else x


def _squeezes(module: Any) -> bool:
    return isinstance(module, sl.SqueezeMixin)


def _potentials(twin: Any, x: Tensor, sent: Tensor) -> Tensor | None:
    """Of each step of a sequence, by a twin in the state before it that takes the steps one by one and sends the same.

    sinabs 3.1.3 keeps the potentials before the reset where a layer is recurrent or adaptive.
    """
    whole, recurrent = _SEQUENCE[_kind(twin)], _kind(twin) in _RECURRENT
    back: Any = 0.0  # sinabs starts each call without what the last spikes send back
    potentials, same = [], []
    for t in range(x.shape[1]):
        spikes = whole(twin, (x[:, t] + back)[:, None])[:, 0]
        back = twin.rec_connect(spikes).reshape(spikes.shape) if recurrent else 0.0
        potentials.append(twin.v_mem.clone())
        same.append(spikes)
    return torch.stack(potentials, 1) if torch.equal(torch.stack(same, 1), sent) else None


def _fresh(module: nn.Module) -> None:
    """What ``sinabs.reset_states`` does, which passes over layers that have layers inside."""
    for part in module.modules():
        if isinstance(part, sl.StatefulLayer):
            part.reset_states()


def _time_axis(module: nn.Module) -> TimeAxis:
    layers = [part for part in module.modules() if _claims(part)]
    return "flat" if any(map(_squeezes, layers)) else 1


def _opaque(module: Any, site: Site) -> None:
    def sequence(x: Tensor) -> Tensor:
        sent = site(x, (), 1)
        v = site.state(sent, "v")
        module.v_mem = v[:, -1]
        if module.record_states:
            module.recordings = {"v_mem": v}
        return sent

    squeezed = isinstance(module, SqueezeMixin)
    module.forward = (lambda x: module.squeeze_forward(x, sequence)) if squeezed else sequence
    module.reset_states = lambda *_given, **_named: site.reset()


FRAMEWORK = Framework(
    "sinabs",
    ">=",
    _claims,
    _refusal,
    lambda _module: None,
    _neuron,
    Stub,
    _widen,
    _observe,
    default_dt=1e-3,
    recurrent_bias="after-delay",
    prepare=_prepare,
    keeps_state=lambda _module: True,
    opaque=_opaque,
    simplify=_simplify,
    fresh=_fresh,
    time_axis=_time_axis,
)
