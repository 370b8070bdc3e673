"""``neurodeploy learn`` and ``adapt`` as their users call them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.learning import run as learning_run
from neurodeploy.program.program import Program
from tests.cli.conftest import Run

QUICK = ("--hidden", "20", "--epochs", "2", "--no-memory")


def test_learn_compares_rules(run: Run, tmp_path: Path) -> None:
    code, out, err = run("learn", "--rule", "mpd-ed", "bptt", *QUICK, "-o", str(tmp_path))
    assert code == 0, err
    assert "MPD-ED" in out and "surrogate gradient" in out and "assumed prices" in out
    assert "words stored for the way back" in out  # has no price
    results = json.loads((tmp_path / "results.json").read_text())
    first, second = results["rules"]
    ratios = {other["name"]: other["ratio"] for other in first["priced"][0]["baselines"]}
    assert ratios["dense"] > ratios["zero-skipping"] > ratios["once"] > 1
    assert second["priced"][0]["baselines"][0]["ratio"] == pytest.approx(1)
    assert [point["epoch"] for point in first["curve"]] == [0, 1, 2]
    assert first["curve"][2]["learning_pj"] > first["curve"][1]["learning_pj"] > 0
    lines = [line for line in first["priced"][0]["lines"] if line["part"] == "learning"]
    assert sum(line["energy_pj"] for line in lines) == pytest.approx(first["priced"][0]["learning_pj"])
    page = (tmp_path / "report.html").read_text()
    assert "MPD-ED" in page and "<script" not in page and "http" not in page.replace("http://www.w3.org", "")
    assert Program.load(tmp_path / "mpd-ed" / "learned.ndp").network.outputs == ("readout",)
    code, _, _ = run("report", str(tmp_path / "results.json"), "-o", str(tmp_path / "again.html"))
    assert code == 0 and (tmp_path / "again.html").read_text() == page


def test_memory_is_measured_at_other_lengths(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("learn", "--hidden", "10", "--epochs", "1", "-o", str(tmp_path), "--json")
    assert code == 0
    assert set(json.loads(out)["rules"][0]["ratios"]) == {"dense", "zero-skipping", "once"}
    memory = json.loads((tmp_path / "results.json").read_text())["memory"]
    assert [item["steps"] for item in memory] == [8, 16, 32, 64, 128]
    assert [item["clocked_words"] / item["steps"] for item in memory] == [20] * 5
    assert memory[-1]["words"] < 3 * memory[0]["words"]


@pytest.mark.parametrize("rule", ["stdp", "r-stdp"])
def test_loihis_rules(rule: str, run: Run, tmp_path: Path) -> None:
    code, _, err = run("learn", "--rule", rule, "--epochs", "1", "-o", str(tmp_path), "--chip", "loihi1")
    assert code == 0, err
    found = json.loads((tmp_path / "results.json").read_text())["rules"][0]
    assert found["accuracy"] > 0.5
    line = next(line for line in found["priced"][0]["lines"] if line["part"] == "learning")
    assert line["price"] == 120 and line["energy_pj"] == pytest.approx(120 * found["layers"][0]["counts"]["visited"])
    resumed = learning_run.Run.resume(tmp_path / rule)
    assert resumed.done and resumed.accuracies[-1] == found["accuracy"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--rule", "hebb"), "invalid choice"),
        (("--hidden", "c8k3"), "is no layer"),
        (("--hidden", "100,0"), "is no layer"),
        (("--epochs", "0"), "at least 1"),
        (("--learning-rate", "-1"), "learning_rate of the learning rule"),
        (("--weight-bits", "1"), "weight_bits of the learning rule"),
        (("--skip", "1.5"), "skip of the learning rule"),
        (("--hidden", "20,c4k3s1"), "hidden layer 2 cannot be a convolution"),
        (("--chip", "loihi9"), "unknown chip"),
        (("--rule", "stdp", "--steps", "8"), "stdp does not have every option"),
        (("--rule", "stdp", "--data", "motion"), "stdp does not have every option"),
        (("--data", "motion", "--code", "rate"), "the spikes of motion are what they are"),
        (("--data", "motion", "--steps", "8"), "the spikes of motion are what they are"),
        (("--data", "movement"), "movement"),
    ],
)
def test_bad_options(arguments: tuple[str, ...], text: str, run: Run, tmp_path: Path) -> None:
    code, _, err = run("learn", *arguments, "-o", str(tmp_path / "out"))
    assert code == 2 and text in err and "Traceback" not in err
    assert not list(tmp_path.rglob("*.json")) and not list(tmp_path.rglob("*.npz"))


def test_a_folder_with_a_run_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    assert run("learn", *QUICK, "-o", str(tmp_path))[0] == 0
    before = (tmp_path / "mpd-ed" / "checkpoint.npz").read_bytes()
    code, _, err = run("learn", *QUICK, "-o", str(tmp_path))
    assert code == 2 and "holds a run already" in err and "--resume" in err
    code, _, err = run("learn", *QUICK, "-o", str(tmp_path), "--resume", "--seed", "7")
    assert code == 2 and "has another seed" in err
    assert run("learn", *QUICK, "-o", str(tmp_path), "--resume")[0] == 0
    assert (tmp_path / "mpd-ed" / "checkpoint.npz").read_bytes() == before


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "neurodeploy", "learn", "--hidden", "30", "--epochs", "4000", "-o", str(tmp_path)]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background inherit it ignored
    )  # fmt: skip
    checkpoint = tmp_path / "mpd-ed" / "checkpoint.npz"
    for _ in range(3000):  # compiling may have to come first
        if checkpoint.exists() or child.poll() is not None:
            break
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 2 and "was stopped after" in err and "--resume" in err and "Traceback" not in err
    assert 0 < learning_run.Run.resume(tmp_path / "mpd-ed").taken < 4000 * 1347


def test_adapt(run: Run, tmp_path: Path) -> None:
    code, out, err = run("adapt", "--epochs", "8", "-o", str(tmp_path), "--json")
    assert code == 0, err
    new, shifted = json.loads(out)["scenarios"]
    assert new["before"]["digit 9"] == 0 and new["after"]["digit 9"] > 0.2
    assert new["after"]["the other digits"] > 0.85
    assert new["after"]["all digits"] > new["before"]["all digits"]
    assert shifted["after"]["shifted images"] > shifted["before"]["shifted images"] + 0.15
    assert 0 < new["learned"] < new["samples"] and 0 < new["learning_pj"] < new["inference_pj"]
    page = (tmp_path / "report.html").read_text()
    assert "A new class" in page and "A sensor that has shifted" in page
    code, _, err = run("adapt", "--weight-bits", "40", "-o", str(tmp_path))
    assert code == 2 and "weight_bits" in err


def test_weights_stay_on_the_grid(run: Run, tmp_path: Path) -> None:
    assert run("learn", *QUICK, "--weight-bits", "4", "-o", str(tmp_path))[0] == 0
    network = Program.load(tmp_path / "mpd-ed" / "learned.ndp").network
    weights = network.projections[0].connectivity.weights
    steps = weights * 7 / 2
    assert np.abs(steps - np.rint(steps)).max() < 1e-9 and 2 < len(np.unique(np.rint(steps))) <= 15


def spikes_of_two_places(steps: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Class 0 spikes on the left, class 1 on the right, with noise: ``[time, samples, 2, 4, 4]``."""
    random = np.random.default_rng(samples)
    labels = random.integers(0, 2, samples)
    x = random.random((steps, samples, 2, 4, 4)) < 0.05
    for sample, label in enumerate(labels):
        x[:, sample, :, :, 2 * label : 2 * label + 2] |= random.random((steps, 2, 4, 2)) < 0.2
    return x.astype(np.uint8), labels


