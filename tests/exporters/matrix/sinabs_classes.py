"""sinabs's layers on ``[batch, time, ...]``, and those that squeeze batch and time into one dimension."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from sinabs import activation as sa
from sinabs import layers as sl
from torch import nn

from .classes import BATCH, INPUTS, NEURONS, OUTPUTS, Make, Way, dense, modules_in

ALL = modules_in("sinabs.layers")
"""Every module class of sinabs's layers."""

NOT_NEURONS = frozenset(
    [
        "ChannelShift",
        "Cropping2dLayer",
        "FlattenTime",
        "Img2SpikeLayer",
        "Merge",
        "NeuromorphicReLU",
        "QuantizeLayer",
        "Repeat",
        "Sig2SpikeLayer",
        "SpikingMaxPooling2dLayer",
        "StatefulLayer",
        "SumPool2d",
        "UnflattenTime",
    ]
)
"""Layers without a state, and base classes."""

REPLACED = [
    {"spike_fn": spike, "reset_fn": reset()}
    for spike in (sa.SingleSpike, sa.MultiSpike, sa.MaxSpike(2)) for reset in (sa.MembraneSubtract, sa.MembraneReset)
]  # fmt: skip


def each(low: float, high: float) -> torch.Tensor:
    """Another value for each neuron."""
    return torch.linspace(low, high, NEURONS)


def back() -> nn.Module:
    """A recurrent connection."""
    return dense(NEURONS, NEURONS, 0.5)


SQUEEZED = {"batch_size": BATCH}
ADAPTS = {"tau_mem": 8.0, "tau_adapt": 12.0, "adapt_scale": 1.2}

SETS: dict[str, list[Make]] = {
    "IAF": [
        *(lambda more=more: sl.IAF(**more) for more in REPLACED), lambda: sl.IAF(spike_threshold=0.7, min_v_mem=-1.0)
    ],
    "LIF": [
        *(lambda more=more: sl.LIF(tau_mem=8.0, norm_input=False, **more) for more in REPLACED),
        lambda: sl.LIF(tau_mem=8.0, spike_threshold=0.3), lambda: sl.LIF(tau_mem=each(3, 30), norm_input=False),
        lambda: sl.LIF(tau_mem=8.0, tau_syn=4.0, spike_threshold=0.5),
        lambda: sl.LIF(tau_mem=8.0, min_v_mem=-0.5, train_alphas=True, norm_input=False),
    ],
    "ExpLeak": [lambda: sl.ExpLeak(tau_mem=8.0), lambda: sl.ExpLeak(tau_mem=each(3, 30), norm_input=False)],
    "ALIF": [lambda: sl.ALIF(**ADAPTS), lambda: sl.ALIF(**ADAPTS, spike_threshold=0.3, norm_input=False)],
    "IAFRecurrent": [lambda: sl.IAFRecurrent(back()), lambda: sl.IAFRecurrent(nn.Identity(), spike_threshold=0.8)],
    "LIFRecurrent": [
        lambda: sl.LIFRecurrent(8.0, back(), norm_input=False),
        lambda: sl.LIFRecurrent(8.0, back(), spike_threshold=0.3),
    ],
    "ALIFRecurrent": [lambda: sl.ALIFRecurrent(**ADAPTS, rec_connect=back())],
    "IAFSqueeze": [lambda: sl.IAFSqueeze(**SQUEEZED), lambda: sl.IAFSqueeze(**SQUEEZED, min_v_mem=-1.0)],
    "LIFSqueeze": [lambda: sl.LIFSqueeze(tau_mem=8.0, norm_input=False, **SQUEEZED)],
    "ALIFSqueeze": [lambda: ALL["ALIFSqueeze"](**ADAPTS, **SQUEEZED)],
    "ExpLeakSqueeze": [lambda: sl.ExpLeakSqueeze(tau_mem=8.0, **SQUEEZED)],
}  # fmt: skip


def ways(make: Make) -> Iterator[Way]:
    """A network on sequences; squeezing layers on a flat batch."""
    if isinstance(make(), sl.SqueezeMixin):
        last: nn.Module = sl.IAFSqueeze(batch_size=BATCH)
        yield Way("sequence", nn.Sequential(dense(INPUTS, NEURONS), make(), dense(NEURONS, OUTPUTS), last), "flat")
        return
    yield Way("sequence", nn.Sequential(dense(INPUTS, NEURONS), make(), dense(NEURONS, OUTPUTS), sl.IAF()), 1)
