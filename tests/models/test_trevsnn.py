"""T-RevSNN: the equations written out a second time, the authors' recordings, counts, and reversibility."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from neurodeploy.models.losses import every_head
from neurodeploy.models.system import parameters
from neurodeploy.models.trevsnn import published
from neurodeploy.models.trevsnn.network import Shape, TRevSNN
from neurodeploy.models.trevsnn.plain import PlainSNN, like
from neurodeploy.models.trevsnn.system import SYSTEM

from . import golden, reversible_memory

SMALL = Shape((3, 4, 5, 6), 4, kernel=3, classes=7, stem=((3, 1),), inputs=2, heads=4)


def lively(shape: Shape, seed: int = 0, dtype: torch.dtype = torch.float64) -> TRevSNN:
    """Weights and statistics of all kinds of values, so that about half of all neurons spike."""
    torch.manual_seed(seed)
    net = TRevSNN(shape).to(dtype)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.dtype != dtype:
                continue
            spread = 0.5 if name.endswith(("weight", "gamma", "gain")) else 0.3
            value.copy_(torch.randn_like(value) * spread + (0.6 if "alphas" in name or "gain" in name else 0.1))
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
    return net


class Twin:
    """The network from its equations and a state dict, one line a formula."""

    def __init__(self, shape: Shape, state: dict[str, Tensor], training: bool) -> None:
        self.shape, self.s, self.training = shape, state, training

    def q(self, x: Tensor) -> Tensor:
        clipped = x.clamp(0, 1)
        return torch.floor(clipped + 0.5) if self.training else torch.round(clipped)

    def scaled(self, x: Tensor, at: str, stride: int = 1) -> Tensor:
        w = self.s[f"{at}.weight"]
        flat = w.flatten(1)
        mean, variance = flat.mean(1), flat.var(1, unbiased=False)
        hat = (flat - mean[:, None]) / (variance[:, None] + 1e-6).sqrt() / flat.shape[1] ** 0.5
        hat = hat.view_as(w) * self.s[f"{at}.gain"]
        return F.conv2d(x, hat, self.s[f"{at}.bias"], stride, w.shape[-1] // 2)

    def depth(self, x: Tensor, at: str) -> Tensor:
        w = self.s[f"{at}.weight"]
        return F.conv2d(x, w, self.s[f"{at}.bias"], padding=w.shape[-1] // 2, groups=len(w))

    def way(self, x: Tensor, at: str, stride: int = 1) -> Tensor:
        w = self.s[f"{at}.convolution.weight"]
        y = F.conv2d(self.q(x), w, None, stride, w.shape[-1] // 2)
        if self.training:
            mean, variance = y.mean((0, 2, 3)), y.var((0, 2, 3), unbiased=False)
        else:
            mean, variance = self.s[f"{at}.norm.running_mean"], self.s[f"{at}.norm.running_var"]
        y = (y - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        return y * self.s[f"{at}.norm.weight"][:, None, None] + self.s[f"{at}.norm.bias"][:, None, None]

    def level(self, t: int, l: int, below: Tensor, above: Tensor | None) -> Tensor:  # noqa: E741
        at = f"columns.{t}.levels.{l}"
        x = below if l == 0 else self.way(below, f"{at}.down", 2 if l < 3 else 1)
        if t and l < 3:
            assert above is not None
            up = self.way(above, f"{at}.up")
            x = x + (up.repeat_interleave(2, 2).repeat_interleave(2, 3) if l < 2 else up)
        for block in (0, 1):
            here = f"{at}.blocks.{block}"
            y = self.scaled(self.depth(self.q(x), f"{here}.spread"), f"{here}.expand")
            y = self.depth(self.scaled(self.q(y), f"{here}.tail.0"), f"{here}.tail.1")
            x = x + (self.s[f"{here}.gamma"] * y if block == 0 else y)
        return x

    def states(self, x: Tensor) -> list[list[Tensor]]:
        columns: list[list[Tensor]] = []
        for t in range(self.shape.columns):
            seen = x[:, t] if self.shape.events else x
            seen = seen / self.shape.largest
            for i, (_, stride) in enumerate(self.shape.stem):
                seen = self.scaled(seen, f"stems.{t if self.shape.events else 0}.{i}", stride)
            c: list[Tensor] = []
            for l in range(4):  # noqa: E741
                above = columns[-1][l + 1] if t and l < 3 else None
                found = self.level(t, l, c[-1] if c else seen, above)
                c.append(found + self.s[f"columns.{t}.alphas.{l}"] * columns[-1][l] if t else found)
            columns.append(c)
        return columns

    def scores(self, x: Tensor) -> Tensor:
        tops = [self.states(x)[t][-1] for t in self.shape.headed]
        found = [
            self.scaled(top.mean((2, 3), keepdim=True), f"inner_heads.{i}.first") for i, top in enumerate(tops[:-1])
        ]
        last = tops[-1] / self.shape.columns if self.shape.events else tops[-1]
        last = self.scaled(self.q(last).mean((2, 3), keepdim=True), "head.first")
        return torch.stack([*found, self.scaled(last, "head.second")]).flatten(2)


SHAPES = {
    "four columns": SMALL,
    "one column": replace(SMALL, columns=1, heads=1),
    "six columns, four heads": replace(SMALL, columns=6),
    "two columns, wide kernels": replace(SMALL, columns=2, kernel=5, heads=2, largest=16),
    "a stem of two": replace(SMALL, stem=((7, 2), (3, 2)), columns=3, heads=3),
    "events": replace(SMALL, columns=3, events=True, heads=1),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_it_computes_its_equations(shape: Shape, training: bool) -> None:
    net = lively(shape).train(training)
    size = 32 if len(shape.stem) == 2 else 8
    x = torch.randn(2, *([shape.columns] if shape.events else []), 2, size, size, dtype=torch.float64) * shape.largest
    twin = Twin(shape, copy.deepcopy(net.state_dict()), training)
    torch.testing.assert_close(net.scores(x).detach(), twin.scores(x), rtol=1e-9, atol=1e-9)
    if not training:
        torch.testing.assert_close(net(x), net.scores(x)[-1])
        for ours, theirs in zip(net.states(x), twin.states(x), strict=True):
            for a, b in zip(ours, theirs, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("columns", [1, 2, 5, 8])
def test_reversible_gradients_are_those_of_ordinary_differentiation(columns: int) -> None:
    """Through all heads, to every parameter and to the input, 1e-12 of the largest."""
    saving = lively(replace(SMALL, columns=columns)).train()
    plain = copy.deepcopy(saving)
    plain.saves_memory = False
    x = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    seen = [x.clone().requires_grad_() for _ in range(2)]
    for net, image in zip((saving, plain), seen, strict=True):
        every_head(net, image, torch.tensor([0, 3, 6]))[0].backward()
    assert seen[0].grad is not None and seen[1].grad is not None
    golden.close(seen[0].grad, seen[1].grad, 1e-12)
    compared = 0
    for (name, a), (_, b) in zip(saving.named_parameters(), plain.named_parameters(), strict=True):
        if b.grad is None:  # alphas of the first column
            assert a.grad is None or not a.grad.any(), name
            continue
        assert a.grad is not None, name
        golden.close(a.grad, b.grad, 1e-12)
        compared += 1
    assert compared > 40 * columns


def test_gradients_in_single_precision_are_right_where_a_spike_hangs_on_a_rounding() -> None:
    """Recovered in float32, a state moves across a threshold in 8 columns of these sizes, and gradients are wrong."""
    assert reversible_memory.difference(8, torch.float32) < 1e-5


def test_memory_does_not_grow_with_columns() -> None:
    """Saved activations at T = 8 against T = 1, an ordinary network's, and its peak."""
    kept, peaks = {}, {}
    for columns in (1, 8):
        saving, plain, x, y = reversible_memory.pair(columns, torch.float32)
        kept[columns], peaks[columns] = reversible_memory.step(saving, x, y)
        if columns == 8:
            ordinary, most = reversible_memory.step(plain, x, y)
    assert kept[8] <= 1.05 * kept[1]
    assert ordinary >= 50 * kept[8]
    assert most >= 7 * peaks[8]


