"""Accuracy is the user's own: argmax of what their torch module returns, whatever stands behind its neurons."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.network.answer import Answer, Function, Linear, OverTime, Product, Returned, Series, Total
from neurodeploy.nir_graph.answer import store
from neurodeploy.program.program import Program
from tests import nirgraphs
from tests.cli.conftest import Run

CONVENTIONS = ["--dt", "1e-3", "--reset", "hard", "--comparison", ">", "--recurrent-bias", "after-delay"]
STEPS, SAMPLES = 24, 40
LIF1, LIF2 = Series("lif1", "spikes", (20,)), Series("lif2", "spikes", (5,))
V1, V2 = Series("lif1", "potential", (20,)), Series("lif2", "potential", (5,))
VOTES = np.kron(np.eye(4), np.full((1, 5), 0.2))
TEMPORAL = np.linspace(1, 0, STEPS)


def forward(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The network of `nirgraphs.mlp` by hand, in float64: spikes and membranes of both layers, [time, batch, n]."""
    nodes = nirgraphs.mlp().nodes
    v1, v2, kept = torch.zeros(x.shape[1], 20).double(), torch.zeros(x.shape[1], 5).double(), []
    for step in x.double():
        i1 = torch.nn.functional.linear(step, *(torch.tensor(a) for a in (nodes["fc1"].weight, nodes["fc1"].bias)))
        v1 = v1 + 1e-3 / 5e-3 * (i1 - v1)
        s1 = (v1 > 0.4).double()
        v1 = v1 * (1 - s1)
        i2 = torch.nn.functional.linear(s1, *(torch.tensor(a) for a in (nodes["fc2"].weight, nodes["fc2"].bias)))
        v2 = v2 + 1e-3 / 5e-3 * (i2 - v2)
        s2 = (v2 > 0.4).double()
        v2 = v2 * (1 - s2)
        kept.append((s1, v1, s2, v2))
    return tuple(torch.stack(values) for values in zip(*kept, strict=True))


HEADS = {
    "mean of spikes": (OverTime(LIF2, "mean"), lambda s1, v1, s2, v2: s2.mean(0)),
    "argmax of counts": (Function(OverTime(LIF2, "sum"), "argmax", dim=0), lambda s1, v1, s2, v2: s2.sum(0)),
    "max of membranes": (OverTime(V2, "max"), lambda s1, v1, s2, v2: v2.max(0).values),
    "last membrane": (OverTime(V2, "last"), lambda s1, v1, s2, v2: v2[-1]),
    "log-softmax of each step, then mean": (
        OverTime(Function(V2, "log_softmax", dim=0), "mean"),
        lambda s1, v1, s2, v2: torch.log_softmax(v2, 2).mean(0),
    ),
    "log-softmax": (
        Function(OverTime(LIF2, "sum"), "log_softmax", dim=0),
        lambda s1, v1, s2, v2: torch.nn.functional.log_softmax(s2.sum(0), dim=1),
    ),
    "votes": (
        Linear(OverTime(LIF1, "mean"), VOTES, None, (4,)),
        lambda s1, v1, s2, v2: s1.mean(0).reshape(-1, 4, 5).mean(2),
    ),
    "a hidden layer's membranes through a linear layer, gated": (
        OverTime(Product(Linear(V1, np.arange(100.0).reshape(5, 20) % 7 - 3, np.arange(5.0), (5,)), LIF2), "sum"),
        lambda s1, v1, s2, v2: (
            (v1 @ torch.tensor(np.arange(100.0).reshape(5, 20) % 7 - 3).T + torch.arange(5.0)) * s2
        ).sum(0),
    ),
    "first spikes count most": (
        Total(((1.0, OverTime(LIF2, "weights", TEMPORAL)), (0.01, OverTime(V2, "last"))), np.linspace(0, 0.1, 5)),
        lambda s1, v1, s2, v2: (
            torch.einsum("t,tbn->bn", torch.tensor(TEMPORAL), s2) + 0.01 * v2[-1] + torch.linspace(0, 0.1, 5)
        ),
    ),
    "the whole sequence": (LIF2, lambda s1, v1, s2, v2: s2.sum(0)),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    x = (np.random.default_rng(3).random((STEPS, SAMPLES, 12)) < 0.35).astype(np.uint8)
    np.save("x.npy", x)
    return tmp_path


def written(answer: Answer) -> None:
    graph = nirgraphs.mlp()
    store(graph, answer)
    nirgraphs.write(graph, Path("net.nir"))


def labelled(classes: np.ndarray, count: int) -> float:
    """Labels of which torch gets some right; its accuracy."""
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(SAMPLES) < 0.6, classes, rng.integers(0, count, SAMPLES))
    np.save("y.npy", labels)
    return float((classes == labels).mean())


