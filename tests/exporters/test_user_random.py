"""Random numbers of modules run as their users run them: the same in every precision."""

from __future__ import annotations

import norse.torch as norse
import numpy as np
import pytest
import torch
from snntorch import spikegen
from torch import nn
from torch.nn import functional as F

from neurodeploy.errors import UnsupportedError
from neurodeploy.exporters.usage import Usage
from neurodeploy.exporters.user_run import run_user
from tests.exporters.user_parts import BATCH, INPUTS, STEPS, box, dense


def spread(x):
    """Draws of several kinds, some that depend on values."""
    made = [torch.rand(x.shape), torch.rand_like(x), torch.empty_like(x).uniform_(), torch.randn(3, 4)]
    made += [torch.empty(x.shape).bernoulli_(0.3), torch.poisson(x), torch.normal(x, 1.0)]
    made += [torch.randint(0, 9, (4,)), torch.randperm(6), torch.multinomial(x.flatten() + 0.1, 4)]
    made += [torch.rand(4, generator=torch.Generator().manual_seed(3))]
    return torch.cat([one.flatten().to(x.dtype) for one in made])


RANDOM = {
    "torch.bernoulli": lambda x: torch.bernoulli(x),
    "torch.rand": lambda x: (torch.rand(STEPS, *x.shape) < x).float(),
    "torch.rand_like": lambda x: (torch.rand_like(x) < x).to(x.dtype),
    "spikegen.rate": lambda x: spikegen.rate(x, num_steps=STEPS),
    "norse": norse.PoissonEncoder(seq_length=STEPS, f_max=500),
    "dropout": lambda x: F.dropout(x, 0.5, training=True),
    "generator": lambda x: torch.bernoulli(x, generator=torch.Generator().manual_seed(7)),
    "numpy": lambda x: x * torch.from_numpy(np.random.random(x.shape)).to(x.dtype),
    "many": spread,
}


class Encoded(nn.Module):
    def __init__(self, encode):
        super().__init__()
        self.encode, self.fc, self.lif = encode, dense(), box()

    def forward(self, x):
        drawn, memory, spikes = self.encode(x), None, []
        for _ in range(STEPS):
            z, memory = self.lif(self.fc((torch.rand_like(x) < x).to(x.dtype)), memory)
            spikes.append(z)
        return drawn, torch.stack(spikes)


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_random_numbers_are_those_of_the_module_in_both_types(name, dtype):
    x = torch.rand(BATCH, INPUTS, generator=torch.Generator().manual_seed(2)).to(dtype)
    usage = Usage("none", STEPS, BATCH)
    net = Encoded(RANDOM[name]).to(dtype).eval()
    own = run_user(net, x.float().numpy(), usage, seed=5)
    torch.manual_seed(5)
    np.random.seed(5)
    with torch.no_grad():
        theirs = net(x)
    wide = run_user(net, x.float().numpy(), usage, torch.float64, seed=5)
    for ours, value, double in zip(own.returned, theirs, wide.returned, strict=True):
        np.testing.assert_array_equal(ours, value.float().numpy())
        assert double.dtype == np.float64 or not np.issubdtype(double.dtype, np.floating)
        if name in ("many", "numpy"):  # which round what they draw to the module's type
            np.testing.assert_allclose(double, ours, rtol=torch.finfo(dtype).eps)
        else:
            np.testing.assert_array_equal(double, ours)
    assert (run_user(net, x.float().numpy(), usage, seed=6).returned[1] != own.returned[1]).any()


def test_random_numbers_that_depend_on_the_precision_are_refused():
    class Net(Encoded):
        def forward(self, x):
            if x.dtype == torch.float64:
                torch.rand(3)
            return super().forward(x)

    usage = Usage("none", STEPS, BATCH)
    with pytest.raises(UnsupportedError, match="forward draws other random numbers in float64"):
        run_user(Net(torch.bernoulli), np.full((BATCH, INPUTS), 0.5, np.float32), usage, torch.float64)