def test_an_autocast_step_recomputes_what_it_computed() -> None:
    net = lively(SMALL, dtype=torch.float32).train()
    plain = copy.deepcopy(net)
    plain.saves_memory = False
    x = torch.randn(3, 2, 8, 8)
    for each in (net, plain):
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = every_head(each, x, torch.tensor([0, 3, 6]))
        loss.backward()
    # The two paths round differently: states are float64 in one of them. They must agree as bfloat16 does.
    a, b = (each.stems[0][0].weight.grad for each in (net, plain))
    assert torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.9


def test_an_alpha_of_zero_is_held_away_from_it() -> None:
    net = lively(replace(SMALL, columns=2))
    with torch.no_grad():
        net.columns[1].alphas[0].zero_()
    kept = net.columns[1].step(0).alphas[0]
    assert (kept.detach() == 1e-3).all()
    kept.sum().backward()
    assert (net.columns[1].alphas[0].grad == 1).all()


@pytest.mark.parametrize(
    ("name", "trained", "deployed"),
    [("trevsnn-small", 32_331_312, 29_787_312), ("trevsnn-tiny", 17_376_912, 15_216_912)],
)
def test_parameters_of_the_published_sizes(name: str, trained: int, deployed: int) -> None:
    with torch.device("meta"):
        net = SYSTEM.build(SYSTEM.by_name[name].shape)
    assert SYSTEM.deployed is not None
    assert (parameters(net), SYSTEM.deployed(net)) == (trained, deployed)