def test_ones_own_spikes(run: Run, tmp_path: Path) -> None:
    (x, y), (test_x, test_y) = spikes_of_two_places(12, 150), spikes_of_two_places(12, 60)
    path = tmp_path / "own.npz"
    np.savez(path, train_x=x, train_y=y, test_x=test_x, test_y=test_y)
    out = tmp_path / "out"
    call = ("learn", "--data", path, "--hidden", "c4k3s1,30", "--epochs", "6", "--rule", "mpd-ed", "std-ed", "-o", out)
    code, _, err = run(*call)
    assert code == 0, err
    for found in json.loads((out / "results.json").read_text())["rules"]:
        assert found["accuracy"] > 0.85
        assert found["network"] == "2×4×4-4×4×4-30-2"
    code, _, err = run(*call[:3], "--steps", "9", "-o", tmp_path / "new")
    assert code == 2 and "are what they are" in err
    np.savez(path, train_x=x[:, ::-1], train_y=y, test_x=test_x, test_y=test_y)
    code, _, err = run("learn", "--resume", "--rule", "mpd-ed", "-o", out)
    assert code == 2 and "has changed since the run began" in err


def test_motion(run: Run, tmp_path: Path) -> None:
    """A linear read-out of summed frames stays below 60 % (tests/models/test_motion.py)."""
    code, out, err = run("learn", "--data", "motion", "--rule", "std-ed", "--epochs", "2", "-o", tmp_path, "--json")
    assert code == 0, err
    (found,) = json.loads(out)["rules"]
    assert found["tested"] == 1000 and found["accuracy"] > 0.75
    ratios = found["ratios"]
    assert ratios["dense"] > ratios["zero-skipping"] > ratios["once"] > 1
    document = json.loads((tmp_path / "results.json").read_text())
    settings = document["rules"][0]["settings"]
    assert document["memory"] == [] and document["rules"][0]["network"] == "2×16×16-8×16×16-48-2"
    assert (settings["code"], settings["steps"], settings["learning_rate"]) == ("own", 16, 0.02)
    code, _, err = run("learn", "--rule", "std-ed", "--resume", "-o", tmp_path, "--json")
    assert code == 0, err  # all settings are the run's


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"train_x": None}, "no train_x"),
        ({"train_y": np.array([0.5])}, "train_y does not hold classes"),
        ({"test_x": np.zeros((3, 4, 5))}, "test_x has the wrong shape"),
        ({"train_x": np.full((4, 2, 3), 2)}, "not spikes"),
        ({"train_y": np.array([0, 1, 1])}, "train_x and train_y differ in samples"),
        ({"train_x": np.array([{}], dtype=object)}, "not a usable .npz file"),
    ],
)
def test_bad_files_of_samples(change: dict[str, np.ndarray], text: str, run: Run, tmp_path: Path) -> None:
    fine = {"train_x": np.zeros((4, 2, 3)), "train_y": np.array([0, 1]), "test_x": np.ones((4, 1, 3)), "test_y": [0]}
    path = tmp_path / "own.npz"
    np.savez(path, allow_pickle=True, **{k: v for k, v in {**fine, **change}.items() if v is not None})
    code, _, err = run("learn", "--data", path, "-o", tmp_path / "out")
    assert code == 2 and text in err
    path.write_bytes(b"PK no")
    assert run("learn", "--data", path, "-o", tmp_path / "out")[0] == 2
    assert run("learn", "--data", tmp_path / "none.npz", "-o", tmp_path / "out")[0] == 2