@pytest.mark.parametrize("head", HEADS)
def test_accuracy_is_that_of_what_torch_returns(head: str, folder: Path, run: Run) -> None:
    value, own = HEADS[head]
    written(Answer((Returned(value), Returned(LIF1, (1, 0, 2)))))
    x = np.load("x.npy")
    found = own(*forward(torch.tensor(x))).numpy()
    expected = labelled(found.round(12).argmax(1), found.shape[1])  # a tie is one, however torch rounds it
    assert 0.3 < expected < 0.95
    code, out, err = run(
        "verify", "net.nir", *CONVENTIONS, "--input", "x.npy", "--labels", "y.npy", "--chip", "none",
        "--backends", "reference,hwsim", "--json",
    )  # fmt: skip
    assert code == 0, err
    said = json.loads(out)
    accuracies = {entry["stage"]: entry["accuracy"] for entry in said["accuracies"]}
    assert accuracies["NIR"] == accuracies["float network"] == expected
    assert accuracies["integer network"] == accuracies["hwsim"]
    assert abs(accuracies["hwsim"] - expected) <= 0.5
    assert said["answer"].endswith("the spikes of lif1, as [batch, time, 20]")
    reads_potentials = any(leaf.port == "potential" for leaf in value.series())
    assert not reads_potentials or all(entry["silent"] == 0 for entry in said["accuracies"])


@pytest.mark.parametrize("how", ["float", "integer"])
def test_run_writes_what_forward_returns(how: str, folder: Path, run: Run) -> None:
    rate = Function(OverTime(LIF2, "mean"), "softmax", dim=0)
    both = (Returned(rate), Returned(V2, (1, 0, 2)), Returned(LIF1, merged=True, shape=(4, 5)))
    written(Answer((*both, Returned(Function(rate, "argmax", dim=0)))))
    options = ["--float"] if how == "float" else []
    assert run("compile", "net.nir", *CONVENTIONS, "--chip", "none", *options, "-o", "net.ndp")[0] == 0
    backends = ["hwsim", "reference", *(["onnxruntime"] if how == "float" else [])]
    kept = []
    for backend in backends:
        code, out, _ = run("run", "net.ndp", "-i", "x.npy", "-b", backend, "-o", f"{backend}.npz", "--json")
        assert code == 0
        with np.load(f"{backend}.npz", allow_pickle=False) as arrays:
            kept.append([arrays[f"returned/{index}"] for index in range(4)])
            assert "returned/4" not in arrays
        said = json.loads(out)
        assert said["returned"] == [[SAMPLES, 5], [SAMPLES, STEPS, 5], [STEPS * SAMPLES, 4, 5], [SAMPLES]]
        assert said["answer"].startswith("mean over time of the spikes of lif2, then softmax; the potentials of lif2, ")
        assert said["predicted"] == kept[-1][3].astype(int).tolist() == kept[-1][0].argmax(1).tolist()
        for a, b in zip(kept[0], kept[-1], strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12)
    s1, _, s2, v2 = forward(torch.tensor(np.load("x.npy")))
    expected = [torch.softmax(s2.mean(0), 1), v2.transpose(0, 1), s1.flatten(0, 1).reshape(-1, 4, 5)]
    if how == "float":
        for a, b in zip(kept[0], expected, strict=False):
            np.testing.assert_allclose(a, b.numpy(), atol=1e-9)
    else:
        close = np.abs(kept[0][1] - expected[1].numpy()) < 0.05  # in float units: divided by the population's scales
        assert close.mean() > 0.7


def test_run_and_inspect_say_the_rule(folder: Path, run: Run) -> None:
    written(Answer((Returned(Function(OverTime(LIF2, "mean"), "log_softmax", dim=0)),)))
    rule = "answer: mean over time of the spikes of lif2, then log_softmax"
    run("compile", "net.nir", *CONVENTIONS, "--chip", "none", "-o", "net.ndp")
    for command in (["inspect", "net.nir", *CONVENTIONS], ["inspect", "net.ndp"], ["run", "net.ndp", "-i", "x.npy"]):
        code, out, _ = run(*command)
        assert (code, rule in out) == (0, True)
    assert json.loads(run("inspect", "net.ndp", "--json")[1])["answer"] == rule.removeprefix("answer: ")
    nirgraphs.write(nirgraphs.mlp(), Path("plain.nir"))
    assert json.loads(run("inspect", "plain.nir", *CONVENTIONS, "--json")[1])["answer"] is None