@pytest.mark.parametrize("name", ["tiny_fullnet", "tiny_dvs"])
def test_it_gives_what_the_authors_code_gives(name: str) -> None:
    case = golden.Case("trevsnn", name)
    state = published.renamed(case.state)
    shape = published.shape(state, case.state)
    net = TRevSNN(shape)
    net.load_state_dict(state)
    net.eval()
    golden.close(net.scores(case["input"]), case["output"])
    states = net.states(case["input"])
    for key, value in case.group("mid/subnet").items():
        t, _, l = key.partition(".")  # noqa: E741
        if l.isdigit():
            golden.close(states[int(t)][int(l)], value[0])
    spikes(net, case)


def spikes(net: TRevSNN, case: golden.Case) -> None:
    """Binary inputs of convolutions, exactly; blocks that columns share have one recording for each."""
    seen: dict[int, list[Tensor]] = {}
    hooks = [
        m.register_forward_pre_hook(lambda m, args: seen.setdefault(id(m), []).append(args[0]))
        for m in net.modules()
        if isinstance(m, torch.nn.Conv2d)
    ]
    net.scores(case["input"])
    for hook in hooks:
        hook.remove()
    compared = 0
    for key, value in case.group("mid/").items():
        if ".input" in key:
            path, _, call = key.partition(".input")
            module = net.get_submodule(published.ours(f"{path}.weight").removesuffix(".weight"))
            found = seen[id(module)][int(call.removeprefix("@")) if call else 0]
            assert torch.equal(found.to(torch.uint8), value), key
            compared += 1
    assert compared


def test_training_gives_the_authors_gradients_and_statistics() -> None:
    case = golden.Case("trevsnn", "tiny_fullnet")
    state = published.renamed(case.state)
    net = TRevSNN(published.shape(state, case.state))
    net.load_state_dict(state)
    net.train()
    loss, _ = every_head(net, case["input"], torch.arange(2))
    golden.close(loss, torch.tensor(case.said["loss_value"]))
    loss.backward()
    found = dict(net.named_parameters(remove_duplicate=False))
    for name, value in case.group("grad/").items():
        gradient = found[published.ours(name)].grad
        assert gradient is not None
        golden.same_direction(gradient, value)
    for name, value in case.group("after/").items():
        golden.close(net.state_dict()[published.ours(name)], value)


@pytest.mark.parametrize("key", ["small_k5_1000_intersup", "tiny_k5_1000_intersup", "tiny_dvs_k5_10"])
def test_every_tensor_of_a_published_state_dict_has_its_place(key: str) -> None:
    golden.places(SYSTEM, key)


def test_a_plain_network_of_as_many_parameters_passes_over_its_weights_in_every_step() -> None:
    """What the claims are compared with: the same blocks, LIF neurons, one set of weights."""
    torch.manual_seed(0)
    with torch.device("meta"):
        count = parameters(TRevSNN(SMALL))
    shape = like(replace(SMALL, channels=(6, 8, 10, 12)), count)
    net = PlainSNN(shape).eval()
    assert abs(parameters(net) - count) < 0.15 * count
    seen = []
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d) and module is not net.stem[0]:
            module.register_forward_hook(lambda _m, _i, out: seen.append(len(out)))
    assert net(torch.rand(2, 2, 8, 8)).shape == (2, 7)
    assert set(seen) == {2 * shape.columns}  # the batch, in each of the steps
