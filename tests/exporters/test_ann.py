"""An ordinary CNN trained on the digits, as spikes and as sigma-delta neurons; the parts by arithmetic."""

from __future__ import annotations

import nir
import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy import conversion
from neurodeploy.backends.reference.run import run_network
from neurodeploy.compiler import place
from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.exporters.ann import ann as spiking
from neurodeploy.exporters.ann import torch_ann
from neurodeploy.exporters.ann.ann_graph import predict
from neurodeploy.exporters.write_nir import write
from neurodeploy.hwsim import engine
from neurodeploy.lowering.lower import lower
from neurodeploy.models import digits, digits_ann
from neurodeploy.network.neurons import SigmaDelta
from neurodeploy.nir_graph import interpreter as nir_reference
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.passes import PassData
from neurodeploy.passes.graded_inputs import with_graded_inputs
from neurodeploy.passes.quantise.quantise import Quantise
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record, scores

DATA = digits.load()
TEST = digits_ann.inputs(DATA.test_images)
CALIBRATION = digits_ann.inputs(DATA.train_images[:300])


@pytest.fixture(scope="module")
def trained():
    return digits_ann.train()


@pytest.fixture(scope="module")
def ann(trained):
    return torch_ann.from_torch(trained.module, (1, 8, 8))


def accuracy(found):
    return float((np.asarray(found).argmax(axis=1) == DATA.test_labels).mean())


def test_the_ann_is_read_as_torch_computes_it(trained, ann):
    with torch.no_grad():
        expected = trained.module(torch.from_numpy(TEST)).numpy()
    np.testing.assert_allclose(predict(ann, TEST), expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert trained.accuracy == accuracy(expected) >= digits_ann.TARGET


@pytest.mark.parametrize("coding", ["direct", "rate"])
def test_as_spikes_within_one_point_at_64_steps(coding, trained, ann, tmp_path):
    write(spiking.convert(ann, CALIBRATION, coding=coding), tmp_path / "ann.nir")
    file = nir_file.read(tmp_path / "ann.nir")
    network = lower(file, resolve(file))
    inputs = spiking.encode(TEST, 64, coding)
    if coding == "rate":
        assert set(np.unique(inputs)) == {0, 1}
    run = run_network(network, {"": inputs})
    assert abs(accuracy(scores(network, run)) - trained.accuracy) <= 0.01
    assert len(run.spikes["2"]) > 100 * len(TEST)


def test_every_interpreter_agrees_on_the_spiking_one(ann, tmp_path):
    write(spiking.convert(ann, CALIBRATION, coding="rate"), tmp_path / "ann.nir")
    file = nir_file.read(tmp_path / "ann.nir")
    conventions = resolve(file)
    network = lower(file, conventions)
    inputs = {"": spiking.encode(TEST[:8], 16, "rate")}
    runs = [nir_reference.run(file, inputs, conventions), run_network(network, inputs),
            engine.run(place(network, None, {}), inputs)]  # fmt: skip
    for name in ("2", "5", "9"):
        for other in runs[1:]:
            np.testing.assert_array_equal(runs[0].spikes[name].dense(), other.spikes[name].dense())
        assert len(runs[0].spikes[name]) > 100


def test_as_sigma_delta_within_a_third_of_a_point(trained, ann, tmp_path):
    network = conversion.convert(ann, CALIBRATION)
    place(network, None, {}).save(tmp_path / "ann.ndp")
    program = Program.load(tmp_path / "ann.ndp")
    run = engine.run(program, {"": conversion.encode(TEST)})
    assert abs(accuracy(scores(program.network, run)) - trained.accuracy) <= 0.003
    messages = sum(len(events) for name, events in run.spikes.items() if name not in ("input", network.inputs[0].name))
    assert 100 < messages / len(TEST) < 1610  # of 1024 + 512 + 64 + 10 neurons


def test_sigma_delta_without_threshold_is_the_ann(ann):
    """Also when the image changes: the differences are sent, and the sums are the new image's activations."""
    network = conversion.convert(ann, CALIBRATION, relative_threshold=0.0)
    first, second = TEST[:20].astype(np.float64), TEST[20:40].astype(np.float64)
    changes = np.stack([first, second - first, np.zeros_like(first)])
    run = run_network(network, {"": changes})
    np.testing.assert_allclose(scores(network, run), predict(ann, second), rtol=0, atol=1e-9)
    assert all(isinstance(p.neuron, SigmaDelta) for p in network.populations if p.name != network.inputs[0].name)


def test_sigma_delta_in_integers_is_as_good_and_near(trained, ann):
    """8-bit weights: the accuracy, and every activation to 1 % of its layer's largest; both back-ends agree."""
    network = conversion.convert(ann, CALIBRATION, input_unit=1 / 16)
    x, given = conversion.encode(TEST, 1, 1 / 16), {"": conversion.encode(CALIBRATION[:100], 1, 1 / 16)}
    integers = Quantise().apply(with_graded_inputs(network, given, "loihi2", 24), PassData(given))
    recorded = Record(("v",))
    floats, found = run_network(network, {"": x}, record=recorded), run_network(integers, {"": x}, record=recorded)
    assert abs(accuracy(scores(integers, found)) - trained.accuracy) <= 0.003
    for population in integers.populations[1:]:
        v = floats.states["v"][population.name]
        off = found.states["v"][population.name] / population.scales - v
        assert np.abs(off).max() < 0.01 * np.abs(v).max(), population.name
    other = engine.run(place(integers, None, {}), {"": x[:, :50]}, record=recorded)
    for name, v in other.states["v"].items():
        np.testing.assert_array_equal(v, found.states["v"][name][:, :50])


def tiny(*layers):
    torch.manual_seed(0)
    return nn.Sequential(*layers)


def test_a_rate_is_the_activation_by_hand(tmp_path):
    """y = relu(2 x - 1) with threshold 1 (the largest activation): x = 0.8 gives 0.6, so 6 spikes in 10 steps."""
    module = tiny(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1))
    with torch.no_grad():
        module[0].weight.fill_(2.0)
        module[0].bias.fill_(-1.0)
    ann = torch_ann.from_torch(module, (1,))
    calibration = np.array([[0.0], [1.0]])
    assert spiking.thresholds(ann, calibration, 100) == pytest.approx({"1": 1.0})
    graph = spiking.convert(ann, calibration, percentile=100)
    assert graph.nodes["1"].metadata["neurodeploy"]["v_initial"] == pytest.approx(0.5)
    write(graph, tmp_path / "one.nir")
    file = nir_file.read(tmp_path / "one.nir")
    run = run_network(lower(file, resolve(file)), {"": spiking.encode(np.array([[0.8], [0.2]]), 10)})
    assert run.spikes["1"].dense()[:, :, 0].sum(axis=0).tolist() == [6, 0]


