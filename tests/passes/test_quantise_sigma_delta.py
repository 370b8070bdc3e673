"""Sigma-delta networks in integers: bounds that hold, sums that nothing is lost from, errors that stay small."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neurodeploy.backends.reference.run import run_network
from neurodeploy.compiler import place
from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.hwsim import engine
from neurodeploy.network.connectivity import Conv2d, Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, SigmaDelta, Source
from neurodeploy.network.reach import messages, reach
from neurodeploy.passes import PassData
from neurodeploy.passes.quantise.quantise import Quantise
from neurodeploy.program.recording import Record

STATES = Record(("u", "v"))


def network(seed: int, payload_bits: int = 7, threshold: float = 0.0) -> Network:
    """2 x 4 x 4 -> conv 3 -> dense 6, beside a skip from the input -> dense 4, with biases and a video as input."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.05, 3)

    def cells(count: int, kind: str) -> SigmaDelta:
        bias = rng.normal(size=count) * size
        return SigmaDelta(bias, np.full(count, threshold), kind)  # type: ignore[arg-type]

    def weights(*shape: int) -> np.ndarray:
        return rng.normal(size=shape) * size / np.prod(shape[1:]) ** 0.5

    conv = Conv2d(weights(3, 2, 2, 2), (2, 4, 4))
    return Network(
        "video",
        (
            Population("in", (2, 4, 4), Source(payload_bits=payload_bits)),
            Population("c", (3, 3, 3), cells(27, "relu")),
            Population("d", (6,), cells(6, str(rng.choice(["relu", "identity"])))),
            Population("out", (4,), cells(4, "identity")),
        ),
        (
            Projection("in -> c", "in", "c", conv),
            Projection("c -> d", "c", "d", Dense(weights(6, 27))),
            Projection("d -> out", "d", "out", Dense(weights(4, 6))),
            Projection("in -> out", "in", "out", Dense(weights(4, 32) / 10), int(rng.integers(0, 3))),
        ),
        ("out",),
        1e-3,
    )


def video(seed: int, steps: int = 15, largest: int = 31) -> np.ndarray:
    """Differences of frames whose pixels lie within ``largest``, ``[time, batch, 2, 4, 4]``."""
    rng = np.random.default_rng(seed)
    frames = [rng.integers(-largest, largest + 1, (3, 2, 4, 4))]
    for _ in range(steps - 1):
        new = rng.integers(-largest, largest + 1, frames[0].shape)
        frames.append(np.where(rng.random(new.shape) < 0.3, new, frames[-1]))
    return np.diff(np.array(frames), axis=0, prepend=0)


@pytest.mark.parametrize("seed", range(12))
def test_integers_follow_the_floats(seed: int) -> None:
    floats = network(seed, threshold=0.0)
    x = {"": video(seed)}
    integers = Quantise().apply(floats, PassData(x))
    expected, found = run_network(floats, x, record=STATES), run_network(integers, x, record=STATES)
    other = engine.run(place(integers, None, {}), x, record=STATES)
    for population in integers.populations[1:]:
        name = population.name
        v = expected.states["v"][name]
        off = found.states["v"][name] / population.scales - v
        assert np.abs(off).max() < 0.02 * np.abs(v).max(), name
        np.testing.assert_array_equal(other.states["v"][name], found.states["v"][name])
        np.testing.assert_array_equal(other.spikes[name].dense(), found.spikes[name].dense())
    assert not any(any(kinds.values()) for kinds in (found.left or {}).values())
    scale = integers.by_name["out"].scales[0]
    assert scale * np.abs(expected.states["v"]["out"]).max() > 1 << 12  # fine steps, not a few


