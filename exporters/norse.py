"""Norse (1.1.0): its cells as NIR nodes.

What a cell computes in a step of ``dt`` with input ``I`` (norse.torch.functional, read and checked numerically), with
``a_m = dt tau_mem_inv`` and ``a_s = dt tau_syn_inv``:

    LIFBoxCell, LIBoxCell   v <- v + a_m (v_leak - v + I)                          LIF, LI: tau = 1 / tau_mem_inv, r = 1
    LIFCell, LICell         j <- (1 - a_s) j + I ;  v <- v + a_m (v_leak - v + j)  CubaLIF, CubaLI: w_in = tau_syn / dt
    LIFRecurrentCell        LIFCell with I = W x + R z, z the spikes of the step   W in front, R from the neuron
                            before                                                 to itself
    LIFRefracCell           LIFCell, still for ceil(rho_reset) steps after a spike and `refractory` in the metadata
    IAFCell                 v <- v + I, whatever dt is                             IF: r = 1 / dt

NIR's current equation by forward Euler is ``i <- i + a_s (w_in S - i)``, so ``w_in = 1 / a_s`` makes it norse's.
LIF, LI, IAF and LIFRecurrent are these cells in a loop over time, and Lift is that loop around any module: exported is
one step of it. A spike is ``v - v_th > 0``, strictly; then ``v <- v_reset`` (or ``v - v_th`` with `reset_subtract`).
The membrane starts at ``v_leak`` (IAF: ``v_reset``), which NIR cannot say: it stands in the node's metadata as
``v_initial``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import nir
import numpy as np
import torch
from norse.torch.functional.iaf import IAFFeedForwardState, iaf_feed_forward_step
from norse.torch.functional.leaky_integrator import LIState, li_feed_forward_step
from norse.torch.functional.leaky_integrator_box import LIBoxState, li_box_feed_forward_step
from norse.torch.functional.lif import LIFFeedForwardState, LIFState, lif_feed_forward_step, lif_step
from norse.torch.functional.lif_box import LIFBoxFeedForwardState, lif_box_feed_forward_step
from norse.torch.functional.lif_refrac import LIFRefracFeedForwardState, lif_refrac_feed_forward_step
from norse.torch.functional.reset import reset_subtract, reset_value
from norse.torch.module.lift import Lift
from torch import Tensor, nn

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.neurons import Reset

from .framework import Framework, Neuron, Note, full
from .looking import looked_on, twin_of
from .sequence.site import STEP, Site
from .usage import TimeAxis

if TYPE_CHECKING:
    from neurodeploy.network.arrays import Array

_STEPS: dict[str, Any] = {
    "LIFBoxCell": lif_box_feed_forward_step,
    "LIBoxCell": li_box_feed_forward_step,
    "LIFCell": lif_feed_forward_step,
    "LICell": li_feed_forward_step,
    "IAFCell": iaf_feed_forward_step,
    "LIFRecurrentCell": lif_step,
    "LIFRefracCell": lif_refrac_feed_forward_step,
}
"""Cells that can be exported, and the step function that each must use."""

_STATES: dict[str, Any] = {
    "LIFBoxCell": LIFBoxFeedForwardState,
    "LIBoxCell": LIBoxState,
    "IAFCell": IAFFeedForwardState,
    "LIFCell": LIFFeedForwardState,
    "LICell": LIState,
}
"""What these return as their state."""

_SEQUENCES = {"LIF": "LIFCell", "LI": "LICell", "IAF": "IAFCell", "LIFRecurrent": "LIFRecurrentCell"}
"""Modules that run a cell over time."""

_TRANSPARENT = (
    "SequentialState", "Lift", "RegularizationCell", "ConstantCurrentLIFEncoder", "PoissonEncoder",
    "PoissonEncoderStep", "PopulationEncoder", "SignedPoissonEncoder", "SignedPoissonEncoderStep",
    "SpikeLatencyEncoder", "SpikeLatencyLIFEncoder", "LConv2d", "ExpFilter", "SpikesToTimesDecoder",
    "SpatialReceptiveField2d", "SampledSpatialReceptiveField2d", "ParameterizedSpatialReceptiveField2d",
    "TemporalReceptiveField",
)  # fmt: skip
"""Containers, encoders, linear layers and counters of spikes, which are traced through."""

_REASONS = {
    "LIFAdExCell": "an adaptive exponential neuron, which NIR has no node for",
    "LIFAdExRefracCell": "an adaptive exponential neuron, which NIR has no node for",
    "LIFExCell": "an exponential neuron, which NIR has no node for",
    "LSNNCell": "its input acts one step late, which the exporter cannot say of a neuron; use LIFCell",
    "LIFRefracRecurrentCell": "a refractory period with recurrence; use LIFRecurrentCell or LIFRefracCell",
    "IzhikevichCell": "an Izhikevich neuron, which NIR has no node for",
    "CobaLIFCell": "a conductance-based neuron, which NIR has no node for",
    "LIFMCRecurrentCell": "compartments that are coupled within the neuron, which NIR has no node for",
    "LIFMCRefracRecurrentCell": "compartments that are coupled within the neuron, which NIR has no node for",
    "LIFCorrelation": "it counts correlations of spikes for a learning rule; use LIFRecurrentCell",
    "LILinearCell": "weights inside the neuron; use torch.nn.Linear followed by LICell",
    "RecurrentSequential": "a recurrent connection around several layers is not exported yet",
}


def export(module: nn.Module, sample_shape: tuple[int, ...], dt: float | None = None) -> nir.NIRGraph:
    """Return the NIR graph of a norse module that computes one time step.

    Args:
        module: called as ``module(input)`` with an input ``[batch, *sample_shape]``; it is not changed.
        sample_shape: of one sample, for example ``(channels, height, width)``.
        dt: length of a step in seconds; by default what the cells were built for.

    Raises:
        UnsupportedError: an operator or neuron that NIR cannot express; the message names it and its module.
        InvalidInputError: a module that does not take such a sample, another ``dt`` than its cells have, or parameters
            that do not fit.
    """
    from .torch_step.graph import build

    return build(module, sample_shape, dt, FRAMEWORK)


def _norse_class(module: nn.Module) -> type | None:
    """The first class of norse that the module's class is or inherits."""
    return next((kind for kind in type(module).__mro__ if kind.__module__.partition(".")[0] == "norse"), None)


