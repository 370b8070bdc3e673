"""A file whose network is not the one that was proven is refused, and an input unlike the proof's is said."""

from __future__ import annotations

import json
from pathlib import Path

import nir
import numpy as np
import pytest
import snntorch
import torch

from neurodeploy.cli import main
from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.errors import VerificationError
from neurodeploy.program.likeness import facts, unlike
from neurodeploy.verify.export_proof import export_proven

STEPS, SAMPLES = 20, 3


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    leaky = [snntorch.Leaky(beta=0.9, threshold=0.5, init_hidden=True) for _ in range(2)]
    net = torch.nn.Sequential(torch.nn.Linear(6, 9), leaky[0], torch.nn.Linear(9, 4), leaky[1])
    for layer in (net[0], net[2]):
        layer.weight.data *= 3
    path = tmp_path_factory.mktemp("proven") / "net.nir"
    sample = (np.random.default_rng(0).random((STEPS, SAMPLES, 6)) < 0.4).astype(np.uint8)
    export_proven(net, sample, None, path)
    return path


def edited(path: Path, to: Path, change: object) -> Path:
    graph = nir.read(path, type_check=False)
    change(graph)  # type: ignore[operator]
    nir.write(to, graph)
    return to


def one_weight(graph: nir.NIRGraph) -> None:
    weight = graph.nodes["0"].weight.copy()
    weight[2] *= -1
    graph.nodes["0"].weight = weight


def time_constant(graph: nir.NIRGraph) -> None:
    node = next(node for node in graph.nodes.values() if isinstance(node, nir.LIF))
    node.tau = node.tau * 3


def test_a_file_as_it_was_written(exported: Path) -> None:
    compiled = compile(exported, None, CompileOptions(integer=False))
    assert compiled.warnings == ()
    assert compiled.program.provenance["proof_steps"] == str(STEPS)


@pytest.mark.parametrize("change", [one_weight, time_constant])
def test_a_file_that_was_changed(exported: Path, tmp_path: Path, change: object) -> None:
    path = edited(exported, tmp_path / "changed.nir", change)
    with pytest.raises(VerificationError, match="is not the one that was proven") as caught:
        compile(path, None)
    assert "neurons differ" in str(caught.value)
    assert main(["compile", str(path), "--chip", "none", "-o", str(tmp_path / "n.ndp")]) == 2
    assert not (tmp_path / "n.ndp").exists()


def test_an_option_that_makes_it_another_network(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = exported.with_name("n.ndp")
    given = ["--reset", "hard", "--chip", "none", "--float", "-o", str(out), "--json"]
    assert main(["compile", str(exported), *given]) == 0
    found = capsys.readouterr()
    (warning,) = json.loads(found.out)["warnings"]
    assert "the options given (--reset) make it another network" in warning
    assert f"warning: {warning}" in found.err


def test_the_warning_names_the_options_that_were_given(exported: Path) -> None:
    for options, said in (
        ({"tool": "norse"}, "(--as)"),
        ({"tool": "norse", "reset": "hard"}, "(--as, --reset)"),
        ({"tool": "sinabs", "dt": 2e-3, "max_spikes": 3}, "(--as, --dt, --max-spikes)"),
    ):
        (warning,) = compile(exported, None, CompileOptions(integer=False, conventions=options)).warnings
        assert f"the options given {said} make it another network" in warning


def negated(graph: nir.NIRGraph) -> None:
    graph.nodes["2"].weight = -graph.nodes["2"].weight


def last_bias(graph: nir.NIRGraph) -> None:
    bias = graph.nodes["2"].bias.copy()
    bias[1] += 1e-3
    graph.nodes["2"].bias = bias


def leak_of_the_read_out(graph: nir.NIRGraph) -> None:
    node = next(node for node in graph.nodes.values() if isinstance(node, nir.LI))
    node.tau = node.tau * 1.01


def test_a_read_out_that_was_changed(tmp_path: Path) -> None:
    torch.manual_seed(1)
    hidden = snntorch.Leaky(beta=0.9, threshold=0.5, init_hidden=True)
    last = snntorch.Leaky(beta=0.95, threshold=1e9, init_hidden=True)
    net = torch.nn.Sequential(torch.nn.Linear(6, 9), hidden, torch.nn.Linear(9, 4), last)
    net[0].weight.data *= 3
    sample = (np.random.default_rng(0).random((STEPS, SAMPLES, 6)) < 0.4).astype(np.uint8)
    export_proven(net, sample, None, tmp_path / "net.nir")
    for options in ({}, {"dt": 1e-3}):
        assert compile(tmp_path / "net.nir", None, CompileOptions(integer=False, conventions=options)).warnings == ()
    for change in (negated, last_bias, leak_of_the_read_out):
        path = edited(tmp_path / "net.nir", tmp_path / "changed.nir", change)
        with pytest.raises(VerificationError, match=r"potential of '3' on the proof's sample(?s:.)*neurons differ"):
            compile(path, None)


def test_an_option_that_says_the_same(exported: Path) -> None:
    assert compile(exported, None, CompileOptions(integer=False, conventions={"comparison": ">"})).warnings == ()


@pytest.mark.parametrize("command", ["run", "verify", "compile"])
def test_time_and_batch_swapped(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    x, program = str(tmp_path / "x.npy"), str(tmp_path / "n.ndp")
    np.save(x, (np.random.default_rng(1).random((50, STEPS, 6)) < 0.4).astype(np.uint8))
    assert main(["compile", str(exported), "--chip", "none", "-o", program]) == 0
    capsys.readouterr()
    given = {
        "run": ["run", program, "-i", x],
        "verify": ["verify", str(exported), "-i", x, "--chip", "none", "--backends", "hwsim"],
        "compile": ["compile", str(exported), "--calibration", x, "--chip", "none", "-o", program],
    }[command]
    assert main(given) == 0
    assert "the input looks like [batch, time]: it is read as 20 samples of 50 steps" in capsys.readouterr().err


def test_unlike() -> None:
    known = facts(32, 4, 0.3)
    x = np.zeros((32, 7, 5))
    x.reshape(-1)[::3] = 1
    assert unlike(known, {"in": x}) == []
    assert unlike(known, {"in": x[:32, :4]}) == unlike(known, {"in": x[:8]}) == []
    assert unlike(known, {"in": x[:7, :3]})[0].startswith("the input has 7 steps (its first axis); the file was proven")
    assert unlike({}, {"in": x}) == unlike(known, {}) == unlike(known, {"in": np.zeros(0)}) == []
    assert "looks like [batch, time]" in unlike(known, {"in": x.swapaxes(0, 1)})[0]
    assert unlike(known, {"in": np.ones((32, 32, 5))})[0].startswith("100 % of the input is not 0")
    assert unlike(known, {"in": x * 0})[0].startswith("0 % of the input is not 0")
