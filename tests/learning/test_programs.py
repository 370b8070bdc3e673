"""Programs that learn: gradients beside autograd's, arithmetic beside the back-ends', what is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from neurodeploy.compiler import place
from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.hwsim.event_learning.engine import OnChip, Samples
from neurodeploy.hwsim.event_learning.kernels import KINDS
from neurodeploy.hwsim.event_learning.program import OnProgram
from neurodeploy.hwsim.event_learning.synapses import held
from neurodeploy.network import registers
from neurodeploy.network.answer import Answer, Expr, Function, Linear, OverTime, Returned, Series, Total
from neurodeploy.network.connectivity import Conv2d, Dense, Sparse
from neurodeploy.network.event_rules import AdaptiveThreshold, EventRule, RuleName, Shape, build, with_rule
from neurodeploy.network.join import Join
from neurodeploy.network.network import Handle, Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from tests.learning.torch_network import TorchNetwork

TOLERANCE = 1e-10
STEPS = 10
RESETS = (
    ("hard", "now"), ("hard", "next"), ("hard", "gate"), ("subtract", "now"), ("subtract", "next"),
    ("subtract", "once"), ("none", "now"),
)  # fmt: skip


def neurons(random: np.random.Generator, size: int, **more: Any) -> Lif:
    """Spiking neurons with leaks, biases and thresholds of their own, filtered currents or none."""
    filtered = more.pop("filtered", False)
    given = {
        "du": random.uniform(0.3, 0.9, size) if filtered else np.ones(size),
        "dv": random.uniform(0.0, 0.5, size), "bias": random.normal(0, 0.05, size),
        "threshold": random.uniform(0.7, 1.4, size), "reset_to": np.zeros(size), "initial": np.zeros(size),
    }  # fmt: skip
    return Lif(**(given | more))


def population(name: str, shape: tuple[int, ...], neuron: Any) -> Population:
    return Population(name, shape, neuron, Handle(name))


def random_network(seed: int) -> tuple[Network, frozenset[str]]:
    """Layers of all kinds with shortcuts and delays between them, each neuron with any reset; its maxima of spikes."""
    random = np.random.default_rng(seed)
    shape: tuple[int, ...] = (2, 6, 5)
    populations = [population("x", shape, Source())]
    projections: list[Projection] = []
    maxima = set()
    for n in range(int(random.integers(2, 5))):
        here = populations[-1]
        name = f"l{n}"
        kinds = ["conv", "grouped", "max"] if len(here.shape) == 3 and min(here.shape[1:]) > 2 else []
        kind = str(random.choice([*kinds, "dense", "sparse"]))
        if kind == "max" and here.name != "x":
            taps = Conv2d(np.ones((here.shape[0], 1, 2, 2)), here.shape, (2, 2), groups=here.shape[0])
            zeros = np.zeros(taps.outputs)
            neuron = Lif(zeros + 1, zeros + 1, zeros, zeros + 0.5, zeros, zeros, reset="none")
            populations.append(population(name, taps.output_shape, neuron))
            projections.append(Projection(f"p{n}", here.name, name, taps))
            maxima.add(name)
            continue
        synapses, shape = _synapses(random, kind, here)
        reset, time = RESETS[random.integers(len(RESETS))]
        more: dict[str, Any] = {"reset": reset, "reset_time": time, "filtered": random.random() < 0.4}
        if time == "now" and reset != "none" and random.random() < 0.3:
            more["max_spikes"] = 3
        if random.random() < 0.3:
            more["comparison"] = ">="
        size = int(np.prod(shape))
        populations.append(population(name, shape, neurons(random, size, **more)))
        bias = random.normal(0, 0.1, size) if random.random() < 0.5 else None
        projections.append(Projection(f"p{n}", here.name, name, synapses, int(random.integers(0, 3)), bias))
        others = populations[:-2]
        if others and random.random() < 0.5:
            other = others[random.integers(len(others))]
            weights = random.normal(0, 1.5 / np.sqrt(other.size), (size, other.size))
            projections.append(Projection(f"shortcut{n}", other.name, name, Dense(weights), int(random.integers(0, 2))))
    last = populations[-1]
    value: Expr
    if random.random() < 0.5:
        out = neurons(random, 4, spiking=False, reset="none", filtered=True, bias=np.zeros(4))
        populations.append(population("out", (4,), out))
        projections.append(Projection("readout", last.name, "out", Dense(random.normal(0, 0.5, (4, last.size)))))
        how = str(random.choice(["last", "sum", "mean", "max"]))
        value = OverTime(Series("out", "potential", (4,)), how)  # type: ignore[arg-type]
    else:
        reset, time = RESETS[random.integers(len(RESETS))]
        out = neurons(random, 4, reset=reset, reset_time=time)
        populations.append(population("out", (4,), out))
        projections.append(Projection("readout", last.name, "out", Dense(random.normal(0, 0.7, (4, last.size)))))
        spikes = OverTime(Series("out", "spikes", (4,)), "mean")
        value = spikes
        if random.random() < 0.5:
            value = Total(((1.0, spikes), (0.3, OverTime(Series("out", "potential", (4,)), "last"))))
        if random.random() < 0.5:
            value = Linear(Function(value, "tanh"), random.normal(0, 1, (4, 4)), None, (4,))
    answer = Answer((Returned(value),))
    return Network(
        f"random{seed}", tuple(populations), tuple(projections), ("out",), 1e-3, answer=answer
    ), frozenset(maxima)  # fmt: skip


def _synapses(random: np.random.Generator, kind: str, here: Population) -> tuple[Any, tuple[int, ...]]:
    if kind in ("conv", "grouped", "max") and len(here.shape) == 3:
        channels = here.shape[0]
        groups = channels if kind == "grouped" else 1
        out = 2 * channels if groups > 1 else int(random.integers(2, 5))
        weights = random.normal(0, 2.5 / np.sqrt(9 * channels / groups), (out, channels // groups, 3, 3))
        stride, padding = (int(n) for n in random.integers(1, 3, 2))
        one = Conv2d(weights, here.shape, (stride, 1), (padding, 1), groups=groups)  # type: ignore[arg-type]
        return one, one.output_shape
    size = int(random.integers(5, 12))
    weights = random.normal(0, 2.5 / np.sqrt(here.size), (size, here.size))
    if kind != "sparse":
        return Dense(weights), (size,)
    there = random.random((size, here.size)) < 0.4
    counts = there.sum(axis=0)
    pairs = np.argwhere(there.T)
    listed = Sparse(
        weights.T[there.T] * 1.5, pairs[:, 1].astype(np.int32), np.concatenate([[0], np.cumsum(counts)]), size
    )  # fmt: skip
    return listed, (size,)


def gradients_by_autograd(
    network: Network, maxima: frozenset[str], x: np.ndarray, labels: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Gradients in units of thresholds, and scores."""
    total: dict[str, Any] = {}
    scores = []
    for b, label in enumerate(labels):
        assert network.answer is not None and network.answer.score is not None
        read = frozenset(leaf.population for leaf in network.answer.score.series() if leaf.port == "spikes")
        module = TorchNetwork(network, shared=maxima, read=read)
        found = module.run({"x": x[:, b].reshape(len(x), -1)})
        score = torch_value(network.answer.score, found)
        scores.append(score.detach().numpy())
        torch.nn.functional.cross_entropy(score[None], torch.tensor([int(label)])).backward()  # type: ignore[no-untyped-call]
        for name, weights in module.weights.items():
            if weights.grad is not None:
                total[name] = total.get(name, 0) + weights.grad.numpy()
    return total, np.array(scores)


