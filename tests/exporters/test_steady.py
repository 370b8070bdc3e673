"""Modules that compute something else in a later step are refused by the attribute that changes; logs are not."""

from __future__ import annotations

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import nn

from neurodeploy.cli import main
from neurodeploy.errors import UnsupportedError
from neurodeploy.exporters.export import to_graph
from neurodeploy.verify.export_proof import export_proven


def lif():
    return snn.Leaky(beta=0.9, threshold=0.3, init_hidden=True)


class Child(nn.Module):
    def __init__(self):
        super().__init__()
        self.t = 0

    def forward(self, x):
        self.t += 1
        return x * self.t


class Holder:
    def __init__(self):
        self.t = 0


class Net(nn.Module):
    """``code(self, x)`` in front of a neuron."""

    def __init__(self, code):
        super().__init__()
        torch.manual_seed(0)
        self.code, self.fc, self.lif = code, nn.Linear(6, 5), lif()
        self.t, self.list, self.dict, self.log, self.child = 0, [0], {"a": {"t": 0}}, [], Child()
        self.norms = nn.ModuleList([nn.BatchNorm1d(6) for _ in range(4)])
        self.holder, self.pair, self.last, self.cached = Holder(), (0, "x"), torch.zeros(1, 6), None
        self.register_buffer("count", torch.zeros(1))
        self.register_buffer("mean", torch.zeros(6))
        self.register_buffer("step", torch.tensor(0))
        for index, norm in enumerate(self.norms):
            norm.weight.data.fill_(0.5 + 0.4 * index)

    def forward(self, x):
        return self.lif(self.fc(self.code(self, x)))


def norm_of_the_step(m, x):
    m.t += 1
    return m.norms[(m.t - 1) % 4](x)


def warm_up(steps):
    def code(m, x):
        m.t += 1
        return 0.5 * x if m.t <= steps else x

    return code


def every(period):
    def code(m, x):
        m.t += 1
        return 2 * x if m.t % period == 0 else x

    return code


def in_list(m, x):
    m.list[0] += 1
    return x * m.list[0]


def in_dict(m, x):
    m.dict["a"]["t"] += 1
    return x / m.dict["a"]["t"]


def in_object(m, x):
    m.holder.t += 1
    return x + float(m.holder.t > 2) * x


def in_tuple(m, x):
    m.pair = (m.pair[0] + 1, "x")
    return x * (1 if m.pair[0] < 50 else 3)


def in_buffer(m, x):
    m.count += 1
    return x * m.count


def in_new_buffer(m, x):
    m.step = m.step + 1
    return x * (1 + (m.step > 5))


def running_mean(m, x):
    m.mean.mul_(0.9).add_(0.1 * x.mean(0))
    return x - m.mean


def difference(m, x):
    before, m.last = m.last, x
    return x - before


def largest(m, x):
    m.mean = torch.maximum(m.mean, x.amax(0))
    return x / (1 + m.mean)


def grows(m, x):
    m.log.append(1)
    return x * len(m.log)


REFUSED = {
    "norm of each step": (norm_of_the_step, "t = 1"),
    "warm-up": (warm_up(3), "t = "),
    "late": (warm_up(1000), "t = "),
    "modulo": (every(5), "t = "),
    "child": (lambda m, x: m.child(x), "child.t = "),
    "list": (in_list, "list"),
    "dict": (in_dict, "dict"),
    "object": (in_object, "holder"),
    "tuple": (in_tuple, "pair"),
    "buffer": (in_buffer, "count"),
    "another buffer": (in_new_buffer, "step"),
    "running mean": (running_mean, "mean"),
    "last input": (difference, "last"),
    "largest so far": (largest, "mean"),
    "list that grows": (grows, "log"),
    "noise of NumPy": (lambda m, x: x * float(np.random.rand()), "something outside its attributes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    code, attribute = REFUSED[name]
    module = Net(code)
    with pytest.raises(UnsupportedError, match=f"(?s)time-dependent forward.*found: .*{attribute}.*to do: ") as raised:
        to_graph(module, (6,))
    others = {"t", "list", "dict", "log", "child.t", "holder", "pair", "last", "count", "mean", "step"} - {
        attribute.partition(" ")[0]
    }
    changes = str(raised.value.found).removeprefix("forward changes ").replace(",", " ").split()
    assert not others & set(changes), "names what makes no difference"


def counts(m, x):
    m.t += 1
    m.count += 1
    m.list[0] += 1
    m.dict["a"]["t"] += x.shape[0]
    m.log.append(m.t)
    m.mean.mul_(0.9).add_(0.1 * x.mean(0))
    m.last = x.clone()
    return x


def caches(m, x):
    if m.cached is None:
        m.cached = m.fc.weight.abs().mean()
    return x * m.cached


@pytest.mark.parametrize("code", [counts, lambda m, x: m.norms[0](x)])
def test_what_makes_no_difference_is_let_be(code, tmp_path):
    sample = (np.random.default_rng(0).random((20, 3, 6)) < 0.5).astype(np.uint8)
    for pair in export_proven(Net(code), sample, None, tmp_path / "a.nir").pairs:
        assert pair.verdict == "equal"


def test_what_is_computed_once_is_let_be():
    to_graph(Net(caches), (6,))


def test_states_that_the_module_keeps_for_its_neurons_are_let_be():
    class Explicit(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = nn.Linear(6, 5), snn.Leaky(beta=0.9)
            self.mem = self.lif.init_leaky()
            self.recorded = []

        def forward(self, x):
            spikes, self.mem = self.lif(self.fc(x), self.mem)
            self.recorded.append(self.mem)
            return spikes

    to_graph(Explicit(), (6,))


def test_the_command_says_so(tmp_path, capsys):
    (tmp_path / "m.py").write_text(
        "import torch, snntorch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.fc, self.lif, self.t = torch.nn.Linear(4, 3), snntorch.Leaky(beta=.9, init_hidden=True), 0\n"
        "    def forward(self, x):\n"
        "        self.t += 1\n"
        "        return self.lif(self.fc(x) * self.t)\n"
    )
    out = tmp_path / "net.nir"
    assert main(["export", f"{tmp_path}/m.py:Net", "--shape", "4", "-o", str(out)]) == 2
    error = capsys.readouterr().err
    assert "m.py:8: time-dependent forward: the neuron 'lif' receives something else in step 0" in error
    assert not out.exists()
