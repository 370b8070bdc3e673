"""Counts beside those of plain loops over dense spikes, the clocked baselines, hops, prices."""

from __future__ import annotations

import numpy as np
import pytest

from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.hwsim.event_learning.engine import OnChip, Samples
from neurodeploy.hwsim.prices.learning_bill import Extent, bill, clocked
from neurodeploy.network.connectivity import Conv2d
from neurodeploy.network.event_rules import EventRule, RuleName, Shape, build, chain


def samples(shape: tuple[int, ...], steps: int, count: int, classes: int, rate: float) -> Samples:
    random = np.random.default_rng(2)
    return Samples.of(
        (random.random((steps, count, *shape)) < rate).astype(np.uint8), random.integers(0, classes, count)
    )


def dense_of(which: Samples, b: int, size: int) -> np.ndarray:
    """Spikes of a sample, ``[steps, neurons]``."""
    found = np.zeros((which.steps, size))
    for t in range(which.steps):
        found[t, which.neuron[which.first[b, t] : which.first[b, t + 1]]] = 1
    return found


@pytest.mark.parametrize("hidden", [(9,), ((3, 3, 2),)], ids=["dense", "conv"])
def test_leaky_counts_by_loops(hidden: tuple[int, ...]) -> None:
    """MPD-ED, one hidden layer: every count of its way there and back, by a dense simulation and plain loops."""
    steps, shape = 10, (1, 5, 6)
    network = build(Shape(shape, hidden, 3), "mpd-ed", seed=4, gain=2.2)
    rule = EventRule("mpd-ed", 1e-9, adapt=None)  # the weights stay, so each sample can be looked at alone
    which = samples(shape, steps, 6, 3, 0.2)
    outcome = OnChip(network, rule, steps).learn(which)
    layer = chain(network, "mpd-ed").layers[0]
    csr = layer.projection.connectivity.to_csr()
    weights = csr.toarray()
    connected = np.zeros(weights.shape, bool)
    rows = np.repeat(np.arange(weights.shape[0]), np.diff(csr.indptr))
    connected[rows, csr.indices] = True
    kind = layer.projection.connectivity
    for b in range(len(which)):
        x = dense_of(which, b, kind.inputs)
        u, fired, level = np.zeros(kind.outputs), np.zeros((steps, kind.outputs)), np.zeros((steps, kind.outputs))
        touched = 0
        for t in range(steps):
            u = layer.keep * u + x[t] @ weights
            places = (x[t] @ connected > 0).reshape(-1, 1) if isinstance(kind, Conv2d) else (x[t] @ connected > 0)
            touched += int(places.sum())
            level[t], fired[t] = u, u > layer.threshold
            u = np.where(fired[t] > 0, 0, u)
        psi = fired * np.maximum(0, 1 - np.abs(level / layer.threshold - 1))
        pairs = 0
        pre, post = [list(zip(*np.nonzero(s), strict=True)) for s in (x, fired)]
        for t, i in pre:
            for j in np.flatnonzero(connected[i]):
                following = [k for k, n in post if n == j and k >= t]
                pairs += bool(following) and psi[following[0], j] > 0
        found = dict(zip(outcome.total(), outcome.counts[b].T, strict=True))
        assert found["events_in"][0] == x.sum()
        assert found["events_out"][0] == found["events_in"][1] == fired.sum() > 0
        assert found["sops"].tolist() == [(x.sum(0) @ connected).sum(), 3 * fired.sum()]
        assert found["neuron_updates"][0] == touched
        assert found["gradient_macs"].tolist() == [pairs, 3 * (fired.sum(0) > 0).sum()]
        assert found["error_macs"].tolist() == [0, 3 * (fired.sum(0) > 0).sum()]
        assert found["surrogates"].tolist() == [fired.sum(), 0]
        assert found["trace_updates"].tolist() == [0, fired.sum()]
        assert found["stored_words"].tolist() == [x.sum(), 2 * fired.sum()]