def torch_value(expr: Expr, found: dict[tuple[str, str], torch.Tensor]) -> torch.Tensor:
    """The value of an expression of one sample."""
    if isinstance(expr, Series):
        return found[expr.population, expr.port]
    below = [torch_value(child, found) for child in expr.children]
    if isinstance(expr, OverTime):
        how = {"last": lambda x: x[-1], "sum": lambda x: x.sum(0), "mean": lambda x: x.mean(0),
               "max": lambda x: x.max(0).values}  # fmt: skip
        return how[expr.how](below[0])
    if isinstance(expr, Linear):
        return torch.tensor(expr.matrix) @ below[0]
    if isinstance(expr, Total):
        return sum(weight * value for (weight, _), value in zip(expr.parts, below, strict=True))  # type: ignore[return-value]
    assert isinstance(expr, Function) and expr.name == "tanh"
    return torch.tanh(below[0])


@pytest.mark.parametrize("seed", range(30))
def test_gradients_are_autograds(seed: int) -> None:
    """Random networks of every layer, reset, delay, shortcut and answer: equal to 1e-10 in every weight."""
    torch.set_num_threads(1)
    network, maxima = random_network(seed)
    random = np.random.default_rng(seed + 1000)
    x = (random.random((STEPS, 3, 2, 6, 5)) < 0.3).astype(np.float64)
    if seed % 3 == 0:
        x *= random.uniform(0.5, 1.5, x.shape)  # inputs that carry numbers
    labels = random.integers(0, 4, 3)
    wanted, scores = gradients_by_autograd(network, maxima, x, labels)
    chip = OnProgram(place(with_rule(network, EventRule("mpd-ed", 0.1, batch=100, adapt=None)), None, {}), STEPS)
    outcome = chip.learn({"x": x}, labels)
    assert outcome.scores == pytest.approx(scores, abs=1e-9)
    found = chip.gradients()
    assert set(found) == {q.name for q in network.projections if q.target not in maxima}
    by_name = {q.name: q for q in network.projections}
    for name, gradient in found.items():
        unit = _unit(network, by_name[name])
        theirs = wanted.get(name, np.zeros(gradient.shape))
        assert np.abs(gradient - theirs * unit).max() < TOLERANCE, name


