"""snnTorch's neurons: states kept inside, one step a call; states handed along in a loop over time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import snntorch as snn
import torch
from torch import nn

from .classes import INPUTS, NEURONS, OUTPUTS, Make, Way, dense, modules_in

ALL = modules_in("snntorch._neurons", without=("leakykernel", "leakyunroll"))  # which the package does not import
"""Every module class among snnTorch's neurons."""

NOT_NEURONS = frozenset({"RecurrentOneToOne"})
"""A connection within RLeaky and RSynaptic."""


def each(low: float, high: float) -> torch.Tensor:
    """Another value for each neuron."""
    return torch.linspace(low, high, NEURONS)


RESETS = [
    {"reset_mechanism": rule, "reset_delay": delay} for rule in ("subtract", "zero", "none") for delay in (True, False)
]
LEAKS = {"beta": 0.8, "threshold": 0.4, "init_hidden": True}
BACK = {"linear_features": NEURONS}

SETS: dict[str, list[Make]] = {
    "Leaky": [
        *(lambda more=more: snn.Leaky(**LEAKS, **more) for more in RESETS),
        lambda: snn.Leaky(each(0, 1), threshold=each(0.2, 1), learn_beta=True, learn_threshold=True, init_hidden=True),
        lambda: snn.Leaky(1.0, init_hidden=True), lambda: snn.Leaky(**LEAKS, output=True),
    ],
    "Synaptic": [
        *(lambda more=more: snn.Synaptic(alpha=0.7, **LEAKS, **more) for more in RESETS),
        lambda: snn.Synaptic(each(0, 1), each(0.3, 1), threshold=each(0.2, 1), learn_alpha=True, init_hidden=True),
    ],
    "Lapicque": [
        lambda: snn.Lapicque(0.8, threshold=0.4, init_hidden=True),
        lambda: snn.Lapicque(R=2.0, C=3.0, threshold=0.2, reset_mechanism="zero", init_hidden=True),
        lambda: snn.Lapicque(R=4.0, C=2.0, time_step=0.5, threshold=0.2, reset_mechanism="none", init_hidden=True),
    ],
    "RLeaky": [
        *(lambda more=more: snn.RLeaky(**LEAKS, **BACK, **more) for more in RESETS),
        lambda: snn.RLeaky(**LEAKS, all_to_all=False, V=each(-0.5, 0.5)),
    ],
    "RSynaptic": [
        *(lambda more=more: snn.RSynaptic(alpha=0.7, **LEAKS, **BACK, **more) for more in RESETS[::2]),
        lambda: snn.RSynaptic(alpha=0.7, **LEAKS, all_to_all=False, V=0.3),
    ],
    "Alpha": [lambda: snn.Alpha(0.8, 0.7, threshold=0.4, init_hidden=True)],
    "DeltaLeaky": [lambda: snn.DeltaLeaky(0.5, 0.8, init_hidden=True)],
    "LeakyParallel": [lambda: snn.LeakyParallel(NEURONS, NEURONS)],
    "StateLeaky": [lambda: snn.StateLeaky(0.8, NEURONS)],
    "LinearLeaky": [lambda: snn.LinearLeaky(0.8, NEURONS, NEURONS)],
    "AssociativeLeaky": [lambda: snn.AssociativeLeaky(NEURONS, 5, 2, NEURONS)],
    "SLSTM": [lambda: snn.SLSTM(NEURONS, NEURONS, init_hidden=True)],
    "SConv2dLSTM": [lambda: snn.SConv2dLSTM(1, 1, 3, init_hidden=True)],
    "SpikingNeuron": [lambda: ALL["SpikingNeuron"]()],
    "LIF": [lambda: ALL["LIF"](0.8)],
}  # fmt: skip


class Step(nn.Module):
    """One step; the neurons keep their states."""

    def __init__(self, neuron: Any) -> None:
        super().__init__()
        self.first, self.neuron, self.second = dense(INPUTS, NEURONS), neuron, dense(NEURONS, OUTPUTS)
        self.last = snn.Leaky(0.9, init_hidden=True)

    def forward(self, x: torch.Tensor) -> Any:
        sent = self.neuron(self.first(x))
        return self.last(self.second(sent[0] if isinstance(sent, tuple) else sent))


class Sequence(Step):
    """A loop over time, with the states in its hands."""

    def __init__(self, neuron: Any) -> None:
        super().__init__(neuron)
        neuron.init_hidden, neuron.output = False, False
        self.last = snn.Leaky(0.9)

    def forward(self, x: torch.Tensor) -> Any:
        started = self.neuron.reset_mem()
        states, mem, sent = started if isinstance(started, tuple) else (started,), self.last.reset_mem(), []
        for step in x:
            spikes, *states = self.neuron(self.first(step), *states)
            states = [spikes, *states] if type(self.neuron).__name__ in ("RLeaky", "RSynaptic") else states
            out, mem = self.last(self.second(spikes), mem)
            sent.append(out)
        return torch.stack(sent)


def ways(make: Make) -> Iterator[Way]:
    """A step with hidden states, and a loop over time."""
    yield Way("step", Step(make()), "step")
    yield Way("sequence", Sequence(make()), 0)
