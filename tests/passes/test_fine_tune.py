"""Fine-tuning: the torch twin is exact, gradients point the right way, the result is never worse, and refusals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.network.answer import Answer, Function, Linear, OverTime, Returned, Series
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.passes import PassData
from neurodeploy.passes.fine_tune.fine_tune import FineTune, _temperature, _Tuning
from neurodeploy.passes.quantise.quantise import Quantise
from neurodeploy.program.recording import Record, scores
from tests import nirgraphs
from tests.answers import Drawn, torch_value
from tests.networks import random_network
from tests.passes.test_quantise import network_of, spikes

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("seed", range(60))
def test_the_torch_twin_is_the_reference(seed: int) -> None:
    from neurodeploy.passes.fine_tune.trainable import Weights, run

    network = random_network(seed)
    rng = np.random.default_rng(seed)
    inputs = {p.name: (rng.random((9, 3, p.size)) < 0.4).astype(np.int64) for p in network.inputs}
    expected = run_network(network, inputs)
    found = run(network, Weights(network).synapses, {n: torch.from_numpy(x).double() for n, x in inputs.items()})
    for population in network.populations:
        name = population.name
        port = "spikes" if population.spiking else "potential"
        values = expected.spikes[name].dense() if population.spiking else expected.states["v"][name]
        np.testing.assert_array_equal(found[name, port].detach().numpy(), values, err_msg=name)


def one_synapse(weight: int) -> Network:
    """An input and a neuron without leak: it fires in every n-th step, where n is how often the weight fits."""
    one = np.ones(1, np.int32)
    neuron = Lif(4095 * one, 0 * one, 0 * one, (100 << 6) * one, 0 * one, 0 * one)
    return Network(
        "one",
        (Population("input", (1,), Source()), Population("lif", (1,), neuron, scale=6400.0)),
        (Projection("p", "input", "lif", Dense(np.array([[weight]], np.int16))),),
        ("lif",),
        1e-3,
        "loihi",
    )


def test_a_weight_that_is_too_small_grows_until_the_spikes_agree() -> None:
    """The float neuron fires in every fourth step (0.26 > 1/4); the integer one starts at 20 of 100: every sixth."""
    network = one_synapse(20)
    neuron = replace(network.populations[1].neuron, threshold=np.ones(1), dv=np.zeros(1), du=np.ones(1))
    neuron = replace(neuron, bias=np.zeros(1), reset_to=np.zeros(1), initial=np.zeros(1))
    teacher = replace(
        network,
        populations=(network.populations[0], replace(network.populations[1], neuron=neuron, scale=1.0)),
        projections=(replace(network.projections[0], connectivity=Dense(np.array([[0.26]]))),),
        arithmetic="float",
    )
    x = {"": np.ones((40, 3, 1), np.uint8)}
    tuned = FineTune(iterations=40).apply(network, PassData(x, teacher=teacher))
    assert tuned.projections[0].connectivity.weights.item() > 25
    a, b = (run_network(n, x).spikes["lif"].dense() for n in (teacher, tuned))
    assert a.sum() == 30
    np.testing.assert_array_equal(a, b)
    assert "before and 0.00% after" in tuned.notes["fine-tune"]


def test_it_undoes_damage_on_samples_it_has_not_seen(tmp_path: Path) -> None:
    float_network = network_of(nirgraphs.mlp(), tmp_path)
    x = (np.random.default_rng(5).random((30, 60, 12)) < 0.3).astype(np.uint8)
    integer = Quantise().apply(float_network, PassData({"": x[:, :16]}))
    first = integer.projections[0]
    damage = np.random.default_rng(1).integers(-8, 9, first.connectivity.weights.shape) * 2
    damaged = np.clip(first.connectivity.weights + damage, -256, 254).astype(np.int16)
    broken = replace(
        integer,
        projections=(
            replace(first, connectivity=replace(first.connectivity, weights=damaged)),
            *integer.projections[1:],
        ),
    )
    tuned = FineTune(iterations=40).apply(broken, PassData({"": x[:, :40]}, teacher=float_network))

    def different(network: Network) -> int:
        a, b = (run_network(n, {"": x[:, 40:]}).spikes["lif1"].dense() for n in (float_network, network))
        return int((a != b).sum())

    assert different(tuned) < 0.8 * different(broken)
    w = tuned.projections[0].connectivity.weights
    assert w.dtype == np.int16
    assert (w % 2 == 0).all()
    assert ((damaged == 0) <= (w == 0)).all(), "a synapse that is not there does not appear"


def test_the_held_out_samples_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every move that training likes makes the held-out samples worse, the given network comes back."""
    network = network_of(nirgraphs.mlp(), tmp_path)
    integer = Quantise(rounding="nearest").apply(network)
    judged = iter(range(1000))
    monkeypatch.setattr(_Tuning, "_judge", lambda self, network: (float(next(judged)), 0.0))
    tuned = FineTune().apply(integer, PassData({"": spikes((12,))}, teacher=network))
    assert next(judged) > 2, "moves were accepted and judged"
    for before, after in zip(integer.projections, tuned.projections, strict=True):
        np.testing.assert_array_equal(before.connectivity.weights, after.connectivity.weights)


