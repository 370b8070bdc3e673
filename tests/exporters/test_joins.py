"""Max pooling, and products of spikes: exact as thresholds; the largest of currents in front of a neuron alone."""

from __future__ import annotations

import copy
import random
from itertools import product
from pathlib import Path

import nir
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from neurodeploy.backends.reference.run import run_network
from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.errors import UnsupportedError
from neurodeploy.exporters.ann.ann import convert
from neurodeploy.exporters.ann.torch_ann import from_torch
from neurodeploy.exporters.export import to_graph
from neurodeploy.exporters.torch_step.truth import Atom, Table, polynomial, reduced, separated, together
from neurodeploy.exporters.torch_step.windows import windows
from neurodeploy.exporters.write_nir import write
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.network.compose import spatial
from neurodeploy.nir_graph import interpreter, nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.verify.export_proof import export_proven

spikingjelly = pytest.importorskip("spikingjelly")
from spikingjelly.activation_based import functional, layer, neuron  # noqa: E402

IMAGE = (2, 6, 6)


class Net(nn.Module):
    """Two layers of spikes, and code that joins them in front of a last neuron; one step a call."""

    def __init__(self, code, shape=IMAGE, seed: int = 0, **parts: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.code = code
        make = {1: lambda: nn.Linear(shape[0], shape[0]), 2: lambda: nn.Conv1d(shape[0], shape[0], 3, padding=1),
                3: lambda: nn.Conv2d(shape[0], shape[0], 3, padding=1)}[len(shape)]  # fmt: skip
        self.in1, self.in2 = make(), make()
        self.n1, self.n2, self.n3, self.out = (neuron.LIFNode(tau=1.5, v_threshold=0.6) for _ in range(4))
        for name, part in parts.items():
            setattr(self, name, copy.deepcopy(part))
        for module in self.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        for parameter in self.parameters():
            parameter.data = parameter.data * 3 + 0.05

    def forward(self, x):
        return self.out(self.code(self, self.n1(self.in1(x)), self.n2(self.in2(x))))


class Whole(nn.Module):
    """The same over a sequence ``[time, batch, *shape]``."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x):
        functional.reset_net(self.net)
        return torch.stack([self.net(step) for step in x]).mean(0)


def frames(shape, steps=6, batch=2) -> np.ndarray:
    return (np.random.default_rng(0).random((steps, batch, *shape)) < 0.5).astype(np.float32)


def lively(code, shape: tuple[int, ...], parts) -> Net:
    """Of the first seed with which the last neuron sends spikes, and not always."""
    for seed in range(20):
        net = Net(code, shape, seed, **parts).eval()
        with torch.no_grad():
            sent = torch.stack([net(torch.from_numpy(step)) for step in frames(shape)])
        functional.reset_net(net)
        if 0.02 < float(sent.mean()) < 0.98:
            return net
    raise AssertionError("no lively network")


def as_interpreted(net: nn.Module, shape: tuple[int, ...], folder: Path) -> list[str]:
    """Compare the step's graph, read back, with torch; the types of its nodes."""
    graph = to_graph(net.eval().double(), shape)
    write(graph, folder / "net.nir")
    file, x = nir_file.read(folder / "net.nir"), frames(shape)
    functional.reset_net(net)
    wanted = np.stack([net(torch.from_numpy(step).double()).detach().numpy() for step in x])
    found = interpreter.run(file, {"": x}, resolve(file)).spikes["out"].dense()
    np.testing.assert_array_equal(found, wanted.reshape(found.shape))
    assert 0 < found.mean() < 1, "spikes and silence"
    return [type(node).__name__ for node in graph.nodes.values()]


def conv(inside=2, outside=3, kernel=3, **more):
    return nn.Conv2d(inside, outside, kernel, **more)


SPIKES = {
    "max_pool2d": (lambda m, a, b: m.a(F.max_pool2d(a, 2)), IMAGE, {"a": conv(padding=1)}),
    "overlapping windows": (lambda m, a, b: m.a(F.max_pool2d(a, 3, 2, 1)), IMAGE, {"a": conv(padding=1)}),
    "max_pool1d": (lambda m, a, b: m.a(F.max_pool1d(a, 2)), (3, 8), {"a": nn.Conv1d(3, 3, 3)}),
    "adaptive": (
        lambda m, a, b: m.a(F.adaptive_max_pool2d(a, 4)), IMAGE, {"a": nn.Sequential(nn.Flatten(), nn.Linear(32, 4))}
    ),
    "global": (lambda m, a, b: m.a(a.amax((2, 3))), IMAGE, {"a": nn.Linear(2, 5)}),
    "over channels": (lambda m, a, b: m.a(a.max(1, keepdim=True)[0]), IMAGE, {"a": conv(1)}),
    "of a sum": (lambda m, a, b: m.a(F.max_pool2d(a + b, 2)), IMAGE, {"a": conv()}),
    "of averages": (lambda m, a, b: m.a(F.max_pool2d(F.avg_pool2d(a, 2), 2)), IMAGE, {"a": conv(kernel=1)}),
    "of a concatenation": (lambda m, a, b: m.a(F.max_pool2d(torch.cat([a, b], 1), 2)), IMAGE, {"a": conv(4)}),
    "erosion": (lambda m, a, b: m.a(1 + F.max_pool2d(-a, 2)), IMAGE, {"a": conv(padding=1)}),
    "twice": (lambda m, a, b: m.a(F.max_pool2d(F.max_pool2d(a, 2, 1), 2, 1)), IMAGE, {"a": conv()}),
    "AND": (lambda m, a, b: m.a(a * b), IMAGE, {"a": conv()}),
    "IAND": (lambda m, a, b: m.a((1.0 - a) * b), IMAGE, {"a": conv()}),
    "IAND of its mirror image": (lambda m, a, b: m.a(a * (1 - a.flip(3))), IMAGE, {"a": conv()}),
    "IAND of a matrix": (lambda m, a, b: m.a(b * (1 - a.roll(2, 1))), (5,), {"a": nn.Linear(5, 4)}),
    "NOT of a crop": (lambda m, a, b: m.a(1 - a[:, :, 1:, :-1]), IMAGE, {"a": conv(padding=1)}),
    "an image and a matrix of it": (lambda m, a, b: torch.lerp(a, a.roll(1, 2), 0.3), IMAGE, {}),
    "OR": (lambda m, a, b: m.a(a + b - a * b), IMAGE, {"a": conv()}),
    "XOR": (lambda m, a, b: m.a((a.bool() ^ b.bool()).to(a.dtype)), IMAGE, {"a": conv()}),
    "NOT": (lambda m, a, b: m.a(1 - a), IMAGE, {"a": conv(padding=1)}),
    "clamped sum": (lambda m, a, b: m.a(torch.clamp(a + b, max=1)), (5,), {"a": nn.Linear(5, 4)}),
    "compared sum": (lambda m, a, b: m.a((a + b > 0).to(a.dtype)), (5,), {"a": nn.Linear(5, 4)}),
    "where": (lambda m, a, b: m.a(torch.where(a > 0, b, torch.zeros_like(b))), (5,), {"a": nn.Linear(5, 4)}),
    "three": (lambda m, a, b: m.a(a * b.logical_not() * m.n3(m.in1(b))), (5,), {"a": nn.Linear(5, 4)}),
    "halves": (lambda m, a, b: m.a(6 * torch.maximum(0.5 * a, 0.5 * b)), (5,), {"a": nn.Linear(5, 4)}),
    "in place": (lambda m, a, b: m.a(a.clone().mul_(b)), (5,), {"a": nn.Linear(5, 4)}),
    "a gate for each channel": (
        lambda m, a, b: m.a(a * m.n3(m.gate(b))[:, :, None, None]), IMAGE,
        {"gate": nn.Sequential(nn.Flatten(), nn.Linear(72, 2)), "a": conv()},
    ),
    "a mask": (lambda m, a, b: m.a(a * b.amax(1, keepdim=True)), IMAGE, {"a": conv()}),
}  # fmt: skip
AFFINE = ("NOT", "NOT of a crop", "an image and a matrix of it")
CURRENTS = {
    "conv": (lambda m, a, b: F.max_pool2d(m.a(a), 2), IMAGE, {"a": conv()}),
    "conv, norm behind": (
        lambda m, a, b: m.bn(F.max_pool2d(m.a(a), 3, 2, 1)), IMAGE, {"a": conv(), "bn": nn.BatchNorm2d(3)}
    ),
    "scaled": (lambda m, a, b: 1.7 * F.max_pool2d(m.a(a), 2) / 2, IMAGE, {"a": conv()}),
    "beside a current": (
        lambda m, a, b: F.max_pool2d(m.a(a), 2) + m.b(b), IMAGE, {"a": conv(), "b": conv(kernel=2, stride=3)}
    ),
    "flattened": (lambda m, a, b: F.max_pool2d(m.a(a), 2).flatten(1), IMAGE, {"a": conv()}),
    "of averages": (lambda m, a, b: F.max_pool2d(F.avg_pool2d(m.a(a), 2), 2), IMAGE, {"a": conv()}),
    "of three layers": (
        lambda m, a, b: torch.maximum(torch.maximum(m.a(a), m.b(b)), m.c(a)), IMAGE,
        {"a": conv(), "b": conv(), "c": conv()},
    ),
    "of two": (lambda m, a, b: torch.max(m.a(a), m.b(b)), IMAGE, {"a": conv(), "b": conv()}),
    "maxout": (lambda m, a, b: m.a(a).view(-1, 3, 4).amax(2), (5,), {"a": nn.Linear(5, 12)}),
    "line": (lambda m, a, b: F.max_pool1d(m.a(a), 3, 2, 1), (3, 8), {"a": nn.Conv1d(3, 3, 3)}),
}  # fmt: skip
REFUSED = {
    "in front of weights": (lambda m, a, b: m.b(F.max_pool2d(m.a(a), 2)), "not directly in front of a neuron"),
    "made a minimum": (lambda m, a, b: -F.max_pool2d(m.a(a), 2), "multiplies it by -1"),
    "a gate on a current": (lambda m, a, b: m.a(a) * a[:, :1, 2:, 2:], "one does not send binary spikes|slice"),
    "a gated current": (lambda m, a, b: m.a(a) * m.a(b), "one does not send binary spikes"),
    "positions": (lambda m, a, b: m.a(a.max(1, keepdim=True)[1].to(a.dtype).expand(-1, 2, -1, -1)), "the positions of"),
    "the batch": (lambda m, a, b: m.a(a * a.amax(0, keepdim=True)), "over the samples of a batch"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPIKES)
def test_joins_of_spikes_are_thresholds(name, tmp_path: Path) -> None:
    code, shape, parts = SPIKES[name]
    kinds = as_interpreted(lively(code, shape, parts), shape, tmp_path)
    assert "Max" not in kinds
    assert ("Threshold" in kinds) == (name not in AFFINE)


@pytest.mark.parametrize("name", ["of a sum", "compared sum", "a gate for each channel"])
def test_joins_of_spikes_in_a_whole_sequence(name, tmp_path: Path) -> None:
    code, shape, parts = SPIKES[name]
    exported = export_proven(Whole(lively(code, shape, parts)).eval(), frames(shape), None, tmp_path / "net.nir")
    assert all(pair.equal for pair in exported.pairs)


@pytest.mark.parametrize("name", CURRENTS)
def test_the_largest_of_currents_is_a_node(name, tmp_path: Path) -> None:
    code, shape, parts = CURRENTS[name]
    kinds = as_interpreted(lively(code, shape, parts), shape, tmp_path)
    assert kinds.count("Max") == 1
    assert "Threshold" not in kinds


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name) -> None:
    code, message = REFUSED[name]
    with pytest.raises(UnsupportedError, match=message):
        to_graph(Net(code, a=conv(2, 2), b=conv(2, 2, 1)).eval(), IMAGE)


def test_the_largest_of_the_input_is_preprocessing() -> None:
    net = nn.Sequential(nn.MaxPool2d(2), conv(), neuron.IFNode()).eval()
    with pytest.raises(UnsupportedError, match=r"the largest values of the input\n.*\n.*\n.*pool the frames before"):
        to_graph(net, IMAGE)


def test_the_largest_of_filtered_currents_is_refused() -> None:
    snn = pytest.importorskip("snntorch")
    net = nn.Sequential(conv(), nn.MaxPool2d(2), snn.Synaptic(alpha=0.5, beta=0.8, init_hidden=True)).eval()
    with pytest.raises(UnsupportedError, match="the maximum of filtered"):
        to_graph(net, IMAGE)


BACK = {
    "the largest current": lambda m, now, z, y: torch.max(3 * m.first(now), m.back(z)),
    "any spike": lambda m, now, z, y: 3 * m.first(now) - z.amax(1, keepdim=True),
    "more than two": lambda m, now, z, y: 3 * m.first(now) - (z.sum(1, keepdim=True) > 2).to(z.dtype),
    "pooled": lambda m, now, z, y: 3 * m.first(now) - F.max_pool1d(z, 2, 1, 1)[:, :4],
    "neighbours": lambda m, now, z, y: 3 * m.first(now) - z * z.roll(1, 1),
    "weights behind": lambda m, now, z, y: 3 * m.first(now) + m.back(z * z.roll(1, 1)),
    "two steps ago": lambda m, now, z, y: 3 * m.first(now) - y * y.roll(1, 1),
    "of two steps": lambda m, now, z, y: 3 * m.first(now) - z * y,
    "twice": lambda m, now, z, y: 3 * m.first(now) - z * y + m.back(y.amax(1, keepdim=True).expand(-1, 4)),
}


class Back(nn.Module):
    """What a layer sent one or two steps before comes back through a join, [time, batch, 5]."""

    def __init__(self, code) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.code = code
        self.first, self.back, self.lif = nn.Linear(5, 4), nn.Linear(4, 4), neuron.LIFNode(tau=1.5, v_threshold=0.3)

    def forward(self, x):
        functional.reset_net(self.lif)
        before = sent = torch.zeros(x.shape[1], 4, dtype=x.dtype)
        out = []
        for now in x:
            before, sent = sent, self.lif(self.code(self, now, sent, before))
            out.append(sent)
        return torch.stack(out)


@pytest.mark.parametrize("name", BACK)
def test_spikes_come_back_through_a_join(name, tmp_path: Path) -> None:
    made = export_proven(
        Back(BACK[name]).eval(), frames((5,), steps=9, batch=4), None, tmp_path / "net.nir", time_axis=0
    )
    assert all(pair.equal for pair in made.pairs)
    assert {"Max", "Threshold"} & {type(node).__name__ for node in made.captured.graph.nodes.values()}


def test_multi_step_layers_and_pooling_behind_the_last_neuron(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(layer.Conv2d(2, 4, 3, padding=1), neuron.IFNode(), layer.MaxPool2d(2), layer.Conv2d(4, 4, 3),
                        neuron.IFNode(v_threshold=0.3), layer.MaxPool2d(2, 1)).eval()  # fmt: skip
    for parameter in net.parameters():
        parameter.data *= 3
    functional.set_step_mode(net, "m")
    exported = export_proven(net, frames((2, 8, 8)), None, tmp_path / "net.nir")
    assert all(pair.equal for pair in exported.pairs)
    graph = exported.captured.graph
    assert isinstance(graph.nodes["2"], nir.Threshold), "named after the pooling module"


@pytest.mark.parametrize("chip", ["loihi1"])
def test_integers_keep_the_joins_exact(chip, tmp_path: Path) -> None:
    def code(m, a, b):
        return m.a(F.max_pool2d(a, 3, 1, 1) * (1 - b)) + m.b(a * b)

    net = Whole(Net(code, a=conv(2, 2), b=conv(2, 2))).eval()
    x = frames(IMAGE, steps=20, batch=3)
    graph = export_proven(net, x, None, tmp_path / "net.nir").captured.graph
    names = [name for name, node in graph.nodes.items() if isinstance(node, nir.Threshold)]
    program = compile(tmp_path / "net.nir", load_architecture(chip), CompileOptions(calibration={"": x})).program
    spikes = {n: s.dense().reshape(20, 3, -1) for n, s in run_network(program.network, {"": x}).spikes.items()}
    a, b = (spikes[f"net.{n}"].reshape(60, *IMAGE) for n in ("n1", "n2"))
    pooled = F.max_pool2d(torch.from_numpy(a).double(), 3, 1, 1).numpy()
    wanted = {"max": pooled, "IAND": pooled * (1 - b), "AND": a * b}
    assert len(names) == 3
    for name in names:
        matching = [key for key, w in wanted.items() if np.array_equal(w.reshape(20, 3, -1), spikes[name])]
        assert matching, name
        assert spikes[name].any()


def test_conversion_puts_pools_in_front_of_the_neurons() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.MaxPool2d(2, 1), nn.Flatten(), nn.Linear(12, 4)
    )
    x = np.random.default_rng(0).random((40, 1, 8, 8))
    graph = convert(from_torch(net.eval(), (1, 8, 8)), x)
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    (largest,) = (name for name, kind in kinds.items() if kind == "Max")
    assert {kinds[b] for a, b in graph.edges if a == largest} == {"IF"}
    assert {kinds[a] for a, b in graph.edges if b == largest} == {"Conv2d"}
    with pytest.raises(UnsupportedError, match="the largest values of the input"):
        from_torch(nn.Sequential(nn.MaxPool2d(2), *net).eval(), (1, 18, 18))
    with pytest.raises(UnsupportedError, match="no ReLU stands beside it"):
        from_torch(nn.Sequential(nn.Conv2d(1, 1, 3), nn.MaxPool2d(2), nn.Conv2d(1, 1, 3)).eval(), (1, 8, 8))


def test_random_windows_are_torchs() -> None:
    rng = random.Random(0)
    for _ in range(150):
        rank = rng.choice([1, 2, 2, 3])
        sides = [rng.randint(3, 7) for _ in range(rank)]
        kernel = [rng.randint(1, 3) for _ in range(rank)]
        dilation = [rng.randint(1, 2) for _ in range(rank)]
        if any(d * (k - 1) + 1 > n for n, k, d in zip(sides, kernel, dilation, strict=True)):
            continue
        padding = [rng.randint(0, k // 2) for k in kernel]
        stride = rng.choice([[], [rng.randint(1, 3) for _ in range(rank)]])
        given = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation,
                 "ceil_mode": rng.random() < 0.5}  # fmt: skip
        x = torch.randn(1, 2, *sides, dtype=torch.float64)
        name = f"max_pool{rank}d"
        if rng.random() < 0.2:
            given = {"output_size": [rng.randint(1, n) for n in sides]}
            name = f"adaptive_{name}"
        made = getattr(F, name)(x, *([given["output_size"]] if "output_size" in given else []),
                                **{k: v for k, v in given.items() if k != "output_size"})  # fmt: skip
        over = windows(f"aten.{name}", given, (2, *sides), tuple(made.shape[1:]))
        padded = np.append(x.numpy().reshape(-1), -np.inf)
        np.testing.assert_array_equal(padded[over.index].max(-1), made[0].numpy(), err_msg=str(given))
        summing = over.summing()
        if summing is not None:
            sums = spatial(summing, (2, *sides)).apply(x.numpy().reshape(1, -1))
            zeroed = np.append(x.numpy().reshape(-1), 0)
            np.testing.assert_allclose(sums.reshape(made.shape[1:]), zeroed[over.index].sum(-1), atol=1e-12)


def test_random_functions_of_spikes() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 4, 5):
        inputs = np.array(list(product((0, 1), repeat=count)))
        for _ in range(30):
            values = torch.from_numpy(rng.integers(0, 2, [2] * count).astype(float))
            terms = polynomial(values)
            again = [sum(c * all(row[p] for p in places) for places, c in terms.items()) for row in inputs]
            np.testing.assert_allclose(again, values.reshape(-1).numpy(), atol=1e-12)
            found = separated(values)
            if found is not None:
                above = inputs @ np.array(found[0]) > found[1]
                np.testing.assert_array_equal(above, values.reshape(-1).numpy() > 0.5)
            elif count == 2:  # all of two inputs but XOR, its opposite and constants are thresholds
                assert values.sum() in (0, 4) or values[0, 0] == values[1, 1] != values[0, 1]
    x, y = (Atom(((name, 1.0),), 1.0, (3,)) for name in "xy")
    one = Table((y, x), torch.tensor([[0.0, 1], [2, 3]]), (3,))
    atoms, (first, second) = together([Table((x,), torch.tensor([5.0, 6]), (3,)), one])
    assert atoms == (x, y)
    assert first.tolist() == [[5, 5], [6, 6]]
    assert second.tolist() == [[0, 2], [1, 3]], "x changes the value by 1, y by 2"
    assert reduced(Table(atoms, first, (3,))).atoms == (x,)
