"""A module's own precision against float64: what rounding may decide, and what it may not."""

from __future__ import annotations

from itertools import product

import norse.torch as norse
import numpy as np
import pytest
import sinabs.activation as sa
import sinabs.layers as sl
import snntorch as snn
import torch
from hypothesis import given
from hypothesis import strategies as st
from spikingjelly.activation_based import neuron
from torch import nn

from neurodeploy.errors import VerificationError
from neurodeploy.exporters.export import export
from neurodeploy.exporters.trace import own_usage
from neurodeploy.exporters.user_run import UserRun, own_dtype, run_user
from neurodeploy.nir_graph import interpreter, nir_file
from neurodeploy.nir_graph.conventions import resolve, rules_of
from neurodeploy.verify.margins import check_precision, decisions, flips

STEPS, BATCH, INPUTS = 12, 2, 6


def dense(outputs=5):
    torch.manual_seed(0)
    return nn.Linear(INPUTS, outputs)


def drawn():
    return (np.random.default_rng(0).random((STEPS, BATCH, INPUTS)) < 0.5).astype(np.float32) * 2


NEURONS = {
    **{
        f"snntorch {reset} {delay}": lambda reset=reset, delay=delay: snn.Leaky(
            0.9, threshold=0.3, init_hidden=True, reset_mechanism=reset, reset_delay=delay
        )
        for reset, delay in product(("subtract", "zero", "none"), (True, False))
    },
    "snntorch gate": lambda: snn.Synaptic(0.5, 0.9, threshold=0.3, init_hidden=True, reset_mechanism="zero"),
    "norse": lambda: norse.LIF(norse.LIFParameters(v_th=torch.tensor(0.05))),
    "spikingjelly": lambda: neuron.LIFNode(v_threshold=0.3, v_reset=None),
    "sinabs": lambda: sl.LIF(3.0, spike_threshold=torch.tensor(0.1), min_v_mem=-0.2),
    "sinabs adaptive": lambda: sl.ALIF(3.0, 4.0, spike_threshold=torch.tensor(0.1), spike_fn=sa.SingleSpike),
}


@pytest.mark.parametrize("name", NEURONS)
def test_the_interpreter_tells_what_decided_on_each_spike(name, tmp_path):
    module = (norse.SequentialState if name == "norse" else nn.Sequential)(dense(), NEURONS[name]())
    export(module, (INPUTS,), None, tmp_path / "net.nir")
    file = nir_file.read(tmp_path / "net.nir")
    conventions = resolve(file)
    plain, found = (interpreter.run(file, {"": drawn()}, conventions, decisions=told) for told in (False, True))
    assert list(plain.states) == ["v"]
    np.testing.assert_array_equal(plain.states["v"]["1"], found.states["v"]["1"])
    potential, threshold = decisions(found)["1"]
    rules = rules_of("1", file.graph.nodes["1"], conventions)
    met = potential >= threshold if rules.comparison == ">=" else potential > threshold
    many = np.trunc(potential / threshold) if rules.max_spikes > 1 else 1
    spikes = found.spikes["1"].dense()
    np.testing.assert_array_equal(spikes, met * many)
    assert spikes.any()
    if "adaptive" in name:
        assert (np.diff(threshold, axis=0) > 0).any()
    elif "none" not in name and "True" not in name and "gate" not in name:
        # What a reset took away was there before it (snnTorch's takes away once what stays above the threshold).
        taken = potential[spikes > 0] - found.states["v"]["1"][spikes > 0]
        assert (taken >= 0).all()
        assert (taken > 0).any()


def judged(module, x, tmp_path):
    usage = own_usage(module, len(x), x.shape[1])
    export(module, x.shape[2:], None, tmp_path / "net.nir")
    file = nir_file.read(tmp_path / "net.nir")
    told = decisions(interpreter.run(file, {"": x}, resolve(file), decisions=True))
    own, wide = (run_user(module, usage.as_given(x), usage, dtype) for dtype in (None, torch.float64))
    return check_precision(own, wide, told, list(wide.outputs), str(own_dtype(module)).partition(".")[2])


def integrating(threshold):
    module = nn.Sequential(nn.Linear(1, 1, bias=False), neuron.IFNode(v_threshold=threshold))
    nn.init.constant_(module[0].weight, 0.1)
    return module


def test_rounding_at_the_threshold_is_a_note(tmp_path):
    # Ten times 0.1 of float32 is 1.00000012 in float32 and 1.0000000149 in float64.
    note = judged(integrating(1.00000005), np.ones((12, 1, 1), np.float32), tmp_path)
    assert "float32 and float64 part in 1 of 1 samples" in note
    assert "layer '1', step 9, sample 0, neuron 0: 1 spikes, and 0 in float64, at a potential of 1.00000001" in note
    assert "3.5e-08 of the threshold" in note
    assert judged(integrating(1.05), np.ones((12, 1, 1), np.float32), tmp_path) is None