def test_a_clocked_engine() -> None:
    """64-100-10 at 16 steps: 145,000 operations a sample, as the terms add up to.

    16 x 100 x 10 errors, 16 x 100 surrogates and as many recursions, 16 x (6,400 + 1,000) gradients, 7,400 writes.
    """
    which = Extent.of_chain(chain(build(Shape((64,), (100,), 10), "mpd-ed"), "mpd-ed"))
    counts = {
        "sops": np.array([3300, 800]), "learned": np.array([0, 1]), "skipped": np.array([0, 0]),
        "events_out": np.array([80, 0]),
    }  # fmt: skip
    found = clocked(which, 16, counts, 1, 1, "dense")
    kinds = ("error_macs", "surrogates", "recursions", "gradient_adds", "weight_writes")
    assert sum(int(found[kind].sum()) for kind in kinds) == 145_000
    assert found["stored_words"].sum() == 3200
    skipping = clocked(which, 16, counts, 1, 1, "zero-skipping")
    assert skipping["gradient_adds"].tolist() == [3300, 800]
    assert skipping["error_macs"].tolist() == [0, 16_000]
    assert skipping["stored_words"].sum() == 1600 + 50
    assert clocked(which, 16, counts, 1, 1, "once")["error_macs"].tolist() == [0, 1000]


def test_synapses_of_a_convolution() -> None:
    """3 x 3 with padding 1 and stride 1 over 4 x 4: 100 places of the kernel lie inside, times the channels."""
    which = chain(build(Shape((2, 4, 4), ((5, 3, 1),), 3), "mpd-ed"), "mpd-ed")
    extent = Extent.of_chain(which)
    assert extent.learned.tolist() == [100 * 2 * 5, 3 * 5 * 16]
    assert extent.back.tolist() == [0, 3 * 5 * 16]


@pytest.mark.parametrize("name", ["mpd-ed", "std-ed"])
def test_messages_between_cores(name: RuleName) -> None:
    """hidden1 on core 5, hidden2 on cores 7 and 90, the read-out on 20 and 33: messages and their hops."""
    arch = load_architecture("loihi1")
    network = build(Shape((6,), (4, 2), 2), name, seed=3, gain=2.5)
    core_of = {"hidden1": np.full(4, 5), "hidden2": np.array([7, 90]), "readout": np.array([20, 33])}
    which, rule = samples((6,), 8, 5, 2, 0.4), EventRule(name, 1e-9, adapt=None, width=4.0)
    outcome = OnChip(network, rule, 8, core_of, arch).learn(which)
    plain = OnChip(network, rule, 8).learn(which).total()
    total = outcome.total()
    for kind in ("sops", "gradient_macs", "error_macs", "events_out", "stored_words"):
        assert total[kind].tolist() == plain[kind].tolist()
    assert plain["messages"].sum() == plain["error_messages"].sum() == 0
    fired = total["events_out"]
    # The host's events go to no mesh; a spike of hidden1 goes to cores 7 and 90, one of hidden2 to 20 and 33.
    assert total["messages"].tolist() == [0, 2 * fired[0], 2 * fired[1]]
    for k, direction in enumerate(("hops_east_west", "hops_north_south")):
        each = arch.apart(5, 7)[k] + arch.apart(5, 90)[k]
        assert total[direction][:2].tolist() == [0, each * fired[0]]
        # Each target of a spike of hidden1 stands on a core of its own, so a pair with an error is a message.
        back = total[f"error_{direction}"]
        ways = sorted((arch.apart(7, 5)[k], arch.apart(90, 5)[k]))
        assert ways[0] * total["error_messages"][1] <= back[1] <= ways[1] * total["error_messages"][1]
    assert total["error_messages"][:2].tolist() == [0, total["error_macs"][1]]
    assert total["error_messages"][1] > 0
    # Both cores of the read-out tell each neuron of hidden2 that fired in a sample; each costs two products.
    assert total["error_messages"][2] == total["error_macs"][2] > 0


def test_prices() -> None:
    """anp-i: 1.5 pJ for each operation of learning; what it has no price for is missing."""
    counts = {
        "error_macs": np.array([0, 20]), "gradient_macs": np.array([30, 10]), "weight_writes": np.array([25, 10]),
        "surrogates": np.array([5, 0]), "stored_words": np.array([40, 10]), "sops": np.array([300, 50]),
    }  # fmt: skip
    found = bill(counts, 5, load_architecture("anp-i"))
    assert found.learning_pj == pytest.approx((20 + 40 + 35 + 5) * 1.5 / 5)
    assert found.inference_pj == pytest.approx(350 * 1.5 / 5)
    assert [line.kind for line in found.missing] == ["stored_words"]
    loihi = bill(counts, 5, load_architecture("loihi1"))
    assert loihi.learning_pj == pytest.approx(((20 + 40) * 23.6 + 5 * 81 + 35 * 120) / 5)
    odin = bill(counts, 5, load_architecture("odin"))
    assert odin.learning_pj == 0 and {line.kind for line in odin.missing} >= {"error_macs", "gradient_macs"}
