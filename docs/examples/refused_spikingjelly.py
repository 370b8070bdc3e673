"""Networks of SpikingJelly that `neurodeploy export` refuses; docs/howto-export-spikingjelly.md shows what it says."""

import torch
from spikingjelly.activation_based import functional, layer, neuron

T = 6


class Gates(torch.nn.Module):
    """Multiplies spikes with what a layer without neurons sends."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = layer.Linear(64, 32), neuron.LIFNode()
        self.fc2 = layer.Linear(64, 32)
        self.fc3, self.lif3 = layer.Linear(32, 10), neuron.LIFNode()
        functional.set_step_mode(self, step_mode="m")

    def forward(self, x):
        x_seq = x.flatten(1).unsqueeze(0).repeat(T, 1, 1)
        gated = self.lif1(self.fc1(x_seq)) * self.fc2(x_seq)
        return self.lif3(self.fc3(gated)).mean(0)


class Pauses(torch.nn.Module):
    """Calls its second layer in every other step."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = layer.Linear(64, 32), neuron.LIFNode()
        self.fc2, self.lif2 = layer.Linear(32, 10), neuron.LIFNode()

    def forward(self, x):
        sent = []
        for t in range(T):
            spikes = self.lif1(self.fc1(x.flatten(1)))
            if t % 2 == 0:
                sent.append(self.lif2(self.fc2(spikes)))
        return torch.stack(sent).mean(0)
