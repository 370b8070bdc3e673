"""Networks of norse that `neurodeploy export` refuses; docs/howto-export-norse.md shows what it says of each."""

import torch
from norse.torch import LIFBoxCell, LIFBoxParameters, LIFCell, LSNNCell, SequentialState


class Loop(torch.nn.Module):
    """A layer of neurons, in a loop over time: `[time, batch, 1, 8, 8]`."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(64, 32)
        self.lif = LIFCell()
        torch.nn.init.uniform_(self.fc.weight, 0.0, 0.2)


class Stops(Loop):
    """Takes no further step where nothing arrives."""

    def forward(self, x):
        state, spikes = None, []
        for step in x.flatten(2):
            if step.sum() == 0:
                break
            z, state = self.lif(self.fc(step), state)
            spikes.append(z)
        return torch.stack(spikes).sum(0)


class Forgets(Loop):
    """Does not hand its state to the next step."""

    def forward(self, x):
        spikes = []
        for step in x.flatten(2):
            z, _ = self.lif(self.fc(step))
            spikes.append(z)
        return torch.stack(spikes).sum(0)


class Adapts(Loop):
    """Has a neuron that the exporter cannot say."""

    def __init__(self):
        super().__init__()
        self.lif = LSNNCell()

    def forward(self, x):
        state, spikes = None, []
        for step in x.flatten(2):
            z, state = self.lif(self.fc(step), state)
            spikes.append(z)
        return torch.stack(spikes).sum(0)


def silent():
    """Never spikes: its threshold is out of reach."""
    return SequentialState(torch.nn.Linear(64, 48), LIFBoxCell(LIFBoxParameters(v_th=torch.tensor(1000.0))))