def test_a_network_that_is_right_stays(tmp_path: Path) -> None:
    """A network is its own teacher: nothing can be better, so it comes back as it was."""
    integer = Quantise().apply(network_of(nirgraphs.mlp(), tmp_path))
    teacher = replace(
        integer,
        populations=tuple(replace(p, scale=1.0) for p in integer.populations),
    )
    tuned = FineTune().apply(integer, PassData({"": spikes((12,))}, teacher=teacher))
    for before, after in zip(integer.projections, tuned.projections, strict=True):
        np.testing.assert_array_equal(before.connectivity.weights, after.connectivity.weights)


def test_labels_add_their_cross_entropy(tmp_path: Path) -> None:
    network = network_of(nirgraphs.mlp(), tmp_path)
    integer, x = Quantise().apply(network), {"input": spikes((12,))}
    labels = np.array([4, 0, 1, 3])
    plain = _Tuning(FineTune(), integer, network, x)
    labelled = _Tuning(FineTune(), integer, network, x, PassData(labels=labels))
    found = run_network(integer, {n: v[:, labelled.held] for n, v in x.items()})
    counts = found.spikes["lif2"].dense().sum(axis=0) / labelled.temperature
    log_share = counts - np.log(np.exp(counts).sum(axis=1, keepdims=True))
    entropy = -log_share[np.arange(4), labels[labelled.held]].mean()
    assert labelled._judge(integer)[0] == pytest.approx(plain._judge(integer)[0] + entropy)


def test_the_temperature_does_not_depend_on_loudness() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    scores = rng.normal(size=(200, 3)) + 2 * np.eye(3)[labels]
    assert _temperature(1000 * scores, labels) == pytest.approx(1000 * _temperature(scores, labels))


def test_refusals(tmp_path: Path) -> None:
    network = network_of(nirgraphs.mlp(), tmp_path)
    integer = Quantise().apply(network)
    x = {"": spikes((12,))}
    with pytest.raises(InvalidInputError, match="only an integer network is fine-tuned"):
        FineTune().apply(network, PassData(x, teacher=network))
    with pytest.raises(InvalidInputError, match="fine-tuning needs the samples"):
        FineTune().apply(integer, PassData(teacher=network))
    with pytest.raises(InvalidInputError, match="are not one class for each sample"):
        FineTune().apply(integer, PassData(x, labels=np.zeros(3, int), teacher=network))
    zero = replace(integer.by_name["lif1"], neuron=replace(integer.by_name["lif1"].neuron, threshold=np.zeros(20, int)))
    populations = tuple(zero if p.name == "lif1" else p for p in integer.populations)
    with pytest.raises(UnsupportedError, match="population 'lif1' has a threshold that is not positive"):
        FineTune().apply(replace(integer, populations=populations), PassData(x, teacher=network))
    waits = replace(integer.by_name["lif1"].neuron, refractory=np.ones(20, np.int32))
    populations = tuple(replace(p, neuron=waits) if p.name == "lif1" else p for p in integer.populations)
    with pytest.raises(UnsupportedError, match="population 'lif1' has a refractory time"):
        FineTune().apply(replace(integer, populations=populations), PassData(x, teacher=network))


def test_a_read_out_that_is_read_at_its_last_step() -> None:
    """The cross entropy is that of `scores`, which takes the last potential for such a network, not their sum."""
    from neurodeploy.network.event_rules import Shape, build

    network = build(Shape((12,), (9,), 3), "mpd-ed", seed=2, gain=2.0)
    assert network.read == "last"
    integer, x = Quantise().apply(network), {"input": spikes((12,))}
    labels = np.arange(4) % 3
    plain = _Tuning(FineTune(), integer, network, x)
    labelled = _Tuning(FineTune(), integer, network, x, PassData(labels=labels))
    found = scores(integer, run_network(integer, {n: v[:, labelled.held] for n, v in x.items()}, record=Record(("v",))))
    found = found / labelled.temperature
    log_share = found - np.log(np.exp(found).sum(axis=1, keepdims=True))
    entropy = -log_share[np.arange(len(found)), labels[labelled.held]].mean()
    assert labelled._judge(integer)[0] == pytest.approx(plain._judge(integer)[0] + entropy)


