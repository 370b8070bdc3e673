"""What is infinite or not a number proves nothing: weights, thresholds, and potentials that grow without end."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np
import pytest
import snntorch
import torch
from torch import nn

from neurodeploy.cli import main
from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.errors import NeurodeployError, VerificationError
from neurodeploy.verify.export_proof import export_proven
from neurodeploy.verify.stages import verify_program
from tests import nirgraphs

X = (np.random.default_rng(0).random((20, 3, 4)) < 0.5).astype(np.float32)


def module(threshold: float = 0.5, beta: float = 0.9) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), snntorch.Leaky(beta=beta, threshold=threshold, init_hidden=True)).double()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", ["weight", "bias", "threshold", "beta"])
def test_a_module_with_such_parameters_is_refused_by_name(which: str, value: float, tmp_path: Path) -> None:
    net = module(**{which: value}) if which in ("threshold", "beta") else module()
    if which in ("weight", "bias"):
        with torch.no_grad():
            getattr(net[0], which).view(-1)[2] = value
    with pytest.raises(NeurodeployError) as caught:
        export_proven(net, X, 1e-3, tmp_path / "net.nir")
    said = str(caught.value)
    assert not (tmp_path / "net.nir").exists()
    assert "finite" in said or "nan" in said or "inf" in said or "must be" in said
    assert not isinstance(caught.value, VerificationError), "it is found before anything runs"


class Grows(nn.Module):
    """Its first neuron loses 1e308 a spike, and so is -inf soon; all others spike as ever."""

    def __init__(self) -> None:
        super().__init__()
        self.net = module(beta=1.0)
        with torch.no_grad():
            self.net[0].weight[0] = -1e308

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


def test_a_module_whose_potential_diverges_proves_nothing(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="infinite or not numbers, which equal nothing") as caught:
        export_proven(Grows(), X, 1e-3, tmp_path / "net.nir")
    assert "neuron 0: v = -inf" in str(caught.value.found)
    assert not (tmp_path / "net.nir").exists()


def diverging() -> nir.NIRGraph:
    """As `Grows`, as a file of another tool; the second neuron works."""
    full = np.full
    nodes = {
        "input": nir.Input(np.array([2])),
        "fc": nir.Linear(np.array([[-1e308, -1e308], [1.0, 1.0]])),
        "if": nir.IF(full(2, 1e3), full(2, 0.5), full(2, 0.0)),
        "output": nir.Output(np.array([2])),
    }
    return nir.NIRGraph(nodes, [("input", "fc"), ("fc", "if"), ("if", "output")], type_check=False)


def test_float_stages_that_diverge_alike_are_not_equal(tmp_path: Path) -> None:
    path = nirgraphs.write(diverging(), tmp_path / "net.nir")
    options = {"dt": 1e-3, "reset": "hard", "comparison": ">"}
    compiled = compile(path, None, CompileOptions(conventions=options, integer=False))
    x = np.ones((6, 2, 2))
    found = verify_program(compiled, {compiled.float_network.inputs[0].name: x}, names=("reference", "hwsim"))
    assert {pair.verdict for pair in found.pairs} == {"failed"}
    assert all(pair.not_finite > 0 and pair.spikes_different == 0 for pair in found.pairs)


def test_verify_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    nirgraphs.write(diverging(), tmp_path / "net.nir")
    np.save("x.npy", np.ones((6, 2, 2)))
    flags = ["--dt", "1e-3", "--reset", "hard", "--comparison", ">", "--float", "--backends", "reference,hwsim"]
    assert main(["verify", "net.nir", *flags, "-i", "x.npy"]) == 1
    assert "are not finite" in " ".join(capsys.readouterr().out.split())
    assert main(["verify", "net.nir", *flags, "-i", "x.npy", "--json"]) == 1
    assert '"not_finite"' in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["weight", "threshold", "tau"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_file_with_such_parameters_is_refused_by_name(kind: str, value: float, tmp_path: Path) -> None:
    graph = nirgraphs.mlp()
    weights = next(n for n, node in graph.nodes.items() if hasattr(node, "weight"))
    neurons = next(n for n, node in graph.nodes.items() if hasattr(node, "v_threshold"))
    name = weights if kind == "weight" else neurons
    array = getattr(graph.nodes[name], {"weight": "weight", "threshold": "v_threshold", "tau": "tau"}[kind])
    array.flat[1] = value
    path = nirgraphs.write(graph, tmp_path / "net.nir")
    if kind == "threshold" and value == np.inf:
        pytest.skip("a neuron that never spikes")
    with pytest.raises(NeurodeployError, match=repr(name)):
        compile(path, None, CompileOptions(conventions={"dt": 1e-3, "reset": "hard", "comparison": ">"}, integer=False))
