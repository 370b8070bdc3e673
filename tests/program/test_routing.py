"""Tables of a convolution are those of its expanded synapses, whatever the geometry."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.network.connectivity import Conv2d, Dense, Sparse
from neurodeploy.network.network import Projection
from neurodeploy.program.routing import fan_out, sources_of


@st.composite
def convolutions(draw) -> Conv2d:
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    size = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    kernel = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    stride, padding = (
        (draw(st.integers(1, 3)), draw(st.integers(1, 2))),
        (draw(st.integers(0, 2)), draw(st.integers(0, 2))),
    )
    dilation = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    for axis in (0, 1):
        if size[axis] + 2 * padding[axis] < dilation[axis] * (kernel[axis] - 1) + 1:
            size = (size[0] + 5, size[1] + 5)
    c_in, c_out = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    w = rng.integers(-3, 4, (c_out * groups, c_in, *kernel)) * draw(st.sampled_from([0, 1, 1]))
    if draw(st.booleans()):
        w = np.where(w == 0, 1, w)
    return Conv2d(w, (c_in * groups, *size), stride, padding, dilation, groups)


def projection(kind) -> Projection:
    return Projection("p", "a", "b", kind)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(convolutions(), st.integers(1, 5), st.integers(0, 1000))
def test_a_convolution_has_the_tables_of_its_expansion(kind: Conv2d, cores: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    core_of = rng.integers(0, cores, kind.outputs)
    expanded = projection(Sparse.from_csr(kind.to_csr()))
    a, b = fan_out(projection(kind), core_of), fan_out(expanded, core_of)
    for name in ("indptr", "cores", "synapses", "nonzero"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    chosen = np.flatnonzero(rng.random(kind.outputs) < 0.3)
    if len(chosen):
        csr = kind.to_csr()[:, chosen]
        expected = int((np.diff(csr.indptr) > 0).sum())
        assert sources_of(projection(kind), chosen) == sources_of(expanded, chosen) == expected


def test_a_dense_projection_by_hand() -> None:
    """Three sources, four targets on cores 0, 0, 2, 2; one weight is zero."""
    w = np.array([[1, 2, 3], [0, 5, 6], [7, 8, 9], [1, 1, 1]])
    table = fan_out(projection(Dense(w)), np.array([0, 0, 2, 2]))
    assert table.indptr.tolist() == [0, 2, 4, 6]
    assert table.cores.tolist() == [0, 2] * 3
    assert table.synapses.tolist() == [2] * 6
    assert table.nonzero.tolist() == [1, 2, 2, 2, 2, 2]
    assert sources_of(projection(Dense(w)), np.array([1])) == 3, (
        "a zero weight of a matrix is stored, so it has an axon"
    )
