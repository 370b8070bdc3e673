"""Networks of snnTorch that `neurodeploy export` refuses; docs/howto-export-snntorch.md shows what it says of each."""

import snntorch as snn
import torch
from torch import nn

num_steps = 6


class Clamps(nn.Module):
    """Bounds a membrane between two steps."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(64, 10), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, spikes = self.lif.init_leaky(), []
        for _ in range(num_steps):
            spk, mem = self.lif(self.fc(x), mem)
            mem = mem.clamp(min=-1.0)
            spikes.append(spk)
        return torch.stack(spikes)


class Forgets(nn.Module):
    """Makes its state anew in every step."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(64, 10), snn.Leaky(beta=0.9)

    def forward(self, x):
        spikes = []
        for _ in range(num_steps):
            mem = self.lif.init_leaky()
            spk, mem = self.lif(self.fc(x), mem)
            spikes.append(spk)
        return torch.stack(spikes)


class Norms(nn.Module):
    """Has a normalisation of its own for each step."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(64, 10), snn.Leaky(beta=0.9)
        self.norms = nn.ModuleList(nn.BatchNorm1d(10) for _ in range(num_steps))
        for norm in self.norms:
            nn.init.normal_(norm.weight)  # as training leaves them: no two alike

    def forward(self, x):
        mem, spikes = self.lif.init_leaky(), []
        for norm in self.norms:
            spk, mem = self.lif(norm(self.fc(x)), mem)
            spikes.append(spk)
        return torch.stack(spikes)


class Listens(nn.Module):
    """Hands a membrane to the next layer, not the spikes."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(64, 32), snn.Leaky(beta=0.9)
        self.fc2, self.lif2 = nn.Linear(32, 10), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem1, mem2, spikes = self.lif1.init_leaky(), self.lif2.init_leaky(), []
        for _ in range(num_steps):
            _, mem1 = self.lif1(self.fc1(x), mem1)
            spk, mem2 = self.lif2(self.fc2(mem1), mem2)
            spikes.append(spk)
        return torch.stack(spikes)
