"""Parts of modules as users write them: neurons that spike often, a layer, an input."""

from __future__ import annotations

import norse.torch as norse
import numpy as np
import snntorch as snn
import torch
from torch import nn

STEPS, BATCH, INPUTS, NEURONS = 7, 3, 6, 5


class Own(nn.Module):
    """A neuron by the protocol of plain torch."""

    def __init__(self):
        super().__init__()
        self.v = None

    def forward(self, x):
        v = x if self.v is None else 0.9 * self.v + x
        spikes = (v > 0.3).to(x.dtype)
        self.v = v - 0.3 * spikes
        return spikes

    def neurodeploy_neuron(self, shape, dt):
        raise NotImplementedError  # nothing is exported here

    def neurodeploy_potential(self):
        return self.v

    def neurodeploy_reset(self):
        self.v = None


def leaky(**how):
    return snn.Leaky(beta=0.9, threshold=0.3, **how)


def box():
    return norse.LIFBoxCell(norse.LIFBoxParameters(v_th=torch.tensor(0.05)))


def sequence(seed=0, inputs=INPUTS):
    return (np.random.default_rng(seed).random((STEPS, BATCH, inputs)) < 0.5).astype(np.float32) * 2


def dense():
    torch.manual_seed(0)
    return nn.Linear(INPUTS, NEURONS)