class Cancels(nn.Module):
    """Loses the digits of what arrives at the neuron, or of what is returned."""

    def __init__(self, where, large):
        super().__init__()
        self.where, self.large = where, large
        self.fc, self.lif = dense(), neuron.LIFNode(v_threshold=0.3)

    def forward(self, x):
        drive = self.fc(x)
        if self.where == "input":
            drive = drive + self.large - self.large
        spikes = self.lif(drive)
        return (spikes, self.lif.v + self.large - self.large) if self.where == "output" else spikes


def runs(module):
    """Both runs of a module that the file of a plain one with the same weights stands for."""
    usage = own_usage(module, STEPS, BATCH)
    return run_user(module, drawn(), usage), run_user(module, drawn(), usage, torch.float64)


def told_by_plain(tmp_path):
    module = nn.Sequential(dense(), neuron.LIFNode(v_threshold=0.3))
    export(module, (INPUTS,), None, tmp_path / "net.nir")
    file = nir_file.read(tmp_path / "net.nir")
    potential = decisions(interpreter.run(file, {"": drawn()}, resolve(file), decisions=True))
    return {"lif": potential["1"]}


def test_a_forward_that_loses_digits_is_refused(tmp_path):
    told = told_by_plain(tmp_path)
    with pytest.raises(VerificationError) as caught:
        check_precision(*runs(Cancels("input", 3e5)), told, ["lif"], "float32")
    said = str(caught.value)
    assert "the module does not compute the same in float32 as in float64" in said
    assert "first at layer 'lif', step" in said
    assert "in float32, look in forward for what loses digits" in said


def test_half_precision_is_refused(tmp_path):
    module = nn.Sequential(dense(600), neuron.LIFNode(v_threshold=0.3)).bfloat16()
    with pytest.raises(VerificationError, match=r"in bfloat16 as in float64(.|\n)*not in half precision"):
        judged(module, drawn(), tmp_path)


def test_what_is_returned_must_agree_where_all_spikes_do(tmp_path):
    told = told_by_plain(tmp_path)
    own, wide = runs(Cancels("output", 3e4))
    np.testing.assert_array_equal(own.outputs["lif"], wide.outputs["lif"])
    with pytest.raises(VerificationError, match=r"does not return the same in float32 .*\n.*in the tensor 1 that"):
        check_precision(own, wide, told, ["lif"], "float32")
    assert check_precision(*runs(Cancels("none", 0)), told, ["lif"]) is None
    with pytest.raises(VerificationError, match=r"found: .*\[12, 2, 5\] and nothing"):
        check_precision(own, UserRun((), wide.outputs), told, ["lif"])


LAYERS = ("a", "b", "c")


@given(st.integers(0, 2**32 - 1))
def test_the_first_flip_of_each_sample_by_brute_force(seed):
    generator = np.random.default_rng(seed)
    shape = (4, 3, 5)
    wide = {name: generator.integers(0, 3, shape).astype(float) for name in LAYERS}
    own = {name: np.where(generator.random(shape) < 0.03, 1 + value, value) for name, value in wide.items()}
    told = {name: (value + generator.random(shape), np.ones(shape)) for name, value in wide.items() if name != "c"}
    expected = []
    for sample in range(shape[1]):
        for step, layer in product(range(shape[0]), ("b", "a")):
            worst = None
            for n in range(shape[2]):
                a, b = own[layer][step, sample, n], wide[layer][step, sample, n]
                if a != b:  # one spike more: so much is missing to the next threshold
                    missing = a - told[layer][0][step, sample, n]
                    worst = max(worst or (0, 0), (missing, n))
            if worst is not None:
                expected.append((layer, step, sample, worst[1], worst[0]))
                break
    found = flips(UserRun((), own), UserRun((), wide), told, ["b", "a", "c"])
    assert [(f.layer, f.step, f.sample, f.neuron) for f in found] == [entry[:4] for entry in expected]
    np.testing.assert_allclose([f.margin for f in found], [entry[4] for entry in expected])


def test_a_spike_that_is_missing_is_as_far_away_as_the_next_lower_threshold():
    own, wide = ({"a": np.full((1, 1, 1), count)} for count in (0.0, 2.0))
    (flip,) = flips(UserRun((), own), UserRun((), wide), {"a": (np.full((1, 1, 1), 2.5), np.ones((1, 1, 1)))}, ["a"])
    assert flip.margin == 1.5


@pytest.mark.parametrize("potential", [np.nan, np.inf])
def test_a_potential_that_is_no_number_is_no_rounding(potential):
    own, wide = ({"a": np.full((1, 1, 1), count)} for count in (0.0, 1.0))
    told = {"a": (np.full((1, 1, 1), potential), np.ones((1, 1, 1)))}
    with pytest.raises(VerificationError, match="does not compute the same"):
        check_precision(UserRun((), own), UserRun((), wide), told, ["a"])
