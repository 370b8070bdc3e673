"""A spiking convolutional network for the digits: two layers of LIF neurons, rate-coded, read by leaky integrators."""

from __future__ import annotations

import torch
from norse.torch import LIBoxCell, LIBoxParameters, LIFBoxCell, LIFBoxParameters
from torch import nn

from .digits_training import Settings
from .layers import named, scaled
from .registry import Model

SETTINGS = Settings(steps=16, encoder="rate", epochs=20, learning_rate=3e-2)

TAU = 5e-3
"""Membrane time constant of the spiking neurons in seconds."""

TAU_READOUT = 10e-3
"""Membrane time constant of the read-out in seconds."""


def build() -> nn.Module:
    """The untrained network, always with the same weights; a step is ``[batch, 1, 8, 8] -> [batch, 10]`` potentials."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return named(
            conv1=scaled(nn.Conv2d(1, 8, 3, padding=1), 5.0),
            lif1=_neurons(),
            pool1=nn.AvgPool2d(2),
            conv2=scaled(nn.Conv2d(8, 16, 3, padding=1), 10.0),
            lif2=_neurons(),
            pool2=nn.AvgPool2d(2),
            flatten=nn.Flatten(),
            dense=scaled(nn.Linear(64, 10), 5.0),
            readout=LIBoxCell(LIBoxParameters(tau_mem_inv=torch.tensor(1 / TAU_READOUT)), dt=SETTINGS.dt),
        )


def _neurons() -> nn.Module:
    # Backwards, the spike's derivative is 1 - tanh(2 (v - v_th))^2.
    parameters = LIFBoxParameters(tau_mem_inv=torch.tensor(1 / TAU), method="tanh", alpha=torch.tensor(2.0))
    return LIFBoxCell(parameters, dt=SETTINGS.dt)  # type: ignore[no-any-return]


MODEL = Model(
    name="digits-conv",
    description="spiking convolutional network, rate-coded digits, 16 steps, read by leaky integrators",
    build=build,
    settings=SETTINGS,
    target=0.96,
)