def _cell(module: nn.Module) -> str:
    """Name of the cell that the module is, or runs over time."""
    kind = _norse_class(module)
    assert kind is not None
    return _SEQUENCES.get(kind.__name__, kind.__name__)


def _claims(module: nn.Module) -> bool:
    kind = _norse_class(module)
    return kind is not None and kind.__name__ not in _TRANSPARENT


def _refusal(module: nn.Module) -> str | None:
    kind = _norse_class(module)
    assert kind is not None
    name = _cell(module)
    if name not in _STEPS:
        cell = name.removesuffix("Cell") + "Cell"
        plain = cell.replace("Recurrent", "")
        known = next((_REASONS[other] for other in (name, cell, plain) if other in _REASONS), None)
        return known or f"norse's {name} is not known to the exporter"
    if type(module).forward is not kind.forward:  # type: ignore[attr-defined]
        return f"it overrides the forward of {kind.__name__}, so what it computes is not known"
    if module.activation is not _STEPS[name]:
        return f"another step function than {name}'s own: {getattr(module.activation, '__name__', module.activation)}"
    if name == "LIFBoxCell" and module.p.reset_method not in (reset_value, reset_subtract):  # type: ignore[union-attr]
        return "a reset method of its own; reset_value and reset_subtract are known"
    return None


def _time_step(module: nn.Module) -> float | None:
    # IAFCell ignores its dt.
    return None if _cell(module) == "IAFCell" else float(module.dt)  # type: ignore[arg-type]