@pytest.mark.parametrize("rule", ["mpd-ed", "std-ed"])
def test_from_learning_to_a_chip(rule: str, run: Run, tmp_path: Path) -> None:
    """What was learned is compiled to integers, placed, run and priced; its accuracy stays."""
    from neurodeploy.models import digits

    source = digits.load()
    for name, images, labels in (
        ("calibration", source.train_images[:64], source.train_labels[:64]),
        ("test", source.test_images, source.test_labels),
    ):
        np.save(tmp_path / f"{name}-x.npy", digits.latency(images, 16))
        np.save(tmp_path / f"{name}-y.npy", labels)
    assert run("learn", "--rule", rule, "--epochs", "6", "--no-memory", "-o", tmp_path)[0] == 0
    learned = tmp_path / rule / "learned.ndp"
    before = learned.read_bytes()
    code, _, err = run("compile", learned, "--calibration", tmp_path / "calibration-x.npy")
    assert code == 0, err
    placed = learned.with_name("learned-loihi1.ndp")
    assert learned.read_bytes() == before and Program.load(placed).network.arithmetic == "loihi"
    found = []
    for program in (learned, placed):
        code, out, _ = run("run", program, "-i", tmp_path / "test-x.npy", "--labels", tmp_path / "test-y.npy", "--json")
        assert code == 0
        found.append(json.loads(out)["accuracy"])
    assert found[0] == json.loads((tmp_path / "results.json").read_text())["rules"][0]["accuracy"]
    assert found[1] > found[0] - 0.02 and found[0] > 0.9
    assert run("cost", placed, "-i", tmp_path / "test-x.npy")[0] == 0
    code, _, err = run("compile", placed)
    assert code == 2 and "in integers already" in err
    code, _, err = run("compile", learned, "--reset", "hard")
    assert code == 2 and "leaves no convention to settle" in err
