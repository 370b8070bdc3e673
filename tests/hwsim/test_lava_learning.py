"""Learning held to recordings of Lava's own LearningDense in every step, without Lava being installed.

``tests/golden/lava_stdp.npz`` was made by ``tests/golden/make_lava_learning.py``: pairwise and triplet STDP and
reward-modulated STDP (three factors), epochs of 1, 2 and 5 steps, stochastic rounding, weights that reach both limits.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy import backends
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.network.plasticity import LearningRule, Trace
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record

GOLDEN = Path(__file__).parents[1] / "golden" / "lava_stdp.npz"


@cache
def golden() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(GOLDEN) as archive:
        arrays = dict(archive)
    return json.loads(str(arrays.pop("about"))), arrays


CASES = sorted(golden()[0]["cases"])


def rule_of(case: dict[str, Any], traces: dict[str, list[float]]) -> LearningRule:
    return LearningRule(
        case["dw"],
        dt=case.get("dt", ""),
        **{name: Trace(*values) for name, values in traces.items()},
        epoch=case["epoch"],
        seed=case["seed"],
        factors=case["factors"],
    )


def program(rule: LearningRule, initial: np.ndarray) -> Program:
    """Targets that spike when they are driven, whatever is learned: its current is shifted away (2^-8)."""
    targets, sources = initial.shape
    values = (4095, 4095, 0, 1000 << 6, 0, 0)
    neuron = Lif(*(np.full(targets, value, np.int32) for value in values))
    populations = [
        Population("pre", (sources,), Source()),
        Population("drive", (targets,), Source()),
        Population("post", (targets,), neuron),
    ]
    projections = [
        Projection("learns", "pre", "post", Dense(initial.astype(np.int16), -8), rule=rule),
        Projection("drives", "drive", "post", Dense(254 * np.eye(targets, dtype=np.int16), 3)),
    ]
    if rule.factors == 3:
        populations.insert(1, Population("reward", (targets,), Source(payload_bits=8)))
        projections.append(Projection("rewards", "reward", "post", Dense(np.eye(targets, dtype=np.int16)), port=1))
    network = Network("golden", tuple(populations), tuple(projections), ("post",), 1e-3, "loihi")
    core_of = {"post": np.zeros(targets, np.int32)}
    return Program(network, "loihi1", core_of)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("backend", ["reference", "hwsim"])
def test_every_step_is_lavas(backend: str, name: str) -> None:
    about, arrays = golden()
    case = {kind.split("/")[1]: values for kind, values in arrays.items() if kind.startswith(f"{name}/")}
    rule = rule_of(about["cases"][name], about["traces"])
    # A target hears its input one step before its synapses hear of its spike.
    earlier = {kind: np.concatenate([case[kind][1:], np.zeros_like(case[kind][:1])]) for kind in ("post", "reward")}
    inputs = {"pre": case["pre"][:, None], "drive": earlier["post"][:, None]}
    if rule.factors == 3:
        inputs["reward"] = earlier["reward"][:, None]
    found = backends.get(backend)(program(rule, case["initial"]), inputs, record=Record(learning=True))
    np.testing.assert_array_equal(found.spikes["post"].dense()[:, 0], earlier["post"] == 1)
    for kind in ("weights", "tag_1", "x1", "x2", "y1", "y2", "y3"):
        np.testing.assert_array_equal(found.learned["learns"][kind][:, 0], case[kind], kind)


def test_the_recordings_hold_what_they_are_for() -> None:
    """Both limits of the weights are reached, tags are used, and the file says what made it."""
    about, arrays = golden()
    assert about["versions"]["lava-nc"] == "0.10.0"
    weights = np.concatenate([values.ravel() for name, values in arrays.items() if name.endswith("/weights")])
    assert (weights.min(), weights.max()) == (-256, 255)
    assert sorted({about["cases"][name]["epoch"] for name in CASES}) == [1, 2, 5]
    assert all(np.ptp(arrays[f"{name}/tag_1"]) > 50 for name in CASES if name.startswith("reward"))