def _neuron(module: nn.Module, path: str, shape: tuple[int, ...], dt: float) -> Neuron:
    name, p = _cell(module), module.p
    refractory = None
    if name == "LIFRefracCell":
        p, rho = p.lif, p.rho_reset  # type: ignore[union-attr]
        refractory = np.ceil(np.maximum(full(rho, shape, f"parameter rho_reset of module {path!r}"), 0))

    def value(attribute: str) -> Array:
        what = f"parameter {attribute} of module {path!r}"
        return full(getattr(p, attribute), shape, what, endless=attribute == "v_th")

    def tau(attribute: str) -> Array:
        inverse = value(attribute)
        if not (inverse > 0).all():
            raise InvalidInputError(
                f"parameter {attribute} of module {path!r} is not positive", found=inverse.min(), allowed="1 / seconds"
            )
        return 1 / inverse

    one, reset = np.ones(shape), _reset(p)
    if name == "IAFCell":
        v_reset = value("v_reset")
        return Neuron(nir.IF(r=one / dt, v_threshold=value("v_th"), v_reset=v_reset), reset, v_reset)
    v_leak = value("v_leak")
    if name == "LIFBoxCell":
        node = nir.LIF(tau("tau_mem_inv"), one, v_leak, value("v_th"), value("v_reset"))
    elif name == "LIBoxCell":
        return Neuron(nir.LI(tau("tau_mem_inv"), one, v_leak), None, v_leak)
    elif name in ("LIFCell", "LIFRecurrentCell", "LIFRefracCell"):
        synapse = tau("tau_syn_inv")
        node = nir.CubaLIF(
            tau_syn=synapse,
            tau_mem=tau("tau_mem_inv"),
            r=one,
            v_leak=v_leak,
            v_threshold=value("v_th"),
            v_reset=value("v_reset"),
            w_in=synapse / dt,
        )
    else:
        synapse = tau("tau_syn_inv")
        node = nir.CubaLI(tau_syn=synapse, tau_mem=tau("tau_mem_inv"), r=one, v_leak=v_leak, w_in=synapse / dt)
        return Neuron(node, None, v_leak)
    recurrent = nir.Linear(_weights(module, "recurrent_weights")) if name == "LIFRecurrentCell" else None
    return Neuron(node, reset, v_leak, recurrent=recurrent, refractory=refractory)


def _weights(module: nn.Module, name: str) -> Array:
    """Also the diagonal: norse zeroes it when it builds a cell without autapses, and uses it as it is."""
    weights: Array = getattr(module, name).detach().cpu().numpy().copy()
    if not np.isfinite(weights).all():
        raise InvalidInputError(f"{name} of a recurrent cell are not finite", hint="check the training")
    return weights


def _reset(p: Any) -> Reset:
    return "subtract" if getattr(p, "reset_method", reset_value) is reset_subtract else "hard"


class _Stub(nn.Module):
    """Returns ``(output, state)`` as norse's cells do."""

    def __init__(self, operator: Callable[[Tensor], Tensor], input_weights: nn.Module | None = None) -> None:
        super().__init__()
        self.operator = operator
        self.input_weights = input_weights or nn.Identity()

    def forward(self, input_tensor: Tensor, state: Any = None) -> tuple[Tensor, None]:
        return self.operator(self.input_weights(input_tensor)), None


def _stub_for(module: nn.Module, operator: Callable[[Tensor], Tensor]) -> nn.Module:
    weights = getattr(module, "input_weights", None)
    if not isinstance(weights, Tensor):
        return _Stub(operator)
    return _Stub(operator, _front(weights))


def _front(weights: Tensor) -> nn.Linear:
    """The input weights of a recurrent cell, as a layer."""
    linear = nn.Linear(weights.shape[1], weights.shape[0], bias=False)
    linear.weight = nn.Parameter(weights.detach())
    return linear


