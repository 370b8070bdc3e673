"""Operators of torch, and onnxruntime's value of what they became, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neurodeploy.errors import UnsupportedError
from neurodeploy.exporters.sequence.hosted.onnx_graph import Port
from neurodeploy.exporters.sequence.hosted.onnx_model import to_onnx

torch.manual_seed(0)
BATCH = 3
CONV, CONV1 = (
    nn.Conv2d(4, 6, 3, padding=1, stride=2, groups=2).double(),
    nn.Conv1d(4, 6, 3, padding=2, dilation=2).double(),
)
LAYER, GROUP, BATCHED = nn.LayerNorm([4, 5]).double(), nn.GroupNorm(2, 4).double(), nn.BatchNorm2d(4).double().eval()
TRANSPOSED = torch.arange(72.0, dtype=torch.float64).reshape(4, 2, 3, 3) / 10

ONE: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    **{name: (getattr(F, name), (4, 5)) for name in (
        "gelu", "silu", "mish", "softplus", "elu", "leaky_relu", "hardswish", "hardsigmoid", "hardtanh", "selu",
        "relu6", "logsigmoid", "softsign", "tanhshrink", "celu",
    )},
    "conv2d": (CONV, (4, 7, 8)), "conv1d": (CONV1, (4, 9)), "layer norm": (LAYER, (4, 5)),
    "group norm": (GROUP, (4, 5, 5)), "batch norm": (BATCHED, (4, 5, 5)),
    "rms norm": (lambda x: F.rms_norm(x, (5,)), (4, 5)),
    "glu": (lambda x: F.glu(x, 1), (4, 5)), "var": (lambda x: x.var(1) + x.std((1, 2), keepdim=True)[:, 0], (4, 5)),
    "max pool": (lambda x: F.max_pool2d(x, 2), (4, 6, 6)), "max pool 1d": (lambda x: F.max_pool1d(x, 2), (4, 6)),
    "average pool": (lambda x: F.avg_pool2d(x, 3, 2, 1), (4, 6, 6)),
    "adaptive pool": (lambda x: F.adaptive_avg_pool2d(x, 3), (4, 6, 6)),
    "pool of all": (lambda x: F.adaptive_avg_pool2d(x, 1), (4, 6, 6)),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x, x), (2, 5, 4)),
    "causal": (lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), (2, 5, 4)),
    "normalise": (lambda x: F.normalize(x, dim=-1), (4, 5)), "top": (lambda x: x.topk(2, -1).values, (4, 5)),
    "sort": (lambda x: x.sort(-1).values, (4, 5)), "largest": (lambda x: x.max(-1).values, (4, 5)),
    "where": (lambda x: torch.where(x > 0, x, x * 0.1) + x.masked_fill(x < 0, -1.0), (4, 5)),
    "upsample": (lambda x: F.interpolate(x, scale_factor=2), (4, 5, 5)),
    "bilinear": (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), (4, 5, 5)),
    "roll": (lambda x: x.roll(1, -1) + x.flip(-1), (4, 5)), "sum up": (lambda x: x.cumsum(-1), (4, 5)),
    "powers": (lambda x: x.abs() ** 0.5 + x.square() + x**3, (4, 5)), "norm": (lambda x: x.norm(dim=-1), (4, 5)),
    "logsumexp": (lambda x: x.logsumexp(-1), (4, 5)), "product": (lambda x: x.prod(-1), (4, 5)),
    "argmax": (lambda x: x.argmax(-1).double(), (4, 5)), "erf": (lambda x: torch.erf(4 * x), (4000,)),
    "round": (lambda x: x.round() + x.floor() + x.trunc() + x.sign(), (4, 5)),
    "divide": (lambda x: torch.div(x, 0.3, rounding_mode="floor") + torch.div(x, 0.3, rounding_mode="trunc"), (4, 5)),
    "one hot": (lambda x: (x == x.amax(-1, keepdim=True)).double(), (4, 5)),
    "transposed": (lambda x: F.conv_transpose2d(x, TRANSPOSED, None, 2, 1, 1, 2), (4, 5, 5)),
    "unfold": (lambda x: x.unfold(-1, 3, 2).sum(-1), (4, 7)), "pad": (lambda x: F.pad(x, (1, 2), value=0.5), (4, 5)),
}  # fmt: skip


def value(function: Callable[..., Any], *inputs: Tensor, steps: int = 0, timed: bool = False) -> tuple[Any, Any]:
    """What torch and onnxruntime give."""
    lead = 1 + bool(steps) + timed
    takes = [Port(f"x{i}", tuple(x.shape[lead:]), steps) for i, x in enumerate(inputs)]
    with torch.no_grad():
        plain = [x.flatten(0, 1) for x in inputs] if timed else inputs
        wanted = function(*plain)
    port = Port("y", tuple(wanted.shape[1:]))
    graph = to_onnx("one", lambda *x: [function(*x)], takes, [port], timed=timed).tobytes()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {port.name: x.numpy() for port, x in zip(takes, inputs, strict=True)})
    return wanted.numpy(), found


@pytest.mark.parametrize("name", ONE)
def test_an_operator_is_the_same(name: str) -> None:
    function, shape = ONE[name]
    wanted, found = value(function, torch.randn(BATCH, *shape, dtype=torch.float64))
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_two_values() -> None:
    q, k = (torch.randn(BATCH, n, 5, dtype=torch.float64) for n in (4, 3))
    for function in (
        lambda q, k: (q @ k.transpose(-1, -2)).softmax(-1) @ k, lambda q, k: torch.einsum("bij,bkj->bik", q, k),
        lambda q, k: torch.cat([q, k], 1) * 2,
    ):  # fmt: skip
        wanted, found = value(function, q, k)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_all_steps_and_each_by_itself() -> None:
    x = torch.randn(6, BATCH, 4, 5, dtype=torch.float64)
    wanted, found = value(lambda x: (x * x.mean((2, 3)).softmax(0)[:, :, None, None]).sum(0), x, steps=6)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
    wanted, found = value(lambda x: x.softmax(-1) - x.mean(1, keepdim=True), x, timed=True)
    np.testing.assert_allclose(found, wanted.reshape(found.shape), rtol=1e-12, atol=1e-12)


def test_the_error_function_is_that_of_the_library() -> None:
    points = np.concatenate([np.linspace(-7, 7, 3001), [0.46875, 4.0, -4.0, 1e-300, 0.0]])
    _, found = value(torch.erf, torch.from_numpy(points)[None])
    exact = np.array([math.erf(p) for p in points])
    np.testing.assert_allclose(found[0], exact, rtol=1e-15, atol=0)


@pytest.mark.parametrize(
    "function", [lambda x: x - x.mean(0), lambda x: x.softmax(0), lambda x: x.flip(0), lambda x: x[:1] + 0 * x]
)
def test_what_mixes_samples_is_refused(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(UnsupportedError, match=r"mixes the samples|shape"):
        value(function, torch.randn(BATCH, 4, dtype=torch.float64))


def test_an_operator_that_onnx_has_not_is_named() -> None:
    with pytest.raises(UnsupportedError, match=r"cannot be said in ONNX") as refused:
        value(lambda x: torch.linalg.svdvals(x), torch.randn(BATCH, 4, 4, dtype=torch.float64))
    assert "softmax" in str(refused.value)
