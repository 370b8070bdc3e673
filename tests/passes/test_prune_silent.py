"""What is silent on the samples goes, and on these nothing changes, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neurodeploy import passes
from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import InvalidInputError
from neurodeploy.network.connectivity import Conv2d, Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.passes.prune_silent import PruneSilent
from neurodeploy.program.recording import Record


def lif(size: int, threshold: float = 1.0, spiking: bool = True) -> Lif:
    one = np.ones(size)
    return Lif(du=one, dv=0.5 * one, bias=0 * one, threshold=threshold * one, reset_to=0 * one, initial=0 * one,
               spiking=spiking)  # fmt: skip


def residual(seed: int, closed: float) -> Network:
    """An input, a backbone of two layers, a shortcut of two whose gate needs ``closed``, a join and a read-out."""
    rng = np.random.default_rng(seed)
    image = Conv2d(rng.normal(0.3, 0.5, (2, 1, 3, 3)), (1, 4, 4), padding=(1, 1))

    def dense(out: int, into: int) -> Dense:
        return Dense(rng.normal(0.1, 0.4, (out, into)))

    return Network(
        "residual",
        (
            Population("input", (1, 4, 4), Source()), Population("first", (2, 4, 4), lif(32)),
            Population("back", (12,), lif(12)), Population("way", (9,), lif(9)),
            Population("gate", (12,), lif(12, closed)), Population("join", (12,), lif(12, 0.5)),
            Population("out", (3,), lif(3, np.inf, spiking=False)),
        ),
        (
            Projection("a", "input", "first", image), Projection("b", "first", "back", dense(12, 32)),
            Projection("c", "first", "way", dense(9, 32)), Projection("d", "way", "gate", dense(12, 9)),
            Projection("e", "back", "join", Dense(np.eye(12))), Projection("f", "gate", "join", Dense(np.eye(12))),
            Projection("g", "join", "out", dense(3, 12)),
        ),
        ("out",), dt=1e-3,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_a_dead_shortcut_goes_and_nothing_changes(seed: int) -> None:
    """Its gate could open, by its weights alone: `prune` leaves it."""
    x = {"input": (np.random.default_rng(seed + 9).random((9, 5, 1, 4, 4)) < 0.4).astype(np.uint8)}
    open_ended = run_network(residual(seed, closed=1e6), x, record=Record(("v",)))
    network = residual(seed, closed=1.01 * float(open_ended.states["v"]["gate"].max()))
    before = run_network(network, x, record=Record(("v",)))
    assert not len(before.spikes["gate"]) and len(before.spikes["way"]) and len(before.spikes["join"])
    data = passes.PassData(calibration=x)
    assert len(passes.get("prune")().apply(network, data).populations) == 7
    made = PruneSilent().apply(network, data)
    assert [p.name for p in made.populations] == ["input", "first", "back", "join", "out"]
    after = run_network(made, x, record=Record(("v",)))
    np.testing.assert_array_equal(after.states["v"]["out"], before.states["v"]["out"])
    for name in ("first", "back", "join"):
        np.testing.assert_array_equal(after.spikes[name].dense(), before.spikes[name].dense())
    assert made.notes["prune-silent gate"].startswith("silent in all 9 steps of 5 samples")


def test_what_spikes_once_stays() -> None:
    network = residual(0, closed=0.2)
    x = {"input": (np.random.default_rng(9).random((9, 5, 1, 4, 4)) < 0.4).astype(np.uint8)}
    assert len(run_network(network, x).spikes["gate"])
    assert PruneSilent().apply(network, passes.PassData(calibration=x)) is network


def test_what_the_user_reads_stays_and_samples_are_needed() -> None:
    network = replace(residual(0, closed=50.0), outputs=("out", "gate"))
    x = {"input": np.ones((3, 2, 1, 4, 4), np.uint8)}
    assert PruneSilent().apply(network, passes.PassData(calibration=x)) is network
    with pytest.raises(InvalidInputError, match="no calibration"):
        PruneSilent().apply(network)
