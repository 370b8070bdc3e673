"""ORRC + SynA: equations written out a second time, the authors' recordings, counts, binary inputs, energies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neurodeploy.models.neurons import Lif
from neurodeploy.models.orrc import energy, published
from neurodeploy.models.orrc.layers import Inhibitory, Kind, Logits, Multidimensional, Or
from neurodeploy.models.orrc.network import OrrcResNet, Shape, gate_rates
from neurodeploy.models.orrc.system import SYSTEM
from neurodeploy.models.system import parameters

from . import golden

SMALL = Shape(widths=(4, 6, 8), steps=4, inputs=1, units=2)
KINDS: tuple[Kind, ...] = ("temporal", "channel", "spatial")


def lively(shape: Shape, seed: int = 0) -> OrrcResNet:
    """Normalisations such that neurons spike in all layers."""
    torch.manual_seed(seed)
    net = OrrcResNet(shape)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.3, 0.8)
            module.weight.data.uniform_(2, 4)
            module.bias.data.uniform_(0.5, 2)
    return net.eval()


def test_a_lif_charges_spikes_and_forgets() -> None:
    """v <- v + (x - v) / 2: inputs of 1.5 give 0.75, 1.125 and a spike, 0.75, ...; 1 exactly is a spike."""
    lif = Lif().eval()
    x = torch.tensor([1.5, 1.5, 1.5, 2.0, -1.0]).view(5, 1, 1)
    assert lif(x).flatten().tolist() == [0, 1, 0, 1, 0]
    assert lif.potentials(x).flatten().tolist() == [0.75, 0, 0.75, 0, -0.5]
    assert Lif()(torch.full((1, 1, 1), 2.0)).item() == 1
    assert Lif(strict=True).eval()(torch.full((1, 1, 1), 2.0)).item() == 0
    assert Lif(decay_input=False).eval().potentials(torch.tensor([0.5, 0.5]).view(2, 1, 1)).flatten().tolist() == [
        0.5,
        0.75,
    ]


def test_the_derivative_of_a_spike() -> None:
    """alpha / (2 (1 + (pi alpha x / 2)^2)) with alpha 2: 1 at the threshold, 1 / (1 + pi^2 / 4) half a unit from it."""
    x = torch.tensor([2.0, 1.0, 3.0]).view(1, 3, 1).requires_grad_()
    Lif()(x).sum().backward()
    assert x.grad is not None
    expected = [0.5, 0.5 / (1 + np.pi**2 / 4), 0.5 / (1 + np.pi**2 / 4)]  # the input reaches v by a half
    np.testing.assert_allclose(x.grad.flatten(), expected, rtol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_or_is_or(training: bool) -> None:
    a, b = torch.tensor([0.0, 0, 1, 1]), torch.tensor([0.0, 1, 0, 1])
    join = Or().train(training)
    assert join(a, b).tolist() == [0, 1, 1, 1]
    if training:
        a.requires_grad_()
        join(a, b).sum().backward()
        assert a.grad is not None and a.grad.tolist() == [1, 0, 1, 0]  # 1 - b


def logits(x: np.ndarray, kind: Kind, weights: list[np.ndarray]) -> np.ndarray:
    """A of a sequence ``[T, B, C, H, W]``, in loops."""
    steps, batch, channels, height, width = x.shape
    if kind == "spatial":
        (w,) = weights
        k = w.shape[-1] // 2
        found = np.zeros((1, batch, 1, height, width))
        for b in range(batch):
            both = np.pad([x[:, b].mean((0, 1)), x[:, b].max((0, 1))], ((0, 0), (k, k), (k, k)))
            for i in range(height):
                for j in range(width):
                    found[0, b, 0, i, j] = (w[0] * both[:, i : i + 2 * k + 1, j : j + 2 * k + 1]).sum()
        return found
    f = lambda v: weights[1] @ np.maximum(weights[0] @ v, 0)  # noqa: E731
    axis = {"temporal": 0, "channel": 1}[kind]
    found = np.zeros((steps if kind == "temporal" else 1, batch, 1 if kind == "temporal" else channels, 1, 1))
    for b in range(batch):
        rows = np.moveaxis(x[:, b], axis, 0).reshape(x.shape[0] if axis == 0 else channels, -1)
        a = f(rows.mean(1)) + f(rows.max(1))
        found[:, b] = a.reshape(found[:, b].shape)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [True, False])
def test_attention_computes_its_equations(kind: Kind, training: bool) -> None:
    torch.manual_seed(3)
    x = torch.randn(6, 3, 5, 4, 7, dtype=torch.float64)
    a = Logits(kind, 6, 5, reduction=2, kernel=3).double()
    for p in a.parameters():
        p.data.normal_(0.3, 0.8)
    expected = logits(x.numpy(), kind, [p.detach().numpy() for p in a.parameters()])
    np.testing.assert_allclose(a(x).detach(), expected, rtol=1e-10, atol=1e-12)
    ma = Multidimensional(a).train(training)(x).detach().numpy()
    np.testing.assert_allclose(ma, np.maximum(x.numpy() / (1 + np.exp(-expected)), 0), rtol=1e-10, atol=1e-12)
    v, gate = 0.0, np.zeros_like(expected)
    for t in range(len(expected)):
        v = v + (expected[t] + 0.5 - v) / 2
        gate[t] = v >= 1
        v = v * (1 - gate[t])
    ia = Inhibitory(a, bias=0.5).train(training)(x).detach().numpy()
    np.testing.assert_allclose(ia, np.maximum(gate * x.numpy(), 0))
    assert 0 < gate.mean() < 1


@pytest.mark.parametrize("attention", ["none", *KINDS])
def test_convolutions_behind_the_first_hear_zeros_and_ones(attention: Kind) -> None:
    """And a sum of branches does not give them that."""
    assert outside(lively(replace(SMALL, attention=attention, gate_bias=2.5))) == 0
    assert outside(lively(replace(SMALL, attention=attention, gate_bias=2.5, join="add"))) > 0


def outside(net: OrrcResNet) -> int:
    """How many values that convolutions and the classifier behind the first layer hear are not 0 or 1."""
    found = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module is not net.first.convolution and module.in_channels > 2:
            module.register_forward_pre_hook(lambda _m, args: found.append(args[0]))
    net(torch.rand(8, 1, 8, 8))
    assert sum(float(f.sum()) for f in found) > 100
    return int(sum(((f != 0) & (f != 1)).sum() for f in found))


def test_gates_that_are_open_at_the_start_are_seen() -> None:
    x = torch.rand(8, 1, 8, 8)
    closed = gate_rates(OrrcResNet(replace(SMALL, attention="temporal")).eval(), x)
    opened = gate_rates(OrrcResNet(replace(SMALL, attention="temporal", gate_bias=1.5)).eval(), x)
    assert len(closed) == len(opened) == 2
    assert max(closed) == 0 and min(opened) >= 0.4


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("orrc-cifar10", 11_173_962),
        ("orrc-cifar10-temporal", 11_173_962 + 1_408),
        ("orrc-cifar10-channel", 11_173_962 + 45_056),
        ("orrc-cifar10-spatial", 11_173_962 + 198),
        ("orrc-mnist", 11_172_810),
        ("orrc-cifar10-dvs", 11_173_386 + 1_408),
        ("orrc-gesture", 11_179_019 + 4_096),
    ],
)
def test_parameters_of_the_published_sizes(name: str, count: int) -> None:
    with torch.device("meta"):
        assert parameters(SYSTEM.build(SYSTEM.by_name[name].shape)) == count


def test_event_streams_are_pooled_and_max_pooled() -> None:
    shape = replace(SMALL, steps=3, inputs=2, first=(3, 2), events=True, pooled_to=16, max_pool=True)
    seen = []
    net = lively(shape)
    net.stage1.register_forward_pre_hook(lambda _m, args: seen.append(args[0].shape))
    assert net(torch.rand(2, 3, 2, 40, 40)).shape == (2, 10)
    assert seen == [(3, 2, 4, 4, 4)]


@pytest.mark.parametrize("module", ["MA", "IA", "MA_channel", "IA_channel", "MA_spatial", "IA_spatial"])
def test_attention_gives_what_the_authors_code_gives(module: str) -> None:
    case = golden.Case("orrc", f"module_{module}")
    config, x = case.said["config"], case["input"]
    kind: Kind = {"ta": "temporal", "ca": "channel", "sa": "spatial"}[config["attention"]]  # type: ignore[assignment]
    a = Logits(kind, len(x), x.shape[2], config["reduction_t"], config["kernel_size"])
    if kind == "channel":
        hidden = x.shape[2] // config["reduction_c"]
        a.f = nn.Sequential(
            nn.Linear(x.shape[2], hidden, bias=False), nn.ReLU(), nn.Linear(hidden, x.shape[2], bias=False)
        )
    state = sorted(case.state.items())
    for p, (_, value) in zip(a.parameters(), state, strict=True):
        p.data = value.reshape(p.shape)
    made = Multidimensional(a) if module.startswith("MA") else Inhibitory(a, along_batch=True)
    made.eval()
    golden.close(made(x), case["output"])
    golden.close(made(x), case["output_second_call_without_reset"])
    if "derived/output_if_lif_ran_along_T" in case.arrays:
        golden.close(Inhibitory(a).eval()(x), case["derived/output_if_lif_ran_along_T"])
    made.train()
    for part in made.modules():
        if isinstance(part, Lif):
            part.reset()
    (made(x) * case["loss_weight"]).sum().backward()
    for p, (name, _) in zip(a.parameters(), state, strict=True):
        assert p.grad is not None
        golden.same_direction(p.grad, case[f"grad/{name}"].reshape(p.shape))


def released() -> tuple[golden.Case, dict[str, Tensor], Shape]:
    case = golden.Case("orrc", "tiny_net")
    state = published.renamed(case.state)
    return case, state, published.shape(state, case.state)


def test_the_network_gives_what_the_authors_code_gives() -> None:
    """As released, its joins that are no ORs among it; with each branch computed once, the ORs."""
    case, state, shape = released()
    net = OrrcResNet(replace(shape, join="released"))
    net.load_state_dict(state)
    net.eval()
    golden.close(net.steps_of(case["input"]), case["output"])
    true = OrrcResNet(shape)
    true.load_state_dict(state)
    for part in true.modules():
        if isinstance(part, Inhibitory):
            part.along_batch = True
    joined = []
    for stage in true.stages:
        stage.join.register_forward_hook(lambda _m, _i, out: joined.append(out))
    golden.close(true.eval().steps_of(case["input"]), case["derived/output_single_evaluation"])
    for number, spikes in enumerate(joined, 1):
        assert torch.equal(spikes.to(torch.uint8), case[f"derived/OR{number}"])


def test_the_network_trains_as_the_authors_code_does() -> None:
    case, state, shape = released()
    net = OrrcResNet(replace(shape, join="released"))
    net.load_state_dict(state)
    net.train()
    steps = net.steps_of(case["input"])
    golden.close(steps, case["output_train"])
    label = nn.functional.one_hot(torch.arange(steps.shape[1]) % shape.classes, shape.classes).float()
    loss = nn.functional.mse_loss(steps.mean(0), label)
    loss.backward()
    golden.close(loss, torch.tensor(case.said["loss_value"]))
    found = dict(net.named_parameters())
    gradients = case.group("grad/")
    # With the statistics, from which the places of layers are read.
    for name, value in published.renamed(case.state | gradients).items():
        if name in found and any(value is g or value.data_ptr() == g.data_ptr() for g in gradients.values()):
            gradient = found[name].grad
            assert gradient is not None
            golden.same_direction(gradient, value)


@pytest.mark.parametrize("key", ["CIFAR10", "CIFAR10DVS", "DvsGesture", "MNIST", "FashionMNIST"])
def test_every_tensor_of_a_published_state_dict_has_its_place(key: str) -> None:
    golden.places(SYSTEM, key)


@pytest.mark.parametrize(
    ("name", "printed"),
    [("CIFAR-10", 0.66480), ("CIFAR10-DVS", 0.16079), ("DVS Gesture", 4.62634), ("MNIST and Fashion-MNIST", 0.20457)],
)
def test_published_energies_follow_from_the_released_rates(name: str, printed: float) -> None:
    found, said = energy.published(name), energy.released()["sets"][name]["printed"]
    assert round(found.energy, 5) == printed
    for value, expected in (
        (found.energy, said["energy"]),
        (found.ac / 1e6, said["ac"]),
        (found.spikes / 1e3, said["spikes"]),
    ):
        assert abs(value - expected) < 1e-9 * expected
    assert abs(energy.counted(name).energy - found.energy) < 0.04 * found.energy
