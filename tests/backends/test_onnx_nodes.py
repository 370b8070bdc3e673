"""Names in ONNX graphs, and encoders that other programs than onnxruntime compute."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx.reference import ReferenceEvaluator

from neurodeploy import backends
from neurodeploy.backends.onnx.encoder import encoder
from neurodeploy.network.connectivity import Conv2d, Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Source
from tests.conformance.cases import lif
from tests.networks import placed

IMAGE = (2, 5, 4)


def network(name: str = "a") -> Network:
    """A convolution with a bias, onto neurons with another, by a projection of the given name."""
    rng = np.random.default_rng(0)
    kind = Conv2d(rng.normal(size=(3, 2, 3, 3)), IMAGE, padding=(1, 0), stride=(2, 1))
    first = lif(rng, False, kind.outputs, du=np.full(kind.outputs, 0.6))
    return Network(
        "net",
        (Population("image", IMAGE, Source()), Population("a", kind.output_shape, first),
         Population("b", (4,), lif(rng, False, 4))),
        (Projection(name, "image", "a", kind, delay=1, bias=rng.normal(size=kind.outputs), bias_start=2),
         Projection("out", "a", "b", Dense(rng.normal(size=(4, kind.outputs))))),
        ("b",), 1e-3,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["in", "a", "first_axis", "step"])
def test_a_projection_called_as_its_target_keeps_its_own_bias(name: str) -> None:
    x = {"image": np.random.default_rng(1).normal(size=(9, 2, *IMAGE))}
    judge, found = (backends.get(one)(placed(network(name)), x) for one in ("reference", "onnxruntime"))
    assert len(judge.spikes["a"]) > 50
    for population in ("a", "b"):
        assert np.array_equal(judge.spikes[population].dense(), found.spikes[population].dense())


def test_onnx_own_evaluator_computes_an_encoder() -> None:
    """Any program that runs ONNX is a host: no library of ours, no operator of a package."""
    net = network()
    x = np.random.default_rng(1).normal(size=(9, 2, *IMAGE))
    model = encoder(net, "a", ("image",))
    (found,) = ReferenceEvaluator(model).run(None, {"x0": x})
    expected = backends.get("reference")(placed(replace(net, outputs=("a", "b"))), {"image": x}).spikes["a"].dense()
    assert found.shape == (9, 2, *net.by_name["a"].shape) and found.dtype == np.float64
    assert np.array_equal(found.reshape(expected.shape), expected)
