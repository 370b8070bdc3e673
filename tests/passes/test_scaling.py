"""Scales, thresholds and roundings by hand, and what they gain on random layers."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import InvalidInputError
from neurodeploy.network.connectivity import Conv2d, Dense, Sparse
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.passes import PassData
from neurodeploy.passes.quantise.calibration import Calibration
from neurodeploy.passes.quantise.quantise import Quantise
from neurodeploy.passes.quantise.rounding import compensated, nearest
from neurodeploy.passes.quantise.scaling import Grid, _ladder
from neurodeploy.passes.split_signs import SplitSigns
from tests.networks import random_network


def neurons(count: int, threshold: float | np.ndarray = 1.0, **changes) -> Lif:
    zero = np.zeros(count)
    values = {"du": zero + 1, "dv": zero + 0.1, "bias": zero, "threshold": zero + threshold, "reset_to": zero}
    return Lif(**(values | {"initial": zero} | changes))


def network(kind, shape=None, neuron: Lif | None = None) -> Network:
    source = kind.input_shape if isinstance(kind, Conv2d) else (kind.inputs,)
    shape = shape or (kind.output_shape if isinstance(kind, Conv2d) else (kind.outputs,))
    return Network(
        "n",
        (
            Population("input", source, Source()),
            Population("lif", shape, neuron or neurons(kind.outputs)),
        ),
        (Projection("p", "input", "lif", kind),),
        ("lif",),
        1e-3,
    )


def test_each_neuron_fills_its_bits() -> None:
    """Rows of weights up to 0.5 and 0.125: alone the second would use a quarter of the range."""
    w = np.array([[0.5, -0.25], [0.125, -0.0625]])
    one = Quantise(thresholds=1).apply(network(Dense(w)))
    each = Quantise(thresholds="any").apply(network(Dense(w)))
    assert np.abs(one.projections[0].connectivity.weights).max(axis=1).tolist() == [254, 64]
    assert np.abs(each.projections[0].connectivity.weights).max(axis=1).tolist() == [254, 254]
    scale = each.by_name["lif"].scales
    # 254 * 64 / 0.5 = 32512 = 508 * 64, so the threshold of 1 is 508 in units of 64; the other has four times that.
    assert scale.tolist() == [508 * 64, 4 * 508 * 64]
    assert each.by_name["lif"].neuron.threshold.tolist() == [508 * 64, 4 * 508 * 64]


def test_channels_share_a_scale() -> None:
    w = np.stack([np.full((1, 3, 3), 0.5), np.full((1, 3, 3), 0.1)])
    found = Quantise(thresholds="any").apply(network(Conv2d(w, (1, 5, 5))))
    assert isinstance(found.projections[0].connectivity, Conv2d)
    scales = found.by_name["lif"].scales.reshape(2, 9)
    assert (scales == scales[:, :1]).all()
    assert scales[1, 0] / scales[0, 0] == pytest.approx(5, rel=0.01)


def test_a_threshold_that_differs_is_made_equal_by_scaling() -> None:
    """Two neurons with weights in proportion to their thresholds are one and the same in integers."""
    w = np.array([[0.5, -0.25], [1.0, -0.5]])
    found = Quantise(thresholds=1 + 1).apply(network(Dense(w), neuron=neurons(2, np.array([1.0, 2.0]))))
    first, second = found.projections[0].connectivity.weights
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(found.by_name["lif"].neuron.threshold)) == 1


@pytest.mark.parametrize("few", [1, 2, 3, 8])
def test_no_more_thresholds_than_asked_for(few: int) -> None:
    rng = np.random.default_rng(few)
    w = rng.normal(size=(50, 20)) * rng.lognormal(size=(50, 1))
    found = Quantise(thresholds=few).apply(network(Dense(w)))
    thresholds = found.by_name["lif"].neuron.threshold
    assert len(np.unique(thresholds)) <= few
    np.testing.assert_allclose(found.by_name["lif"].scales, thresholds, rtol=1e-12, err_msg="theta is 1")


def test_the_ladder_by_hand() -> None:
    """From 1 to 16 in two rungs: 1 and 4 begin them; the second is lowered to the smallest value on it."""
    np.testing.assert_array_equal(_ladder(np.array([1.0, 3.0, 5.0, 16.0]), 2), [1, 1, 5, 5])


def test_grids() -> None:
    assert Grid.of(Dense(np.array([[1.0, -1]]))) == Grid(-256, 254, 2)
    assert Grid.of(Dense(np.array([[1.0, 0]]))) == Grid(0, 255, 1)
    assert Grid.of(Dense(np.array([[-1.0, 0]]))) == Grid(-255, 0, 1)
    assert Grid(-256, 254, 2, -1).unit == 2 * 64 / 2
    np.testing.assert_array_equal(Grid(-256, 254, 2).nearest(np.array([-1e9, -192.0, 190, 1e9])), [-128, -2, 1, 127])


@pytest.mark.parametrize("kind", ["dense", "sparse", "conv"])
def test_compensated_rounding_cancels_errors(kind: str) -> None:
    """On correlated inputs the error of what arrives is far smaller than with nearest rounding, on new samples too."""
    rng = np.random.default_rng(0)
    shape = (2, 6, 6)
    if kind == "conv":
        w = rng.normal(size=(4, 2, 3, 3)) * 0.05
        w[rng.random(w.shape) < 0.2] = 0
        connectivity = Conv2d(w, shape, padding=(1, 1))
    else:
        w = rng.normal(size=(20, 72)) * 0.05
        w[rng.random(w.shape) < 0.3] = 0
        connectivity = Dense(w) if kind == "dense" else Sparse.from_csr(csr_array(w.T))
    net = network(connectivity)

    def spikes(seed: int) -> np.ndarray:
        """Neighbours spike together."""
        r = np.random.default_rng(seed)
        found = (r.random((40, 8, 1, 3, 6)) < 0.3).repeat(2, axis=2).repeat(2, axis=3).astype(np.uint8)
        return found if kind == "conv" else found.reshape(40, 8, 72)

    projection = net.projections[0]
    scale, grid = np.full(net.by_name["lif"].size, 1000.0), Grid(-256, 254, 2, -2)
    seen = Calibration.of(net, {"": spikes(0)})
    traces = {"p": seen.traces(projection, *net.populations)}
    other = Calibration.of(net, {"": spikes(1)}).traces(projection, *net.populations)
    assert other is not None
    exact = connectivity.apply(other.astype(np.float64))

    def error(rounded: Projection) -> float:
        w = rounded.connectivity
        return float(np.abs(w.apply(other.astype(np.float64)) * 64 * 2.0**w.exponent / scale - exact).mean())

    together = compensated([projection], scale, {"p": grid}, traces)[0]
    alone = nearest(projection, scale, grid)
    assert error(together) < 0.75 * error(alone)
    for rounded in (together, alone):
        w = rounded.connectivity.weights
        assert w.dtype == np.int16
        assert w.min() >= -256
        assert w.max() <= 254
        assert (w % 2 == 0).all()
        assert (w[connectivity.weights == 0] == 0).all(), "a synapse that is not there does not appear"


def test_weights_on_the_grid_are_not_rounded() -> None:
    rng = np.random.default_rng(0)
    w = 2 * rng.integers(-100, 100, (6, 9))
    net = network(Dense(w / 10))
    traces = {
        "p": Calibration.of(net, {"": rng.integers(0, 2, (20, 3, 9))}).traces(net.projections[0], *net.populations)
    }
    scale = np.full(6, 640.0)
    for found in (
        compensated([net.projections[0]], scale, {"p": Grid(-256, 254, 2)}, traces)[0],
        nearest(net.projections[0], scale, Grid(-256, 254, 2)),
    ):
        np.testing.assert_array_equal(found.connectivity.weights, w)


def test_traces_by_hand() -> None:
    """One spike in step 1, delay 1, du = 0.5, dv = 0.25: currents 1, 1/2, 1/4; potentials 1, 1.25, 1.1875."""
    net = network(Dense(np.ones((1, 1))), neuron=neurons(1, 9.0, du=np.full(1, 0.5), dv=np.full(1, 0.25)))
    from dataclasses import replace

    projection = replace(net.projections[0], delay=1)
    x = np.zeros((5, 1, 1))
    x[1] = 1
    traces = Calibration.of(net, {"": x}).traces(projection, *net.populations)
    assert traces is not None
    np.testing.assert_allclose(traces.ravel(), [0, 0, 1, 1.25, 1.1875])


def test_the_search_clips_a_weight_that_nobody_hears() -> None:
    """One weight of 4 that is never heard, many of 0.1 that are: clipping it costs nothing."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=(30, 40)) * 0.1
    w[:, 0] = 4.0
    x = (rng.random((50, 6, 40)) < 0.4).astype(np.uint8)
    x[:, :, 0] = 0
    net = network(Dense(w))

    def error(**options) -> float:
        found = Quantise(rounding="nearest", **options).apply(net, PassData({"": x}))
        values = found.projections[0].connectivity
        effective = values.weights * 64 * 2.0**values.exponent / found.by_name["lif"].scales[:, None]
        return float(np.abs((effective - w) @ x.reshape(-1, 40).T).mean())

    assert error(range="mse") < 0.8 * error(range="max")


