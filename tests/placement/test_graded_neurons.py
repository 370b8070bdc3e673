"""Networks of graded neurons (ReLU, product, sigma-delta) in integers: inspected, placed, or refused with a reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.backends.reference.run import run
from neurodeploy.cli import main
from neurodeploy.compiler import place
from neurodeploy.errors import DoesNotFitError
from neurodeploy.hwsim import engine
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Neuron, Product, Relu, SigmaDelta, Source

N = 5
NOTHING, LOW = np.zeros(N, np.int64), np.full(N, 3, np.int64)
MODELS = {
    "Relu": (Relu(NOTHING, LOW), "rectifier (graded)"),
    "Product": (Product(LOW, shift=1), "product of two inputs"),
    "SigmaDelta": (SigmaDelta(NOTHING, LOW, "relu", send_shift=2), "sigma-delta, relu"),
}


def graded(model: Neuron, arithmetic: str = "loihi") -> Network:
    """Input -> the model -> the model; a product's two ports get the same."""
    if arithmetic == "float":
        model = replace(model, **{name: 0 for name in ("shift", "send_shift") if name in vars(model)})  # type: ignore[type-var]
    weights = np.arange(N * N).reshape(N, N) % 7 * 2 - 4
    weights = weights.astype(np.int16) if arithmetic == "loihi" else weights * 0.5
    populations = (Population("in", (N,), Source()), Population("a", (N,), model), Population("b", (N,), model))
    projections = tuple(
        Projection(f"{source}-{target}-{port}", source, target, Dense(weights), port=port)
        for source, target in (("in", "a"), ("a", "b"))
        for port in range(model.ports)
    )
    return Network("graded", populations, projections, ("b",), 1e-3, arithmetic)  # type: ignore[arg-type]


@pytest.mark.parametrize("arithmetic", ["float", "loihi"])
@pytest.mark.parametrize("name", MODELS)
def test_inspect_names_the_model(
    name: str, arithmetic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, label = MODELS[name]
    place(graded(model, arithmetic), None, {}).save(tmp_path / "net.ndp")
    assert main(["inspect", str(tmp_path / "net.ndp")]) == 0
    assert label in capsys.readouterr().out


@pytest.mark.parametrize("name", MODELS)
def test_a_chip_without_graded_spikes_is_refused_by_name(name: str) -> None:
    with pytest.raises(DoesNotFitError, match=r"'a' needs .* of payload in a spike; a spike of loihi1 has 0 bits"):
        place(graded(MODELS[name][0]), load_architecture("loihi1"), {})


@pytest.mark.parametrize("name", MODELS)
def test_a_chip_with_graded_spikes_takes_it(name: str) -> None:
    program = place(graded(MODELS[name][0]), load_architecture("loihi2"), {}, share=True)
    x = {"": (np.random.default_rng(0).random((12, 2, N)) < 0.5).astype(np.uint8)}
    first, second = run(program, x), engine.run(program, x)
    assert len(first.spikes["b"])
    np.testing.assert_array_equal(first.spikes["b"].dense(), second.spikes["b"].dense())
