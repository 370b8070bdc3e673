"""Names of the operators of a captured step, by what becomes of them."""

from __future__ import annotations

from neurodeploy.errors import UnsupportedError

PASSES = ("aten.dropout", "aten.feature_dropout", "aten.alpha_dropout", "aten.contiguous", "aten.clone",
           "aten.detach", "aten.alias", "aten.detach_", "aten.dropout_")  # fmt: skip
RESHAPES = ("aten.flatten", "aten.view", "aten.reshape", "aten._unsafe_view", "aten.squeeze", "aten.unsqueeze")
CONVOLUTIONS = ("aten.conv1d", "aten.conv2d")
POOLS = ("aten.avg_pool1d", "aten.avg_pool2d", "aten.adaptive_avg_pool1d", "aten.adaptive_avg_pool2d")
LATE, LATE_OF, PICK, READ_OUT = "neurodeploy.late", "neurodeploy.late_of", "neurodeploy.pick", "neurodeploy.read_out"
"""Operators of folded sequences: what was sent some steps before, elements of a layer, a layer that is read."""

MATRICES = (
    PICK,
    "aten.conv_transpose1d", "aten.conv_transpose2d", "aten.upsample_nearest1d", "aten.upsample_nearest2d",
    "aten.upsample_linear1d", "aten.upsample_bilinear2d", "aten.upsample_bicubic2d", "aten.mean", "aten.einsum",
    "aten.pad", "aten.constant_pad_nd", "aten.flip", "aten.pixel_shuffle", "aten.pixel_unshuffle",
)  # fmt: skip
"""Linear operators that NIR has no node for."""

REFUSED = {
    "aten.max_pool2d": ("the maximum of several neurons is not a sum over synapses", "use AvgPool2d"),
    "aten.relu": ("of what may be below 0: neurons send spikes, not values", "put a spiking neuron in its place"),
    "aten.zeros_like": ("a constant in the place of a signal", "give it as a number"),
    "aten.select": (
        "picking a part of what a layer sends",
        "feed the parts as inputs of their own; move a loop over time out of forward and pass one step at a time",
    ),
    "aten.stack": ("NIR has no node that joins layers", "return the layers as a tuple"),
}
"""Operator -> why NIR cannot say it, and what to do."""


def unknown(operator: str) -> UnsupportedError:
    """The refusal of an operator that NIR has no node for."""
    found, hint = REFUSED.get(operator, (None, "replace it, or move it out of the module into the code around it"))
    return UnsupportedError(
        f"{operator} cannot be expressed in NIR",
        found=found,
        allowed="linear, convolution, transposed convolution, upsampling, batch_norm, average pooling, padding, "
        "flatten, cat, sums, products with constants, functions of spikes that are 0 without one, neurons",
        hint=hint,
    )
