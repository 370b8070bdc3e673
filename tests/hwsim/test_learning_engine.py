"""What the compiled loop does with learning beyond the conformance suite's networks, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from neurodeploy import backends
from neurodeploy.errors import Interrupted, InvalidInputError
from neurodeploy.hwsim import engine
from neurodeploy.network.connectivity import Conv2d, Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.network.plasticity import LearningRule, Trace, stdp
from neurodeploy.program.program import Program
from tests.conformance.compare import EVERYTHING, difference
from tests.conformance.programs import learning_case
from tests.networks import placed

RULE = LearningRule("-2*x0*y1 + 3*y0*x1 + 2^-2*u1*t*y2", dt="1*x0*y1 - 2^-2*u1*t", x1=Trace(16.3, 10), y1=Trace(20, 8),
                    y2=Trace(7, 20), epoch=3, seed=4)  # fmt: skip


def lif(size: int, threshold: int = 100) -> Lif:
    values = (2048, 300, 0, threshold << 6, 0, 0)
    return Lif(*(np.full(size, value, np.int32) for value in values))


def images(factors: int = 2) -> Program:
    """An image that a convolution reaches, so that hwsim numbers it channels-last, as source and target of learning."""
    rng = np.random.default_rng(1)
    kernel = Conv2d((2 * rng.integers(-20, 40, (3, 2, 3, 3))).astype(np.int16), (2, 4, 4), padding=(1, 1))
    forward = Dense((2 * rng.integers(-20, 40, (5, 48))).astype(np.int16))
    back = Dense((2 * rng.integers(-20, 40, (48, 5))).astype(np.int16))
    same = Dense((2 * rng.integers(-20, 20, (48, 48))).astype(np.int16), -1)
    rule = RULE if factors == 2 else LearningRule(RULE.dw, dt=RULE.dt, x1=RULE.x1, y1=RULE.y1, epoch=3, factors=3)
    populations = [
        Population("input", (2, 4, 4), Source()),
        Population("image", (3, 4, 4), lif(48)),
        Population("end", (5,), lif(5)),
    ]
    projections = [
        Projection("conv", "input", "image", kernel),
        Projection("forward", "image", "end", forward, rule=rule),
        Projection("back", "end", "image", back, delay=2, rule=stdp(epoch=2, seed=1)),
        Projection("within", "image", "image", same, delay=1, rule=rule),
    ]
    if factors == 3:
        populations.insert(1, Population("reward", (2,), Source()))
        for name, size in (("image", 48), ("end", 5)):
            weights = (2 * rng.integers(-20, 20, (size, 2))).astype(np.int16)
            projections.append(Projection(f"reward {name}", "reward", name, Dense(weights), port=1))
    return placed(Network("images", tuple(populations), tuple(projections), ("end",), 1e-3, "loihi"))


def spikes(program: Program, steps: int = 40, samples: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    return {p.name: (rng.random((steps, samples, *p.shape)) < 0.3).astype(np.uint8) for p in program.network.inputs}


@pytest.mark.parametrize("factors", [2, 3])
def test_images_that_are_numbered_channels_last(factors: int) -> None:
    program = images(factors)
    x = spikes(program)
    judge = backends.get("reference")(program, x, record=EVERYTHING)
    found = engine.run(program, x, record=EVERYTHING)
    assert difference(judge, found, integer=True) == ""
    assert all((np.diff(judge.learned[p]["weights"], axis=0) != 0).any() for p in ("forward", "back", "within"))
    assert len(judge.spikes["end"]) > 20
    # Counted at the cores where the targets are: the sum does not depend on the order of neurons, each core's does.
    for name in ("forward", "within"):
        weights = found.learned[name]["weights"], found.learned[name]["tag_1"]
        before = [np.concatenate([v[:1], v[:-1]]) for v in weights]
        moved = (weights[0] != before[0]) | (weights[1] != before[1])  # [steps, samples, targets, sources]
        target = program.network.by_name[next(p.target for p in program.network.projections if p.name == name)]
        home = np.searchsorted(program.cores_of(target.name), program.core_of[target.name])
        for core in np.unique(home):
            counted = found.learning_work[name][1:, :, 1, core]
            np.testing.assert_array_equal(counted, moved[1:, :, home == core].sum(axis=(2, 3)))


def test_events_that_do_not_fit_the_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop stops and goes on whenever its buffer is full; delays and what is learned late reach back over that."""
    monkeypatch.setattr(engine, "BUFFER", 1)
    for program, x in [(p, spikes(p, 200)) for p in (images(2), images(3))]:
        judge = backends.get("reference")(program, x)
        assert difference(judge, engine.run(program, x), integer=True) == ""


