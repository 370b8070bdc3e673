"""norse's neurons: cells in a loop over steps, in `Lift`, and modules that run over time by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import norse.torch as nt
import torch
from norse.torch.functional.izhikevich import tonic_spiking
from norse.torch.functional.lif_adex_refrac import LIFAdExRefracParameters
from norse.torch.functional.lif_refrac import LIFRefracParameters
from norse.torch.functional.reset import reset_subtract
from torch import nn

from .classes import INPUTS, NEURONS, OUTPUTS, Make, Way, dense, modules_in

ALL = modules_in("norse.torch.module")
"""Every module class of norse."""

NOT_NEURONS = frozenset(
    [
        "ConstantCurrentLIFEncoder",
        "PoissonEncoder",
        "PoissonEncoderStep",
        "PopulationEncoder",
        "SignedPoissonEncoder",
        "SignedPoissonEncoderStep",
        "SpikeLatencyEncoder",
        "SpikeLatencyLIFEncoder",
        "ExpFilter",
        "LConv2d",
        "Lift",
        "RegularizationCell",
        "SequentialState",
        "ParameterizedSpatialReceptiveField2d",
        "SampledSpatialReceptiveField2d",
        "SpatialReceptiveField2d",
        "TemporalReceptiveField",
        "SpikesToTimesDecoder",
        "SNN",
        "SNNCell",
        "SNNRecurrent",
        "SNNRecurrentCell",
    ]
)
"""Encoders, containers, linear layers and base classes."""

SIZES = (INPUTS, NEURONS)


def each(low: float, high: float) -> torch.Tensor:
    """Another value for each neuron."""
    return torch.linspace(low, high, NEURONS)


LOW, EACH = nt.LIFParameters(v_th=torch.tensor(0.2)), nt.LIFParameters(
    v_th=each(0.1, 0.5), tau_mem_inv=each(80, 200), v_reset=each(-0.1, 0.05), v_leak=each(-0.05, 0.05)
)  # fmt: skip
PLAIN = EACH._replace(v_leak=torch.tensor(0.05))
"""norse starts these from a potential of one number."""
BOX, SOFT = nt.LIFBoxParameters(v_th=torch.tensor(0.2)), nt.LIFBoxParameters(
    v_th=each(0.1, 0.5), reset_method=reset_subtract
)  # fmt: skip
REFRACTORY = LIFRefracParameters(lif=LOW, rho_reset=torch.tensor(2.0))

SETS: dict[str, list[Make]] = {
    "LIFCell": [nt.LIFCell, lambda: nt.LIFCell(LOW), lambda: nt.LIFCell(EACH), lambda: nt.LIFCell(LOW, dt=0.002)],
    "LIF": [nt.LIF, lambda: nt.LIF(LOW), lambda: nt.LIF(PLAIN), lambda: nt.LIF(LOW, dt=0.002)],
    "LICell": [nt.LICell, lambda: nt.LICell(nt.LIParameters(tau_mem_inv=each(50, 300), v_leak=each(-0.1, 0.1)))],
    "LI": [nt.LI, lambda: nt.LI(nt.LIParameters(tau_mem_inv=each(50, 300)))],
    "LIFBoxCell": [lambda: nt.LIFBoxCell(BOX), lambda: nt.LIFBoxCell(SOFT)],
    "LIBoxCell": [nt.LIBoxCell, lambda: nt.LIBoxCell(nt.LIBoxParameters(tau_mem_inv=each(50, 300)))],
    "IAFCell": [nt.IAFCell, lambda: nt.IAFCell(nt.IAFParameters(v_th=each(0.5, 2)))],
    "IAF": [nt.IAF, lambda: nt.IAF(nt.IAFParameters(v_th=each(0.5, 2)))],
    "LIFRecurrentCell": [
        lambda: nt.LIFRecurrentCell(*SIZES, p=LOW), lambda: nt.LIFRecurrentCell(*SIZES, p=PLAIN, autapses=True)
    ],
    "LIFRecurrent": [lambda: nt.LIFRecurrent(*SIZES, p=LOW), lambda: nt.LIFRecurrent(*SIZES, p=PLAIN, autapses=True)],
    "LIFRefracCell": [lambda: nt.LIFRefracCell(p=REFRACTORY)],
    "LIFRefracRecurrentCell": [lambda: nt.LIFRefracRecurrentCell(*SIZES, p=REFRACTORY)],
    "LIFRefracRecurrent": [lambda: nt.LIFRefracRecurrent(*SIZES, p=REFRACTORY)],
    "LILinearCell": [lambda: nt.LILinearCell(*SIZES)],
    "RecurrentSequential": [lambda: nt.RecurrentSequential(nt.LIFCell(LOW))],
    "Izhikevich": [lambda: ALL["Izhikevich"](tonic_spiking)],
    "IzhikevichCell": [lambda: ALL["IzhikevichCell"](tonic_spiking)],
    "IzhikevichRecurrent": [lambda: ALL["IzhikevichRecurrent"](*SIZES, tonic_spiking)],
    "IzhikevichRecurrentCell": [lambda: ALL["IzhikevichRecurrentCell"](*SIZES, tonic_spiking)],
    "LIFAdExRefracCell": [lambda: ALL["LIFAdExRefracCell"](LIFAdExRefracParameters())],
    **{name: [lambda name=name: ALL[name](*SIZES)] for name in (
        "CobaLIFCell", "LIFCorrelation", "LIFMCRecurrentCell", "LIFMCRefracRecurrentCell", "LIFAdExRecurrent",
        "LIFAdExRecurrentCell", "LIFAdExRefracRecurrent", "LIFAdExRefracRecurrentCell", "LIFExRecurrent",
        "LIFExRecurrentCell", "LSNNRecurrent", "LSNNRecurrentCell",
    )},
    **{name: [ALL[name]] for name in ("LIFAdEx", "LIFAdExCell", "LIFEx", "LIFExCell", "LSNN", "LSNNCell")},
}  # fmt: skip

OVER_TIME = ("LIF", "LI", "IAF", "LIFRecurrent")


def ways(make: Make) -> Iterator[Way]:
    """A cell step by step, and lifted over time; a module that runs over time as it is."""
    whole = type(make()).__name__ in OVER_TIME

    def layers(last: nn.Module) -> list[nn.Module]:
        neuron: Any = make()
        front = [] if hasattr(neuron, "input_weights") else [dense(*SIZES)]
        return [*front, neuron, dense(NEURONS, OUTPUTS), last]

    if whole:
        yield Way("sequence", nt.SequentialState(*layers(nt.LIF(LOW, dt=make().dt))), 0)
        return
    last = {"dt": getattr(make(), "dt", 0.001)}
    yield Way("step", nt.SequentialState(*layers(nt.LIFCell(LOW, **last))), "step")
    yield Way("sequence", Lifted(nt.SequentialState(*layers(nt.LIFCell(LOW, **last)))), 0)


class Lifted(nn.Module):
    """Over time, without the states."""

    def __init__(self, step: nn.Module) -> None:
        super().__init__()
        self.over_time = nt.Lift(step)

    def forward(self, x: torch.Tensor) -> Any:
        return self.over_time(x)[0]
