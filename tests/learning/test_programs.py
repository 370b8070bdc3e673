"""Programs that learn: gradients beside autograd's, arithmetic beside the back-ends', what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from neurodeploy.compiler import place
from neurodeploy.hwsim.event_learning.program import OnProgram
from neurodeploy.network.answer import Answer, Expr, Function, Linear, OverTime, Returned, Series, Total
from neurodeploy.network.connectivity import Conv2d, Dense, Sparse
from neurodeploy.network.event_rules import EventRule, with_rule
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
        module = TorchNetwork(network, shared=maxima)
        found = module.run({"x": x[:, b].reshape(len(x), -1)})
        assert network.answer is not None and network.answer.score is not None
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