@pytest.mark.parametrize("seed", range(40))
def test_answers_are_computed_in_torch_as_everywhere(seed: int) -> None:
    from neurodeploy.passes.fine_tune.answers import value

    rng = np.random.default_rng(seed)
    leaves = [Series("a", "spikes", (2, 3)), Series("b", "potential", (6,))]
    answer = Drawn(rng, leaves, 4).answer()
    held = {leaf: torch.from_numpy(rng.normal(size=(4, 2, 6))) for leaf in leaves}
    for item in answer.returned:
        expected = torch_value(item.value, held.get)
        torch.testing.assert_close(value(item.value, held.get), expected, rtol=1e-9, atol=1e-9, equal_nan=True)


LIF1, LIF2, V2 = Series("lif1", "spikes", (20,)), Series("lif2", "spikes", (5,)), Series("lif2", "potential", (5,))
VOTES = Linear(OverTime(LIF1, "mean"), np.kron(np.eye(4), np.ones((1, 5))), np.ones(4), (4,))
HEADS = {
    "mean of spikes": OverTime(LIF2, "mean"),
    "last potential of spiking neurons": OverTime(V2, "last"),
    "highest potential, soft-max": Function(OverTime(V2, "max"), "log_softmax", dim=0),
    "votes of a hidden layer": VOTES,
}


@pytest.mark.parametrize("head", HEADS)
def test_labels_train_towards_the_answer(head: str, tmp_path: Path) -> None:
    """The cross entropy is that of the answer's own scores, in the integers that run, and it has a gradient."""
    from neurodeploy.passes.fine_tune.trainable import Weights, run

    network = replace(network_of(nirgraphs.mlp(), tmp_path), answer=Answer((Returned(HEADS[head]),)))
    integer, x = Quantise().apply(network), {"input": spikes((12,))}
    labels = np.arange(4) % 4
    plain = _Tuning(FineTune(), integer, network, x)
    labelled = _Tuning(FineTune(), integer, network, x, PassData(labels=labels))
    found = scores(integer, run_network(integer, {n: v[:, labelled.held] for n, v in x.items()}))
    found = found / labelled.temperature
    log_share = found - np.log(np.exp(found).sum(axis=1, keepdims=True))
    entropy = -log_share[np.arange(len(found)), labels[labelled.held]].mean()
    assert labelled._judge(integer)[0] == pytest.approx(plain._judge(integer)[0] + entropy)
    weights = Weights(integer)
    given = {"input": torch.from_numpy(x["input"][:, labelled.held]).double()}
    sent = run(integer, weights.synapses, given)
    assert labelled._loss(sent, labelled.held).item() == pytest.approx(labelled._judge(integer)[0])
    entropy_alone = torch.nn.functional.cross_entropy(labelled._scores(sent), torch.from_numpy(labels[labelled.held]))
    assert weights.gradient(entropy_alone).abs().max() > 0


def test_what_labels_cannot_train_is_said(tmp_path: Path) -> None:
    counts = OverTime(LIF2, "sum")
    inner = Linear(Function(counts, "argmax", dim=0), np.arange(3.0)[:, None], None, (3,))
    network = replace(network_of(nirgraphs.mlp(), tmp_path), answer=Answer((Returned(inner),)))
    x = {"": spikes((12,))}
    tuned = FineTune(iterations=1).apply(
        Quantise().apply(network), PassData(x, labels=np.array([2, 0, 1, 2]), teacher=network)
    )
    assert "labels judged moves but proposed none, since the answer takes an argmax" in tuned.notes["fine-tune"]
    assert tuned.answer is network.answer
    network = replace(network, answer=Answer((Returned(Function(counts, "log")),)))
    assert np.isinf(scores(network, run_network(network, x))).any()
    with pytest.raises(UnsupportedError, match=r"(?s)sum over time of the spikes of lif2, then log\) are not finite"):
        FineTune().apply(Quantise().apply(network), PassData(x, labels=np.zeros(4, int), teacher=network))
    FineTune(iterations=1).apply(Quantise().apply(network), PassData(x, teacher=network))