def test_silence_is_that_of_what_the_answer_reads(folder: Path, run: Run) -> None:
    """Samples without a spike of the layer that is read are silent; where a potential is read, none is."""
    x = np.load("x.npy")
    x[:, ::2] = 0  # their layers have biases too small to spike from
    np.save("x.npy", x)
    np.save("y.npy", np.zeros(SAMPLES, int))
    counts = OverTime(LIF1, "sum")
    membranes = Total(((1.0, counts), (1.0, OverTime(V1, "mean"))))
    for value, silent in ((Linear(counts, VOTES, None, (4,)), SAMPLES // 2), (membranes, 0)):
        written(Answer((Returned(value),)))
        call = ["verify", "net.nir", *CONVENTIONS, "-i", "x.npy", "--labels", "y.npy", "--chip", "none", "--json"]
        code, out, err = run(*call, "--backends", "reference")
        assert code == 0, err
        assert [entry["silent"] for entry in json.loads(out)["accuracies"]] == [silent] * 3


def test_a_run_of_another_length_is_refused_before_it_runs(folder: Path, run: Run) -> None:
    written(Answer((Returned(OverTime(LIF2, "weights", TEMPORAL[:-1])),)))
    assert run("compile", "net.nir", *CONVENTIONS, "--chip", "none", "-o", "net.ndp")[0] == 0
    verify = ["verify", "net.nir", *CONVENTIONS, "--chip", "none", "--input", "x.npy"]
    for command in (["run", "net.ndp", "-i", "x.npy", "-o", "out.npz"], verify):
        code, _, err = run(*command)
        assert code == 2
        assert "another length" in err and "24 steps" in err and "23 steps" in err
    assert not Path("out.npz").exists()


def test_labels_are_classes_of_the_answer(folder: Path, run: Run) -> None:
    written(Answer((Returned(HEADS["votes"][0]),)))
    np.save("y.npy", np.full(SAMPLES, 4))
    code, _, err = run("verify", "net.nir", *CONVENTIONS, "-i", "x.npy", "--labels", "y.npy", "--chip", "none")
    assert code == 2 and "0 to 3" in err


def test_a_damaged_answer_is_refused_by_every_command(folder: Path, run: Run) -> None:
    graph = nirgraphs.mlp()
    store(graph, Answer((Returned(LIF2),)))
    graph.metadata["neurodeploy"]["answer"]["rule"] = "{"
    nirgraphs.write(graph, Path("net.nir"))
    for command in (["inspect"], ["compile", "--chip", "none"], ["verify", "--input", "x.npy", "--chip", "none"]):
        code, _, err = run(command[0], "net.nir", *CONVENTIONS, *command[1:])
        assert code == 2 and "damaged answer" in err


def test_compile_measures_by_the_answer_and_keeps_it(folder: Path, run: Run) -> None:
    value, own = HEADS["votes"]
    written(Answer((Returned(value),)))
    x = np.load("x.npy")
    expected = labelled(own(*forward(torch.tensor(x))).numpy().round(12).argmax(1), 4)
    code, out, err = run(
        "compile", "net.nir", *CONVENTIONS, "--calibration", "x.npy", "--labels", "y.npy", "-o", "net.ndp",
        "--passes", "prune,split-signs,quantise,fine-tune{iterations=1}", "--json",
    )  # fmt: skip
    assert code == 0, err
    assert expected in [entry["accuracy"] for entry in json.loads(out)["passes"]]
    program = Program.load("net.ndp")
    assert program.network.answer is not None and program.network.answer.described().startswith("mean over time")


def test_a_population_that_only_the_answer_reads_is_kept(folder: Path) -> None:
    import nir

    graph = nirgraphs.mlp()
    graph.nodes["head"] = nir.Linear(np.eye(3, 12))
    graph.nodes["side"] = nirgraphs.lif(3)
    graph.edges += [("input", "head"), ("head", "side")]
    given = {"dt": 1e-3, "reset": "hard", "comparison": ">", "recurrent_bias": "after-delay"}
    side = Answer((Returned(OverTime(Series("side", "potential", (3,)), "max")),))
    for answer, kept in ((None, False), (side, True)):
        if answer:
            store(graph, answer)
        nirgraphs.write(graph, Path("net.nir"))
        network = compile("net.nir", None, CompileOptions(conventions=given)).program.network
        assert ("side" in network.by_name) == kept
        assert network.answer is None or network.classes == 3
    assert replace(network, notes={}).answer is network.answer
