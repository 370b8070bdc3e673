"""Runs that are stopped, killed and resumed; their checkpoints; what learning reaches."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.errors import InvalidInputError, MissingFileError, StorageError
from neurodeploy.learning.run import CHECKPOINT, Run
from neurodeploy.learning.setup import Setup

SMALL = Setup("mpd-ed", hidden=(20,), epochs=3, seed=5)


def finished(run: Run) -> Run:
    while not run.done:
        run.advance()
    return run


def same(first: Run, second: Run) -> None:
    """Bit for bit: state, accuracies, counts."""
    a, b = first.learner.state(), second.learner.state()
    assert a.keys() == b.keys()
    assert all(a[name].tobytes() == b[name].tobytes() for name in a)
    assert (first.taken, first.accuracies, first.right) == (second.taken, second.accuracies, second.right)
    assert all((x == y).all() for x, y in zip(first.counts, second.counts, strict=True))


@pytest.mark.parametrize(
    "setup",
    [
        SMALL,
        replace(SMALL, rule="std-ed", batch=7, weight_bits=8, skip=0.1),
        replace(SMALL, rule="bptt", hidden=((3, 3, 2), 12)),
    ],
    ids=["mpd-ed", "std-ed batches bits skips", "bptt conv"],
)
def test_resumed_equals_uninterrupted(setup: Setup, tmp_path: Path) -> None:
    """Stopped within an epoch and at its end, in the middle of a batch, with another length of portions."""
    whole = finished(Run(setup))
    run = Run(setup, tmp_path, portion=300)
    for _ in range(3):
        run.advance()
    run = Run.resume(tmp_path, portion=447)
    assert run.taken == 900
    run.advance()
    assert run.taken == run.learner.size
    same(whole, finished(Run.resume(tmp_path)))
    same(whole, Run.resume(tmp_path))


CHILD = """
import sys
from pathlib import Path
from neurodeploy.learning.run import CHECKPOINT, Run
from neurodeploy.learning.setup import Setup
folder = Path(sys.argv[1])
there = (folder / CHECKPOINT).exists()
run = Run.resume(folder, 250) if there else Run(Setup.from_json(sys.argv[2]), folder, 250)
print("ready", flush=True)
while not run.done:
    run.advance()
    print(run.taken, flush=True)
"""


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """SIGKILL at random moments: at most one portion is lost, no litter is in the way, and the end is the same."""
    setup = replace(SMALL, rule="std-ed", epochs=12)
    luck, last, kills, done = random.Random(3), 0, 0, False
    while not done:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path), setup.to_json()], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "NUMBA_NUM_THREADS": "1"},
        )  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        if kills < 4:
            time.sleep(luck.random() * 0.15)
            child.send_signal(signal.SIGKILL)
        said = [int(line) for line in child.stdout if line.endswith("\n")]
        code = child.wait()
        kills += code == -signal.SIGKILL
        last = max([last, *said])
        done = code == 0
        if (tmp_path / CHECKPOINT).exists():
            assert Run.resume(tmp_path).taken >= last
        assert code in (0, -signal.SIGKILL)
    assert kills >= 2
    same(finished(Run(setup)), Run.resume(tmp_path))


def test_damaged_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="does not exist"):
        Run.resume(tmp_path)
    Run(SMALL, tmp_path, portion=500).advance()
    path = tmp_path / CHECKPOINT
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInputError, match="is damaged"):
        Run.resume(tmp_path)
    path.write_bytes(b"no archive")
    with pytest.raises(InvalidInputError, match="is damaged"):
        Run.resume(tmp_path)
    for change, text in (
        ({"taken": np.array(7)}, "another|damaged|epochs"),
        ({"format": np.array(9)}, "another version"),
        ({"state/weights": np.zeros(3)}, "another network: weights"),
        ({"state/counter": np.array([10**9, 0, 0, 0])}, "numbers do not fit"),
        ({"state/threshold": np.full(84, np.nan)}, "numbers do not fit"),
        ({"setup": np.array('{"rule": "mpd-ed"}')}, "settings"),
        ({"counts": np.array([{}], dtype=object)}, "damaged"),
    ):
        path.write_bytes(whole)
        with np.load(path) as file:
            arrays = {**{name: file[name] for name in file.files}, **change}
        if "taken" in change:
            arrays["right"] = np.zeros(3, np.int64)
        np.savez(path, allow_pickle=True, **arrays)
        with pytest.raises(InvalidInputError, match=text):
            Run.resume(tmp_path)


def test_a_checkpoint_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: one message, and the checkpoint before is still whole."""
    run = Run(SMALL, tmp_path, portion=200)
    run.advance()
    monkeypatch.setattr(np, "savez", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match="cannot write"):
        run.advance()
    monkeypatch.undo()
    assert Run.resume(tmp_path).taken == 200
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]


@pytest.mark.parametrize("rule", ["mpd-ed", "std-ed"])
def test_adaptive_thresholds_rescue(rule: str) -> None:
    """With a tenth of the usual weights nothing fires: 10 % (one class of ten); with adaptive thresholds it learns."""
    weak = Setup(rule, initial=0.1, epochs=12)
    dead = finished(Run(replace(weak, adapt=False)))
    assert dead.accuracies[-1] <= 0.2
    assert finished(Run(weak)).accuracies[-1] >= 0.85


@pytest.mark.parametrize("rule", ["mpd-ed", "std-ed", "bptt"])
def test_it_learns_digits(rule: str) -> None:
    run = finished(Run(Setup(rule, epochs=6)))
    assert run.accuracies[0] < 0.3
    assert run.accuracies[-1] > 0.92
    assert run.right[-1] > 0.93 * run.learner.size


def test_memory_follows_events(tmp_path: Path) -> None:
    """16 times as many steps: a clocked engine stores 16 times as much, MPD-ED less than twice as much."""
    words = {}
    for steps in (8, 128):
        run = finished(Run(Setup("mpd-ed", steps=steps, epochs=2)))
        found = dict(zip(run.learner.kinds, run.counts[-1].T, strict=True))
        assert found["stored_words"].sum() == found["events_in"][0] + 2 * found["events_in"][1]
        words[steps] = found["stored_words"].sum() / run.learner.size
    assert words[128] < 2 * words[8]
