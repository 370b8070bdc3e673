"""Record what lava-nc's own LearningDense learns, step by step, in Lava's own runtime: makes ``lava_stdp.npz``.

    <the Python that has lava-nc 0.10.0> tests/golden/make_lava_learning.py

Nothing of ours computes here; our shim only makes Lava importable on Python 3.11 and later. Spikes of sources and
targets are given (RingBuffers), so that what is recorded depends on Lava's learning engine alone. With three factors
the targets of a chip send the traces y1, y2, y3; here they are given, too, by the formulas of `messages`.

Each case has arrays ``<case>/pre`` and ``<case>/post`` (spikes as the synapses hear them, ``[steps, neurons]``),
``<case>/reward``, ``<case>/initial``, and after every step ``weights``, ``tag_1`` ``[steps, targets, sources]``,
``x1``, ``x2``, ``y1``, ``y2``, ``y3`` ``[steps, neurons]``; ``about`` is JSON: versions, and the rules.
"""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
STEPS, SOURCES, TARGETS = 120, 6, 4
TRACES = {"x1": [16.3, 10], "x2": [9, 30], "y1": [20.7, 8], "y2": [7.5, 25], "y3": [0, 0]}
PAIR = "-2*x0*y1+3*y0*x1"
TRIPLET = "-1*x0*y1-2^-1*x0*x2*y1+1*2^0*y0*x1+2^1*y0*x1*y2"
REWARD = {"dw": "2^1*u0*t*y2", "dt": "-1*x0*y1+1*y0*x1-2^-2*u0*t"}
CASES = {
    f"{name} {epoch}": {**rule, "factors": factors, "epoch": epoch, "seed": 10 * epoch + factors}
    for name, rule, factors in (("pair", {"dw": PAIR}, 2), ("triplet", {"dw": TRIPLET}, 2), ("reward", REWARD, 3))
    for epoch in (1, 2, 5)
}


def given(seed: int) -> dict[str, np.ndarray]:
    """Spikes and rewards; sources 0 to 2 mostly lead the targets, 3 to 5 follow: weights reach both limits."""
    rng = np.random.default_rng(seed)
    post = rng.random((STEPS, TARGETS)) < 0.2
    post[0] = False  # the synapses hear of a target's first step in their second
    some = post.any(axis=1, keepdims=True)
    before, after = np.roll(some, -1, axis=0), np.roll(some, 1, axis=0)
    likely = np.where(np.arange(SOURCES) < SOURCES // 2, before, after)
    pre = rng.random((STEPS, SOURCES)) < np.where(likely, 0.5, 0.05)
    reward = rng.integers(-60, 61, (STEPS, TARGETS)) * (rng.random((STEPS, TARGETS)) < 0.4)
    reward[0] = 0
    initial = 2 * rng.integers(-60, 60, (TARGETS, SOURCES))
    return {"pre": pre.astype(int), "post": post.astype(int), "reward": reward, "initial": initial}


def messages(post: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """What targets send with three factors, ``[y, steps, targets]``: y1 the trace of the spikes, y2 and y3 the reward.

    y1 <- min(127, (k y1 >> 12) + impulse), k = round(4096 e^(-1/tau)).
    """
    impulse, tau = TRACES["y1"]
    y, keep = np.zeros((3, STEPS, TARGETS), int), round(4096 * np.exp(-1 / tau))
    for t in range(STEPS):
        y[0, t] = np.minimum(127, ((keep * y[0, t - 1] >> 12) if t else 0) + int(impulse) * post[t])
    y[1] = y[2] = reward  # the trace of the reward forgets at once (tau 0)
    return y


def record(case: dict, x: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run one case and read everything after each step."""
    from lava.magma.core.learning.learning_rule import Loihi2FLearningRule, Loihi3FLearningRule
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.dense.process import LearningDense
    from lava.proc.io.source import RingBuffer

    three = case["factors"] == 3
    options = {name: case.get(name) for name in ("dw", "dt")} | {"t_epoch": case["epoch"], "rng_seed": case["seed"]}
    for name in TRACES if not three else ("x1", "x2"):
        options[f"{name}_impulse"], options[f"{name}_tau"] = TRACES[name]
    rule = (Loihi3FLearningRule if three else Loihi2FLearningRule)(**options)
    zeros = np.zeros((TARGETS, SOURCES), int)
    learns = LearningDense(
        weights=x["initial"], tag_1=zeros, tag_2=zeros, learning_rule=rule, num_weight_bits=8, weight_exp=0
    )
    pre, post = RingBuffer(data=x["pre"].T), RingBuffer(data=x["post"].T)
    pre.s_out.connect(learns.s_in)
    post.s_out.connect(learns.s_in_bap)
    if three:
        for k, values in enumerate(messages(x["post"], x["reward"])):
            RingBuffer(data=values.T).s_out.connect(getattr(learns, f"s_in_y{k + 1}"))
    found: dict[str, list[np.ndarray]] = {n: [] for n in ("weights", "tag_1", "x1", "x2", "y1", "y2", "y3")}
    for _ in range(STEPS):
        learns.run(condition=RunSteps(num_steps=1), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
        for name, values in found.items():
            values.append(np.array(getattr(learns, name).get()).reshape(getattr(learns, name).shape))
    learns.stop()
    return {name: np.stack(values) for name, values in found.items()}


def main() -> None:
    sys.path.insert(0, str(HERE.parents[1] / "neurodeploy" / "backends" / "lava"))
    from worker import shim

    shim.install()
    arrays = {}
    for number, (name, case) in enumerate(CASES.items()):
        x = given(number)
        found = record(case, x)
        for kind, values in {**x, **found}.items():
            whole = np.rint(values).astype(np.int16)
            assert (whole == values).all(), (name, kind)
            arrays[f"{name}/{kind}"] = whole
        w = found["weights"]
        sys.stdout.write(f"{name}: weights from {w.min()} to {w.max()}, {(np.diff(w, axis=0) != 0).sum()} changes\n")
    versions = {"lava-nc": version("lava-nc"), "numpy": np.__version__, "python": platform.python_version()}
    about = {"made by": "tests/golden/make_lava_learning.py", "versions": versions, "traces": TRACES, "cases": CASES}
    arrays["about"] = np.array(json.dumps(about))
    np.savez_compressed(HERE / "lava_stdp.npz", **arrays)


if __name__ == "__main__":
    main()