def _unit(network: Network, q: Projection) -> Any:
    """What a weight in units of thresholds is in its own: gradients are those to the former."""
    target = network.by_name[q.target]
    unit = target.neuron.thresholds() if target.spiking else np.ones(target.size)  # type: ignore[attr-defined]
    kind = q.connectivity
    if isinstance(target.neuron, Lif) and len(target.shape) == 3:
        unit = np.repeat(unit.reshape(target.shape[0], -1).mean(axis=1), target.size // target.shape[0])
    if isinstance(kind, Conv2d):
        return unit.reshape(target.shape[0], -1)[:, 0][:, None, None, None]
    if isinstance(kind, Dense):
        return unit[:, None]
    return unit[kind.listed().targets]


@pytest.mark.parametrize("each", ["layer", "neuron"])
@pytest.mark.parametrize("hidden", [(12, 9), ((3, 3, 2), 8), ((2, 3, 1), (4, 3, 2))], ids=["deep", "conv", "convs"])
@pytest.mark.parametrize("name", ["mpd-ed", "std-ed"])
def test_a_chain_learns_as_the_engine_of_chains(name: RuleName, hidden: Any, each: Any) -> None:
    """Another way forwards (the simulator), another read-out, the same weights and thresholds to rounding."""
    random = np.random.default_rng(7)
    x, labels = (random.random((12, 24, 2, 7, 6)) < 0.15).astype(np.uint8), random.integers(0, 4, 24)
    network = build(Shape((2, 7, 6), hidden, 4), name, seed=1, gain=2.0)
    rule = EventRule(name, 0.1, batch=2, adapt=AdaptiveThreshold(target=0.5, window=8, each=each), skip=0.05)
    chain = OnChip(network, rule, 12)
    wanted = chain.learn(Samples.of(x, labels))
    last = OverTime(Series("readout", "potential", (4,)), "last")
    answer = Answer((Returned(Linear(last, np.eye(4) / 12, None, (4,))),))
    chip = OnProgram(place(with_rule(replace(network, answer=answer), rule), None, {}), 12)
    found = chip.learn({"input": x}, labels)
    assert found.right == pytest.approx(wanted.right, abs=TOLERANCE)
    for p, q in zip(chain.network().projections, chip.network().projections, strict=True):
        assert np.abs(p.connectivity.weights - q.connectivity.weights).max() < TOLERANCE
        assert q.event_rule == rule
    for level, name_ in zip(chain.thresholds, chip.thresholds, strict=True):
        assert chip.thresholds[name_] == pytest.approx(level, abs=TOLERANCE)
    assert chip.thresholds["hidden1"].min() < 1
    learned = found.counts[:, :-1, : len(KINDS)].sum(axis=0)
    theirs = dict(zip(KINDS, wanted.counts.sum(axis=0).T, strict=True))
    for kind in ("surrogates", "gradient_macs", "weight_writes", "threshold_updates"):
        own = learned[: len(hidden), KINDS.index(kind)]
        assert own.tolist() == theirs[kind][: len(hidden)].tolist(), kind


def whole(network: Network, scale: int) -> Network:
    """Integers of Loihi with the same spikes: neurons without leak, weights that are whole, thresholds 64 ``scale``."""
    populations = tuple(
        p if p.external else replace(
            p, scale=64.0 * scale,
            neuron=replace(
                p.neuron, du=np.full(p.size, 4095), dv=np.zeros(p.size, int), bias=np.zeros(p.size, int),
                threshold=np.rint(p.neuron.threshold * 64 * scale).astype(np.int64), reset_to=np.zeros(p.size, int),
                initial=np.zeros(p.size, int),
            ),
        )
        for p in network.populations
    )  # fmt: skip
    projections = tuple(
        replace(q, connectivity=replace(q.connectivity, weights=np.rint(q.connectivity.weights * scale).astype(int)))
        for q in network.projections
    )
    return replace(network, populations=populations, projections=projections, arithmetic="loihi")


@pytest.mark.parametrize("reset", ["hard", "subtract"])
def test_integers_have_the_gradients_of_floats(reset: Any) -> None:
    """Gradients in units of thresholds do not know by which numbers a network is written."""
    random, scale, sizes = np.random.default_rng(3), 16, (20, 14, 4)
    populations, projections, here = [population("x", (20,), Source())], [], "x"
    for n, (before, size) in enumerate(pairwise(sizes)):
        zeros = np.zeros(size)
        neuron = Lif(zeros + 1, zeros, zeros, zeros + 1.0, zeros, zeros, reset=reset)
        populations.append(population(f"l{n}", (size,), neuron))
        weights = np.rint(random.normal(0, 0.3, (size, before)) * scale) / scale
        projections.append(Projection(f"p{n}", here, f"l{n}", Dense(weights)))
        here = f"l{n}"
    answer = Answer((Returned(OverTime(Series("l1", "spikes", (4,)), "mean")),))
    floats = Network("if", tuple(populations), tuple(projections), ("l1",), 1e-3, answer=answer)
    x, labels = (random.random((12, 10, 20)) < 0.3).astype(np.uint8), random.integers(0, 4, 10)
    rule = EventRule("mpd-ed", 0.1, batch=100, adapt=None)
    outcomes = []
    for network in (floats, whole(floats, scale)):
        chip = OnProgram(place(with_rule(network, rule), None, {}), 12)
        outcomes.append((chip.learn({"x": x}, labels), chip.gradients()))
    (a, floating), (b, integer) = outcomes
    assert (a.scores == b.scores).all() and a.scores.max() > 0
    for name, gradient in floating.items():
        assert np.abs(gradient).max() > 1e-3
        assert integer[name] == pytest.approx(gradient, abs=1e-12)


@pytest.mark.parametrize(
    ("low", "high", "even", "expected"),
    [
        (-128, 127, False, (1, -128, 127)), (-5, 3, False, (1, -128, 127)), (-200, 254, True, (2, -256, 254)),
        (0, 255, False, (1, 0, 255)), (-255, 0, False, (1, -255, 0)), (0, 130, True, (2, -256, 254)),
    ],
)  # fmt: skip
def test_what_a_chip_can_hold(low: int, high: int, even: bool, expected: tuple[int, int, int]) -> None:
    values = np.array([low, 0, high] if even else [low, 0, min(high, 101), high])
    step, least, most = held(values, 8)
    assert (step, least, most) == expected
    for corner in (least, most):
        extremes = np.array([*values[1:-1], corner])
        if step == 1 or not (extremes & 1).any():
            assert registers.within_weights(extremes)


@pytest.mark.parametrize("bits", range(2, 9))
def test_whatever_is_held_stays_what_it_is(bits: int) -> None:
    """Random weights that so many bits hold, of any step and sign: all are on the grid, which the chip holds."""
    random = np.random.default_rng(bits)
    for _ in range(200):
        step = 1 << int(random.integers(0, 10 - bits))
        low, high = ((-(1 << (bits - 1)), 1 << (bits - 1)), (0, 1 << bits), (1 - (1 << bits), 1))[random.integers(3)]
        weights = random.integers(low, high, 12) * (step if low and high > 1 else 1)
        grid, least, most = held(weights, bits)
        assert not (weights % grid).any() and least <= weights.min() and weights.max() <= most
        assert most - least <= ((1 << bits) - 1) * grid
        for corner in (least, most):
            assert registers.within_weights(np.append(weights, corner))


def refused(network: Network, rule: EventRule | None = None, steps: int = STEPS) -> str:
    ruled = with_rule(network, rule or EventRule("mpd-ed", 0.1, adapt=None)) if rule is not NONE else network
    with pytest.raises(UnsupportedError) as error:
        OnProgram(place(ruled, None, {}), steps)
    return str(error.value)


NONE = EventRule("mpd-ed", 1.0)


def two_layers(**more: Any) -> Network:
    random = np.random.default_rng(0)
    first = neurons(random, 6, **more)
    out = neurons(random, 3, reset="subtract")
    populations = (population("x", (5,), Source()), population("a", (6,), first), population("b", (3,), out))
    projections = (
        Projection("p0", "x", "a", Dense(random.normal(0, 1, (6, 5)))),
        Projection("p1", "a", "b", Dense(random.normal(0, 1, (3, 6)))),
    )
    return Network("two", populations, projections, ("b",), 1e-3)


def test_what_cannot_learn_is_refused_by_name() -> None:
    plain = two_layers()
    assert "has nothing that learns event by event" in refused(plain, NONE)
    loop = replace(plain, projections=(*plain.projections, Projection("again", "a", "a", Dense(np.eye(6)), 1)))
    assert "projection 'again' is recurrent (a -> a, a delay of 1)" in refused(loop)
    back = replace(plain, projections=(*plain.projections, Projection("fed", "b", "a", Dense(np.ones((6, 3))), 2)))
    assert "projection 'fed' is recurrent (b -> a, a delay of 2)" in refused(back)
    assert "population 'a' cannot pass errors back" in refused(two_layers(refractory=np.ones(6, np.int32)))
    assert "a refractory time" in refused(two_layers(refractory=np.ones(6, np.int32)))
    slow = two_layers(threshold_decay=np.full(6, 0.1), threshold_jump=np.full(6, 0.1))
    assert "an adaptive threshold of its own" in refused(slow)
    assert "negative spikes" in refused(two_layers(lower=np.full(6, -1.0)))
    assert "is not a rule of events" in refused(plain, EventRule("bptt", 0.1))
    counted = refused(plain, EventRule("std-ed", 0.1))
    assert "answers by the spikes of 'b'" in counted and "mpd-ed learns from numbers of spikes" in counted
    first, second = plain.projections
    mixed = replace(plain, projections=(replace(first, rule=EventRule("mpd-ed", 0.1)),
                                        replace(second, rule=EventRule("mpd-ed", 0.1, batch=2))))  # fmt: skip
    assert "'p0' and 'p1' contradict each other in batch" in refused(mixed, NONE)
    joined = replace(plain, populations=(plain.populations[0], replace(
        plain.populations[1], neuron=replace(plain.populations[1].neuron, du=np.ones(6)),
        join=Join(np.arange(6, dtype=np.int32)),
    ), plain.populations[2]), projections=(replace(first, port=1), second))  # fmt: skip
    assert "has a MAX of compartments in front" in refused(joined) or "port 1" in refused(joined)
    with pytest.raises(InvalidInputError, match=r"does not exist\n.*p2\n.*p0, p1, a, b"):
        with_rule(plain, EventRule("mpd-ed", 0.1), ["p2"])
    chosen = with_rule(plain, EventRule("mpd-ed", 0.1), ["b"])
    assert [q.event_rule is not None for q in chosen.projections] == [False, True]


def test_a_loop_before_what_learns_stays() -> None:
    """Only the last layer learns; the recurrent one is run, and not looked at."""
    plain = two_layers()
    loop = replace(plain, projections=(*plain.projections, Projection("again", "a", "a", Dense(np.eye(6) * 0.3), 1)))
    ruled = with_rule(loop, EventRule("mpd-ed", 0.3, adapt=None), ["p1"])
    chip = OnProgram(place(ruled, None, {}), STEPS)
    random = np.random.default_rng(1)
    x, labels = (random.random((STEPS, 20, 5)) < 0.5).astype(np.uint8), random.integers(0, 3, 20)
    chip.learn({"x": x}, labels)
    changed = [
        q.name for q, p in zip(chip.network().projections, loop.projections, strict=True)
        if (q.connectivity.weights != p.connectivity.weights).any()
    ]  # fmt: skip
    assert changed == ["p1"]


def test_a_silent_output_learns_from_its_highest_potential() -> None:
    """One neuron of two classes, one input spike: v = 0.4 at step 2, then 0.2; theta 1 and width 1: psi = 0.4."""
    zeros = np.zeros(2)
    out = Lif(zeros + 1, zeros + 0.5, zeros, zeros + 1, zeros, zeros)
    populations = (population("x", (1,), Source()), population("out", (2,), out))
    network = Network("one", populations, (Projection("p", "x", "out", Dense(np.array([[0.4], [0.4]]))),), ("out",), 1)
    rule = EventRule("mpd-ed", 0.1, batch=100, adapt=None)
    chip = OnProgram(place(with_rule(network, rule), None, {}), 4)
    x = np.zeros((4, 1, 1))
    x[2] = 1
    chip.learn({"x": x}, np.array([0]))
    # p = 1/2 each: the label's error is -1/2, the other's +1/2 is not learned from, since it is silent as it should be
    assert chip.gradients()["p"] == pytest.approx(np.array([[-0.5 * 0.4], [0.0]]))