def test_rate_coding_spreads_spikes_evenly():
    assert spiking.encode(np.array([[0.0, 0.25, 0.5, 1.0]]), 4, "rate")[:, 0].T.tolist() == [
        [0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 1], [1, 1, 1, 1],
    ]  # fmt: skip
    assert spiking.encode(np.array([[0.1]]), 10, "rate").sum() == 1


def test_residuals_and_relu6(tmp_path):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)
            self.r1, self.r2, self.r3 = nn.ReLU(), nn.ReLU6(), nn.ReLU()

        def forward(self, x):
            y = self.r1(self.a(x))
            return self.c(self.r3(y + self.r2(self.b(y) * 20)))

    torch.manual_seed(0)
    module = Block().eval()
    ann = torch_ann.from_torch(module, (6,))
    x = np.random.default_rng(0).random((200, 6))
    with torch.no_grad():
        expected = module(torch.from_numpy(x).float()).numpy()
    np.testing.assert_allclose(predict(ann, x), expected, atol=1e-4)
    write(spiking.convert(ann, x, percentile=100), tmp_path / "r.nir")
    file = nir_file.read(tmp_path / "r.nir")
    network = lower(file, resolve(file))
    found = scores(network, run_network(network, {"": spiking.encode(x, 400)})) / 400
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    assert (
        max(float(node.v_threshold.max()) for node in file.graph.nodes.values() if isinstance(node, nir.IF)) > 6 - 1e-9
    )
    with pytest.raises(UnsupportedError, match=r"is cut off at 6\n.*ReLU without a ceiling"):
        conversion.convert(ann, x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: spiking.convert(a, TEST[:, 0]), "the calibration data have the wrong shape"),
        (lambda a: spiking.convert(a, TEST[:0]), "the calibration data have the wrong shape"),
        (lambda a: spiking.convert(a, TEST * np.nan), "the calibration data are not finite numbers"),
        (lambda a: spiking.convert(a, -TEST, coding="rate"), "negative inputs cannot be coded as rates"),
        (lambda a: spiking.convert(a, TEST, percentile=0), "the percentile is not one"),
        (lambda a: spiking.convert(a, TEST, dt=0.0), "the time step must be a positive number"),
        (lambda a: spiking.convert(a, TEST, input_scale=-1.0), "the scale of the input must be a positive number"),
        (lambda a: spiking.convert(a, TEST, coding="latency"), "unknown coding"),
        (lambda a: spiking.encode(TEST, 4, "latency"), "unknown coding"),
        (lambda a: spiking.encode(TEST, 0), "a sample needs at least one step"),
        (lambda a: spiking.encode(TEST * 2, 4, "rate"), "values that cannot be coded as rates"),
        (lambda a: conversion.convert(a, TEST, relative_threshold=1.0), "the threshold is not a part of the largest"),
        (lambda a: conversion.encode(TEST, 0), "a sample needs at least one step"),
    ],
)
def test_refusals(ann, call, message):
    with pytest.raises(InvalidInputError, match=message):
        call(ann)