def test_threads_and_blocks_do_not_matter() -> None:
    case = learning_case(6)
    x = {name: np.concatenate([v] * 70, axis=1)[:, :70] for name, v in case.inputs.items()}
    one, four = (engine.Simulator(case.program, threads=n).run(x, record=EVERYTHING) for n in (1, 4))
    assert difference(one, four, integer=True) == ""
    for name, work in one.learning_work.items():
        np.testing.assert_array_equal(work, four.learning_work[name])


@pytest.mark.parametrize(("steps", "samples"), [(300_000, 1), (2_000, 100)])
def test_ctrl_c_keeps_what_whole_samples_have_learned(steps: int, samples: int) -> None:
    program = images()
    x = np.zeros((steps, samples, 32), np.uint8)
    x[::3] = 1

    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    simulator = engine.Simulator(program, threads=1)
    with pytest.raises(Interrupted) as caught:
        simulator.run({"input": x}, progress=stop)
    kept = caught.value.recording
    assert kept is not None and 0 < kept.steps * kept.samples < steps * samples
    same = simulator.run({"input": x[: kept.steps, : kept.samples]})
    assert bool(kept.learned) == (kept.steps == steps)
    if kept.learned:
        assert difference(same, kept, integer=True) == ""
        np.testing.assert_array_equal(same.learning_work["forward"], kept.learning_work["forward"])


def test_a_prepared_simulator_begins_anew() -> None:
    case = learning_case(4)
    simulator = engine.Simulator(case.program)
    first, again = (simulator.run(case.inputs, record=EVERYTHING) for _ in range(2))
    assert difference(first, again, integer=True) == ""


def test_messages_with_numbers_are_multiplied() -> None:
    """A source whose spikes carry numbers, which Lava's LearningDense does not know: as the reference has it."""
    populations = (Population("in", (4,), Source(payload_bits=8)), Population("n", (3,), lif(3, 2000)))
    weights = np.arange(12).reshape(3, 4).astype(np.int16) * 10
    network = Network("graded", populations, (Projection("p", "in", "n", Dense(weights), rule=RULE),), ("n",), 1e-3,
                      "loihi")  # fmt: skip
    rng = np.random.default_rng(3)
    x = {"": rng.integers(-100, 127, (30, 2, 4)) * (rng.random((30, 2, 4)) < 0.4)}
    judge = backends.get("reference")(placed(network), x, record=EVERYTHING)
    assert difference(judge, engine.run(placed(network), x, record=EVERYTHING), integer=True) == ""
    assert len(judge.spikes["n"])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tag_1": np.full((2, 2), 300)}, "begins with tag_1 beyond its range"),
        ({"tag_2": np.full((2, 2), -1)}, "begins with tag_2 beyond its range"),
    ],
)
def test_tags_that_the_engine_would_cut_off_are_refused(fields: dict[str, np.ndarray], said: str) -> None:
    populations = (Population("in", (2,), Source()), Population("n", (2,), lif(2)))
    rule = LearningRule("1*x0", **fields)
    with pytest.raises(InvalidInputError, match=said):
        Network("n", populations, (Projection("p", "in", "n", Dense(np.zeros((2, 2), np.int16)), rule=rule),), ("n",),
                1e-3, "loihi")  # fmt: skip