def test_firing_at_equality() -> None:
    """An IF neuron that compares with >=, weight 0.25 and threshold 1, fires in every fourth step - in integers too."""
    for reset in ("hard", "subtract"):
        neuron = neurons(1, 1.0, dv=np.zeros(1), reset=reset, comparison=">=")
        net = network(Dense(np.full((1, 1), 0.25)), neuron=neuron)
        x = {"": np.ones((40, 1, 1), np.uint8)}
        found = Quantise().apply(net)
        assert found.by_name["lif"].neuron.comparison == ">"
        a, b = (run_network(n, x).spikes["lif"].time.tolist() for n in (net, found))
        assert a == b == list(range(3, 40, 4)), reset


@pytest.mark.parametrize("seed", range(25))
def test_splitting_signs_changes_nothing(seed: int) -> None:
    net = random_network(seed, "float")
    split = SplitSigns().apply(net)
    for projection in split.projections:
        w = projection.connectivity.weights
        assert not w.min(initial=0) < 0 < w.max(initial=0)
    rng = np.random.default_rng(seed)
    x = {p.name: (rng.random((12, 2, p.size)) < 0.4).astype(np.uint8) for p in net.inputs}
    a, b = (run_network(n, x) for n in (net, split))
    for population in net.populations:
        if population.spiking:
            np.testing.assert_array_equal(a.spikes[population.name].dense(), b.spikes[population.name].dense())


def test_split_weights_use_a_bit_more() -> None:
    w = np.array([[0.5, -0.25, 0.001]])
    found = Quantise().apply(SplitSigns().apply(network(Dense(w))))
    positive, negative = (p.connectivity for p in found.projections)
    assert positive.weights.max() == 255
    assert negative.weights.min() in (-254, -255)
    assert negative.exponent == positive.exponent - 1
    with pytest.raises(InvalidInputError, match="signs are split before quantisation"):
        SplitSigns().apply(found)


def test_refusal_of_compensation_without_samples() -> None:
    with pytest.raises(InvalidInputError, match="compensated rounding needs samples"):
        Quantise(rounding="compensated").apply(network(Dense(np.ones((1, 1)))))
