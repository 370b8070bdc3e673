"""Two linear maps made one: the same numbers, and a convolution where it can be one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.network import compose
from neurodeploy.network.connectivity import Conv2d, Sparse


@st.composite
def convolutions(draw, inputs: tuple[int, int, int], kernel: int | None = None) -> Conv2d:
    """Any convolution of an image; of 1 x 1 without padding where ``kernel`` is 1."""
    channels = inputs[0]
    groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    outputs = groups * draw(st.integers(1, 3))
    size = kernel or draw(st.integers(1, 3))
    padding = 0 if kernel == 1 else draw(st.integers(0, 2))
    dilation = draw(st.integers(1, 2)) if min(inputs[1:]) + 2 * padding > 2 * (size - 1) else 1
    if min(inputs[1:]) + 2 * padding < dilation * (size - 1) + 1:
        size = 1
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = rng.integers(-8, 9, (outputs, channels // groups, size, size)).astype(float)
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    return Conv2d(weights, inputs, stride, (padding, padding), (dilation, dilation), groups)


@st.composite
def pairs(draw, mixing_first: bool) -> tuple[Conv2d, Conv2d]:
    inputs = (draw(st.sampled_from([1, 2, 3, 4, 6])), draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    first = draw(convolutions(inputs, 1 if mixing_first else None))
    if mixing_first:
        first = Conv2d(first.weights, inputs, groups=first.groups)
    return first, draw(convolutions(first.output_shape, None if mixing_first else 1))


@pytest.mark.parametrize("mixing_first", [True, False])
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_mixing_of_channels_beside_a_convolution_is_a_convolution(mixing_first: bool, data) -> None:
    """Whole numbers, so that both orders of sums are exact."""
    first, second = data.draw(pairs(mixing_first))
    both = compose.then(first, second)
    assert isinstance(both, Conv2d)
    assert both.output_shape == second.output_shape
    assert both.groups == math.gcd(first.groups, second.groups) or both.weights.shape[2:] == (1, 1)
    x = np.random.default_rng(0).integers(-8, 9, (2, first.inputs)).astype(float)
    np.testing.assert_array_equal(both.apply(x), second.apply(first.apply(x)))
    assert both.listed().synapses() <= both.synapses()


def test_a_depthwise_and_a_pointwise_layer_keep_shared_weights() -> None:
    """A separable 5 x 5 layer of 64 to 256 channels: 256 kernels of 64 x 5 x 5, as torch's weights say it."""
    rng = np.random.default_rng(0)
    depth = Conv2d(rng.normal(size=(64, 1, 5, 5)), (64, 14, 14), padding=(2, 2), groups=64)
    point = Conv2d(rng.normal(size=(256, 64, 1, 1)), (64, 14, 14))
    both = compose.then(depth, point)
    assert isinstance(both, Conv2d) and both.weights.shape == (256, 64, 5, 5)
    expected = np.einsum("om,mij->omij", point.weights[:, :, 0, 0], depth.weights[:, 0])
    np.testing.assert_allclose(both.weights, expected, rtol=1e-12)
    assert compose.reason(depth, point, both).startswith("a convolution and a convolution became a convolution of")


@pytest.mark.parametrize("same", [True, False])
def test_a_scaling_in_front_of_a_convolution_keeps_shared_weights(same: bool) -> None:
    """Pixels divided by 16, or each channel by its own number; one number a pixel cannot be shared."""
    rng = np.random.default_rng(0)
    factors = np.repeat([0.5, 2.0, 0.25], 20) if same else rng.integers(1, 9, 60).astype(float)
    conv = Conv2d(rng.integers(-4, 5, (5, 3, 3, 3)).astype(float), (3, 4, 5), padding=(1, 1))
    both = compose.then(compose.diagonal(factors), conv)
    assert isinstance(both, Conv2d if same else Sparse)
    x = rng.integers(-4, 5, (2, 60)).astype(float)
    np.testing.assert_array_equal(both.apply(x), conv.apply(x * factors))