def _widen(module: nn.Module) -> None:
    module.p = _double(module.p)
    for name in ("input_weights", "recurrent_weights"):  # not parameters where the user gave tensors
        weights = getattr(module, name, None)
        if isinstance(weights, Tensor) and not isinstance(weights, nn.Parameter):
            setattr(module, name, weights.detach().double())


def _double(value: Any) -> Any:
    if isinstance(value, tuple):
        return type(value)(*map(_double, value))
    return value.detach().cpu().double() if isinstance(value, Tensor) else value


def _prepare(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, Lift):
            part.forward = _lifted(part)


def _lifted(part: Any) -> Callable[..., Any]:
    """One step of what the module runs over time."""
    return lambda x, state=None: part.lifted_module(x, state) if part.is_stateful else part.lifted_module(x)


def _observe(module: nn.Module, note: Note) -> None:
    kind = _norse_class(module)
    assert kind is not None
    whole = kind.__name__ in _SEQUENCES

    def look(forward: Callable[..., Any], input_tensor: Tensor, state: Any = None) -> Any:
        x = input_tensor.detach().clone() if whole else input_tensor
        result = forward(input_tensor, state)
        output, after = result
        if not whole:
            note(output, (after.lif if hasattr(after, "lif") else after).v, None, state or (), after)
        elif module.record_states:
            note(output, after.v, 0, state or (), after)
        else:
            note(output, lambda: _potentials(module, x, state, output), 0, state or (), after)
        return result

    looked_on(module, look)


def _potentials(module: nn.Module, x: Tensor, state: Any, output: Tensor) -> Tensor | None:
    """Of each step of a sequence, by a twin that keeps them and sends the same."""
    twin = twin_of(module)
    twin.record_states = True
    same, states = twin(x, state)
    return states.v if torch.equal(same, output) else None


def _time_axis(module: nn.Module) -> TimeAxis:
    kinds = [_norse_class(part) for part in module.modules()]
    names = {kind.__name__ for kind in kinds if kind is not None}
    return 0 if names & {*_SEQUENCES, "Lift"} else "step"


def _opaque(module: Any, site: Site) -> None:
    name, kind = _cell(module), _norse_class(module)
    axis = 0 if kind is not None and kind.__name__ in _SEQUENCES else STEP
    if isinstance(getattr(module, "input_weights", None), Tensor):
        front = _front(module.input_weights)
        del module.input_weights
        module.input_weights = front

    site.by_hand = True

    def forward(input_tensor: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        x = module.input_weights(input_tensor) if hasattr(module, "input_weights") else input_tensor
        sent = site(x, [] if state is None else _tensors(state), axis)
        whole = axis == 0 and not module.record_states

        def kept(which: str) -> Tensor:
            value = site.state(sent, which)
            return value[-1] if whole else value

        return sent, _state_of(name, sent[-1] if whole else sent, kept)

    module.forward = forward


def _tensors(state: Any) -> list[Tensor]:
    """The potentials and currents in a state, without the spikes and what counts steps."""
    if hasattr(state, "lif"):
        state = state.lif
    return [value for key in ("v", "i") if isinstance(value := getattr(state, key, None), Tensor)]


def _state_of(name: str, sent: Tensor, kept: Callable[[str], Tensor]) -> Any:
    """The state that a cell returns."""
    if name in ("LIFBoxCell", "LIBoxCell", "IAFCell"):
        return _STATES[name](kept("v"))
    if name == "LIFRecurrentCell":
        return LIFState(sent, kept("v"), kept("i"))
    if name == "LIFRefracCell":
        return LIFRefracFeedForwardState(LIFFeedForwardState(kept("v"), kept("i")), torch.zeros_like(sent))
    return _STATES[name](kept("v"), kept("i"))


FRAMEWORK = Framework(
    "norse",
    ">",
    _claims,
    _refusal,
    _time_step,
    _neuron,
    _Stub,
    _widen,
    _observe,
    _stub_for,
    default_dt=1e-3,
    prepare=_prepare,
    time_axis=_time_axis,
    opaque=_opaque,
)