@pytest.mark.parametrize("seed", range(8))
def test_no_input_leaves_what_reach_says(seed: int) -> None:
    """Whatever values the pixels have: states and messages stay within their bounds, and come near some of them."""
    integers = Quantise().apply(network(seed), PassData({"": video(seed)}))
    bounds, most, nearest = reach(integers), messages(integers), 0.0
    rng = np.random.default_rng(seed)
    signs = [np.sign(rng.normal(size=(1, 2, 4, 4))) * 31 for _ in range(40)]
    kernel = integers.projections[0].connectivity.weights
    assert kernel.any()
    values = np.array([*signs, np.full((1, 2, 4, 4), 31), np.full((1, 2, 4, 4), -31)])
    found = run_network(integers, {"": np.diff(values, axis=0, prepend=0).astype(int)}, record=STATES)
    for population in integers.populations[1:]:
        name = population.name
        state = max(np.abs(found.states[kind][name]).max() for kind in ("u", "v"))
        share = float(state / (bounds[name].v * ((1 << 23) - 1)))
        assert share <= 1 or bounds[name].v > 1
        nearest = max(nearest, share)
        assert np.abs(found.spikes[name].dense().astype(int)).max() <= most[name]
    assert nearest > 0.2


def test_a_kept_remainder_is_sent_later() -> None:
    """Over any number of steps the messages add up to the state without its last bits."""
    integers = Quantise().apply(network(3), PassData({"": video(3)}))
    assert any(p.neuron.send_shift for p in integers.populations)
    run = run_network(integers, {"": video(4, 200)}, record=STATES)
    for population in integers.populations[1:3]:
        shift = population.neuron.send_shift
        sums = np.cumsum(run.spikes[population.name].dense().astype(int), axis=0)
        np.testing.assert_array_equal(sums, run.states["v"][population.name] >> shift)


def test_the_note_says_what_is_proven() -> None:
    proven = replace(network(0), populations=tuple(
        p if p.external else replace(p, neuron=replace(p.neuron, bias=0 * p.neuron.bias))
        for p in network(0, payload_bits=3).populations
    ))  # fmt: skip
    one = {"": np.diff(np.sign(video(0).cumsum(0)), axis=0, prepend=0)}
    said = Quantise().apply(proven, PassData(one)).notes["range of integers"]
    assert said == "no integer can leave it, whatever values its inputs have"
    wide = Quantise().apply(network(0, payload_bits=16), PassData({"": video(0)})).notes["range of integers"]
    assert "states could reach, of 'c' " in wide and "and saturate (on the calibration samples" in wide


def test_a_spike_can_only_add_so_nothing_is_proven() -> None:
    """Plain spikes into a sigma-delta neuron: its sum grows without end."""
    integers = Quantise().apply(network(0, payload_bits=1), PassData({"": np.abs(np.sign(video(0)))}))
    assert "out of its range" in integers.notes["range of integers"]


@pytest.mark.parametrize(
    ("change", "samples", "kind", "message"),
    [
        (lambda n: n, None, InvalidInputError, "quantising sigma-delta neurons needs samples"),
        (lambda n: n, video(0) / 4, InvalidInputError, "input 'in' sends fractions"),
        (
            lambda n: replace(
                n, projections=(*n.projections, Projection("back", "out", "d", Dense(np.ones((6, 4))), 1))
            ),
            video(0), UnsupportedError, "'back' feeds back on a sigma-delta population",
        ),
        (
            lambda n: replace(
                n, projections=(*n.projections[:2], replace(n.projections[2], bias=np.ones(4)), n.projections[3])
            ),
            video(0), UnsupportedError, "'d -> out' adds a bias in every step",
        ),
        (
            lambda n: replace(
                n, populations=(*n.populations[:3], replace(n.populations[3], neuron=Lif(*np.zeros((6, 4)))))
            ),
            video(0), UnsupportedError, "'out'",
        ),
    ],
)  # fmt: skip
def test_refused(change, samples, kind, message) -> None:  # type: ignore[no-untyped-def]
    given = None if samples is None else {"": samples}
    with pytest.raises(kind, match=message):
        Quantise().apply(change(network(0)), PassData(given))
