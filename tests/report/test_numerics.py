"""Box plots: quartiles by hand, what is lost and what is full, and the section in the page."""

from pathlib import Path

import numpy as np

from neurodeploy.backends.reference.run import run_network
from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.program.recording import Record
from neurodeploy.report import svg
from neurodeploy.report.numerics import spread, spreads
from tests import nirgraphs


def test_a_box_by_hand() -> None:
    found = spread("l", "weights", np.array([0, -0.5, 2, 4, -6, 300]), 2, 254)
    assert found.values == 5
    assert found.box == (0.5, 2, 4, 6, 300)
    assert found.lost == 1 / 5
    assert found.full == 1 / 5
    assert spread("l", "bias", np.zeros(3), 1, 10).box == ()


def test_boxes_of_a_network(tmp_path: Path) -> None:
    x = (np.random.default_rng(0).random((20, 4, 12)) < 0.3).astype(np.uint8)
    path = nirgraphs.write(nirgraphs.mlp(), tmp_path / "net.nir")
    compiled = compile(path, None, CompileOptions(conventions={"dt": 1e-3}, calibration={"": x}))
    network = compiled.program.network
    recording = run_network(network, {"": x}, record=Record(("v",)))
    found = {(s.layer, s.what): s for s in spreads(compiled, recording)}
    weights = found["lif1", "weights from input"]
    assert weights.largest == 254
    assert 200 < weights.box[4] <= 254.5, "the largest fills its bits"
    stored = np.abs(network.projections[0].connectivity.weights)
    assert abs(weights.box[2] - np.median(stored[stored > 0])) < 4, "the floats in units of the integers"
    v = recording.states["v"]["lif1"]
    assert found["lif1", "potential"].box[4] == np.abs(v).max()
    threshold = network.by_name["lif1"].neuron.threshold
    assert found["lif1", "threshold / 64"].box[4] == threshold.max() / 64
    assert ("lif1", "bias") in found
    assert spreads(compile(path, None, CompileOptions(conventions={"dt": 1e-3}, integer=False)), None) == ()


def test_the_drawing_stays_inside() -> None:
    drawn = str(svg.box((1e-9, 2, 4, 6, 1e9), 2, 254, "x"))
    assert 'width="1000"' in drawn, "whiskers are cut at the ends"
    assert "nan" not in drawn
    assert str(svg.box((), 2, 254, "empty")).count("<rect") == 1
