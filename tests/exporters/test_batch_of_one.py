"""A sample with a batch of one: a single step, or samples taken for steps, are no reading of its time."""

from __future__ import annotations

import norse.torch as norse
import numpy as np
import pytest
import sinabs.layers as sl
import snntorch as snn
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from neurodeploy.exporters import framework
from neurodeploy.exporters.sequence.capture import find_axis


def multi_step():
    net = nn.Sequential(layer.Linear(6, 5), neuron.LIFNode())
    functional.set_step_mode(net, "m")
    return net


class Loop(nn.Module):
    def __init__(self, axis):
        super().__init__()
        self.fc, self.lif, self.axis = nn.Linear(6, 5), snn.Leaky(beta=0.9), axis

    def forward(self, x):
        mem, sent = self.lif.init_leaky(), []
        for step in x.unbind(self.axis):
            spk, mem = self.lif(self.fc(step), mem)
            sent.append(spk)
        return torch.stack(sent, self.axis)


ONE = {
    "SpikingJelly": (lambda: nn.Sequential(nn.Linear(6, 5), neuron.LIFNode()), "step"),
    "SpikingJelly, m": (multi_step, 0),
    "snnTorch": (lambda: nn.Sequential(nn.Linear(6, 5), snn.Leaky(beta=0.9, init_hidden=True)), "step"),
    "norse": (lambda: norse.SequentialState(nn.Linear(6, 5), norse.LIFBoxCell()), "step"),
    "loop, 0": (lambda: Loop(0), 0),
    "loop, 1": (lambda: Loop(1), 1),
    "sinabs": (lambda: nn.Sequential(nn.Linear(6, 5), sl.LIF(tau_mem=5.0)), 1),
}


@pytest.mark.parametrize("name", ONE)
def test_a_batch_of_one(name):
    make, axis = ONE[name]
    torch.manual_seed(0)
    module = make()
    x = (np.random.default_rng(0).random((7, 1, 6)) < 0.5).astype(np.float32)
    assert find_axis(module, np.swapaxes(x, 0, 1) if axis == 1 else x, framework.of(module)) == axis
