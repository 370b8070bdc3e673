"""A spiking perceptron for the digits: 64 - 128 - 10 neurons (LIF), rate-coded, read by counting spikes."""

from __future__ import annotations

import torch
from norse.torch import LIFBoxCell, LIFBoxParameters
from torch import nn

from .digits_training import Settings
from .layers import named, scaled
from .registry import Model

SETTINGS = Settings(steps=16, encoder="rate", epochs=30, learning_rate=1e-2)

TAU = 5e-3
"""Membrane time constant in seconds."""


def build() -> nn.Module:
    """The untrained network, always with the same weights; a step is ``[batch, 1, 8, 8] -> [batch, 10]`` spikes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return named(
            flatten=nn.Flatten(),
            dense1=scaled(nn.Linear(64, 128), 3.0),
            lif1=_neurons(),
            dense2=scaled(nn.Linear(128, 10), 4.0),
            lif2=_neurons(),
        )


def _neurons() -> nn.Module:
    # Backwards, the spike's derivative is 1 - tanh(2 (v - v_th))^2.
    parameters = LIFBoxParameters(tau_mem_inv=torch.tensor(1 / TAU), method="tanh", alpha=torch.tensor(2.0))
    return LIFBoxCell(parameters, dt=SETTINGS.dt)  # type: ignore[no-any-return]


MODEL = Model(
    name="digits-mlp",
    description="spiking perceptron 64-128-10, rate-coded digits, 16 steps, read by spike counts",
    build=build,
    settings=SETTINGS,
    target=0.95,
)
