"""What a file leaves open: the effect of each other reading, against loops over neurons written out here."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from neurodeploy.cli import main
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.verify import ambiguity
from neurodeploy.verify.ambiguity import Ambiguity, ambiguities
from tests import nirh5
from tests.nirh5 import affine, inp, lif, linear, out

DT = 1e-3
X = np.random.default_rng(0).random((ambiguity.STEPS, 1, 4)) < ambiguity.RATE
"""The input that is tried: Bernoulli noise of a fixed seed."""


def integrate(weight: float, *, subtract: bool = False, equal: bool = False, late: bool = False) -> np.ndarray:
    """Spikes ``[time, 4]`` of four neurons that add up ``weight`` for each spike of theirs; threshold 1.

    ``late``: the threshold is subtracted in the step after, where the stored potential was above it (snnTorch).
    """
    spikes = np.zeros((len(X), 4))
    for neuron in range(4):
        v = 0.0
        for t in range(len(X)):
            v += weight * X[t, 0, neuron] - (late and v > 1)
            if late:
                spikes[t, neuron] = v > 1
            elif v > 1 or (equal and v == 1):
                spikes[t, neuron] = 1
                v = v - 1 if subtract else 0.0
    return spikes


def integrators(path: Path, weight: float, **metadata: str) -> Path:
    node = {"type": "IF", "r": np.full(4, 1 / DT), "v_threshold": np.ones(4), "v_reset": np.zeros(4)}
    nirh5.write(path, {"input": inp(4), "fc": linear(weight * np.eye(4)), "if": node, "output": out(4)})
    with h5py.File(path, "r+") as file:
        for key, value in metadata.items():
            file[f"node/metadata/neurodeploy/{key}"] = value
    return path


def found(path: Path, **options: object) -> dict[str, Ambiguity]:
    file = nir_file.read(path)
    return {a.convention: a for a in ambiguities(file, resolve(file, dt=DT, **options))}


@pytest.mark.parametrize("weight", [0.5, 0.75])
def test_reset_and_comparison(tmp_path: Path, weight: float) -> None:
    """With 0.5 potentials equal the threshold now and then, with 0.75 never after a hard reset."""
    open_ = found(integrators(tmp_path / "net.nir", weight))
    assert sorted(open_) == ["comparison", "reset", "reset_time"]
    plain = integrate(weight)
    others = {"reset": {"subtract": True}, "reset_time": {"late": True}, "comparison": {"equal": True}}
    for name, rule in others.items():
        other = integrate(weight, **rule)
        differing = int((plain != other).sum())
        assert (open_[name].differing, open_[name].compared) == (differing, 200)
        if differing:
            spikes = f"{other.sum():.0f} spikes instead of {plain.sum():.0f}"
            text = f"{differing} of 200 neuron-steps on random input; {spikes}"
        else:
            text = "nothing on random input (200 neuron-steps)"
        assert open_[name].effect == text
    assert (open_["comparison"].differing == 0) == (weight == 0.75)
    assert open_["reset"].differing and open_["reset_time"].differing
    assert open_["reset_time"].alternative == "next (--reset subtract)"
    assert "snnTorch" in open_["reset_time"].whose
    assert open_["reset"].whose.endswith("not snnTorch, whose subtract is in the next step (--reset-time next)")


def test_what_the_file_or_the_user_says_is_not_open(tmp_path: Path) -> None:
    path = integrators(tmp_path / "net.nir", 0.5, reset="hard")
    assert sorted(found(path)) == ["comparison"]
    assert found(path, comparison=">") == {}
    bare = integrators(tmp_path / "bare.nir", 0.5)
    assert sorted(found(bare, reset="subtract")) == ["comparison"]
    assert sorted(found(bare, comparison=">")) == ["reset", "reset_time"]
    assert found(bare, tool="norse") == {}


def test_how_a_time_constant_becomes_a_factor(tmp_path: Path) -> None:
    """v is 0.4 from the input alone; what is left of it after a step is 1 - dt / tau, or exp(-dt / tau)."""
    nodes = {"input": inp(4), "n": lif(4, tau=2 * DT, r=1.0, v_threshold=0.7), "output": out(4)}
    open_ = found(nirh5.write(tmp_path / "net.nir", nodes))

    def leak(keep: float) -> np.ndarray:
        v, spikes = np.zeros(4), []
        for x in X[:, 0]:
            v = keep * v + (1 - keep) * x
            spikes.append(v > 0.7)
            v = np.where(spikes[-1], 0, v)
        return np.array(spikes)

    assert open_["decay"].differing == int((leak(0.5) != leak(np.exp(-0.5))).sum()) > 0
    assert open_["decay"].whose == "sinabs, Rockpool, Nengo"


def test_the_first_step_of_a_recurrent_bias(tmp_path: Path) -> None:
    """The neuron's input is its bias alone: 0.3 from the first step on, or from the second."""
    nodes = {"input": inp(1), "fc": linear(np.zeros((1, 1))), "n": lif(1, tau=DT * 1e6, r=1e6, v_threshold=1.0),
             "rec": affine(np.zeros((1, 1)), np.array([0.3])), "output": out(1)}  # fmt: skip
    edges = [("input", "fc"), ("fc", "n"), ("n", "rec"), ("rec", "n"), ("n", "output")]
    open_ = found(nirh5.write(tmp_path / "net.nir", nodes, edges))
    # 0.3 + 0.3 + 0.3 + 0.3 > 1: a spike in steps 3, 7, 11 ... 47, or one step later: 4, 8 ... 48.
    assert open_["recurrent_bias"].effect == "24 of 50 neuron-steps on random input; 12 spikes instead of 12"
    assert (open_["recurrent_bias"].assumed, open_["recurrent_bias"].alternative) == ("from-start", "after-delay")


def test_silence_proves_nothing(tmp_path: Path) -> None:
    assert (
        found(integrators(tmp_path / "net.nir", 0.001))["reset"].effect == "unknown: no neuron spikes on random input"
    )


def test_large_networks_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ambiguity, "SMALL", 100)
    effect = found(integrators(tmp_path / "net.nir", 0.5))["reset"].effect
    assert effect.startswith("the network is too large to try both here")


def test_inspect_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(integrators(tmp_path / "net.nir", 0.75))
    assert main(["inspect", path, "--dt", "1e-3"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "reset: hard (assumed, since the file does not say" in text
    assert "ambiguous: settle it with the option" in text
    assert "│ --reset │ hard │ subtract │" in text
    assert main(["inspect", path, "--dt", "1e-3", "--json"]) == 0
    ambiguous = json.loads(capsys.readouterr().out)["ambiguous"]
    assert [a["convention"] for a in ambiguous] == ["reset", "reset_time", "comparison"]
    assert ambiguous[0]["differing"] == int((integrate(0.75) != integrate(0.75, subtract=True)).sum())
    settled = ["--reset", "subtract", "--reset-time", "now", "--comparison", ">="]
    assert main(["inspect", path, "--dt", "1e-3", *settled]) == 0
    assert "ambiguous" not in capsys.readouterr().out


def test_inspect_without_a_step_says_whose_steps_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(integrators(tmp_path / "net.nir", 0.75))]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "0.0001 snntorch, 0.001 norse, 1 sinabs, 0.0001 spikingjelly, 1 spyx" in text
