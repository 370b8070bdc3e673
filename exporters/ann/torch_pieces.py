"""An ordinary network in torch as an `Ann` without ONNX: what lies between its ReLUs, asked for the map that it is.

The way of `torch_ann` for modules that torch cannot export to ONNX as they are, or only as something else (it leaves
out ``divisor_override``, for one): the graph of `torch.export`, cut at every ReLU, its pieces found by
`neurodeploy.exporters.torch_step.pieces`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import nir
import numpy as np
import torch
from scipy import sparse
from scipy.special import log_softmax
from torch import Tensor, fx, nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array

from ..torch_step.capture import BATCH
from ..torch_step.fxgraph import Step, ancestors, arguments, flat, module_of, shape_of, where
from ..torch_step.pieces import Found, Piece, Shape, compactly, dense, holds
from .ann_graph import Add, Affine, Ann, Conv, Layer, Matrix, Operation, Relu, Scale


def from_pieces(module: nn.Module, sample_shape: Shape) -> Ann:
    """Read an ANN from a module in evaluation mode.

    Raises:
        UnsupportedError: torch cannot capture it, or something between its ReLUs is no fixed affine map.
    """
    sample = torch.zeros(BATCH, *sample_shape)
    for parameter in module.parameters():
        sample = sample.to(parameter.dtype)
        break
    try:
        with torch.no_grad():
            program = torch.export.export(copy.deepcopy(module), (sample,))
    except Exception as error:  # torch.export fails in many ways
        raise UnsupportedError("the module is not one static graph", found=str(error).strip().split("\n")[0]) from error
    return _Reading(Step.of(program)).ann()


_SOFTMAX = {"aten.softmax": "Softmax", "aten._softmax": "Softmax", "aten.log_softmax": "LogSoftmax",
            "aten._log_softmax": "LogSoftmax"}  # fmt: skip


class _Reading:
    def __init__(self, step: Step) -> None:
        self.constants = step.constants
        self.layers: list[Layer] = []
        self.ends: dict[fx.Node, str] = {}
        results = [node for node in flat(step.graph.output_node().args) if isinstance(node, fx.Node)]
        if len(results) != 1:
            raise UnsupportedError("the network does not have one output", found=len(results))
        self.notes: dict[str, str] = {}
        last = _SOFTMAX.get(str(results[0].target).rpartition(".")[0])
        if last is not None:
            self.notes["softmax"] = f"{last} behind the last layer is left out: the decision stays"
            results = results[0].all_input_nodes[:1]
        self.result, needed = results[0], ancestors(results)
        self.nodes = [node for node in step.graph.nodes if node in needed and node not in step.constants]
        self.inputs = [node for node in self.nodes if node.op == "placeholder"]
        if len(self.inputs) != 1:
            raise UnsupportedError("the network does not have one input", found=len(self.inputs))

    def ann(self) -> Ann:
        (given,) = self.inputs
        self.ends[given] = "input"
        for node in self.nodes:
            ceiling = _ceiling(node) if node.op == "call_function" else None
            if ceiling is not None:
                before = self._whole(node.all_input_nodes[0])
                self.ends[node] = self._layer(node, Relu(None if math.isinf(ceiling) else ceiling), (before,))
        output = self._whole(self.result)
        return Ann("input", shape_of(given), tuple(self.layers), output, origin="torch ANN", notes=self.notes)

    def _whole(self, node: fx.Node) -> str:
        """The layer that has the value of a node."""
        if node in self.ends:
            return self.ends[node]
        piece = Piece.of(node, self.ends, self.constants)
        parts = piece.parts()
        if isinstance(parts, str) or not piece.sources:
            raise UnsupportedError(
                f"{where(node)}: what lies between the layers is not a fixed linear map",
                found=", ".join(dict.fromkeys(str(n.target).rpartition(".")[0] for n in piece.operators)),
                allowed="sums of what arrives, times weights, and ReLU",
            )
        found = [compactly(node, part, before) for part, before in zip(parts, piece.before, strict=True)]
        offset = piece.offset()
        if all(one is not None and one.zero for one in found):
            raise UnsupportedError(f"{where(node)}: a value that does not depend on the input")
        if not holds(offset, found, piece.after):
            found[next(i for i, one in enumerate(found) if one is None or not one.zero)] = None
        left: Array | None = offset if offset.any() else None
        names = []
        for source, before, part, one in zip(piece.sources, piece.before, parts, found, strict=True):
            if one is not None and one.zero:
                continue
            bias = np.zeros(piece.after) if left is None else left
            operation = _operation(one, part, before, piece.after, bias, f"{where(node)}: what lies between the layers")
            names.append(self._layer(node, operation, (self.ends[source],)))
            left = None
        if not names:
            raise UnsupportedError(f"{where(node)}: a value that does not depend on the input")
        return names[0] if len(names) == 1 else self._layer(node, Add(), tuple(names))

    def _layer(self, node: fx.Node, operation: Operation, inputs: tuple[str, ...]) -> str:
        taken = {"input", "output", *(layer.name for layer in self.layers)}
        base = module_of(node) or node.name
        name, number = base, 2
        while name in taken:
            name, number = f"{base}_{number}", number + 1
        self.layers.append(Layer(name, operation, inputs, shape_of(node), module_of(node)))
        return name


def _operation(one: Found | None, part: Any, before: Shape, after: Shape, bias: Array, what: str) -> Operation:
    """The layer of one map, with a constant ``[*after]``."""
    if one is not None and isinstance(one.node, nir.Conv2d) and one.shape == after:
        node = one.node
        stride, padding = ((int(value[0]), int(value[1])) for value in (node.stride, node.padding))
        return Conv(node.weight, bias.reshape(len(bias), -1)[:, 0].copy(), stride, padding, (1, 1), int(node.groups))
    if one is not None and one.shape == after == before and (one.node is None or isinstance(one.node, nir.Scale)):
        factor = np.full(after, one.factor) if one.node is None else one.node.scale
        return Scale(factor, bias)
    weight = dense(part, before, after, what).node.weight  # type: ignore[union-attr]
    if len(before) == len(after) == 1 and weight.all():
        return Affine(weight, bias)
    return Matrix(sparse.csr_matrix(weight), bias.reshape(-1))


def _ceiling(node: fx.Node) -> float | None:
    """The largest value of a ReLU (infinite, or that of a ReLU6); None for other operators.

    One behind ``abs`` does nothing: it is part of `torch.nn.LPPool2d`, which is linear for p = 1.
    """
    name = str(node.target).rpartition(".")[0]
    if any(str(source.target).startswith("aten.abs") for source in node.all_input_nodes):
        return None
    if name in ("aten.relu", "aten.relu_"):
        return math.inf
    if name in ("aten.relu6", "aten.relu6_"):
        return 6.0
    if name in ("aten.clamp", "aten.clamp_", "aten.hardtanh", "aten.hardtanh_", "aten.clamp_min", "aten.clamp_min_"):
        given: Mapping[str, Any] = arguments(node)
        low = given.get("min", given.get("min_val"))
        high = given.get("max", given.get("max_val"))
        if isinstance(low, (int, float)) and low == 0 and (high is None or isinstance(high, (int, float))):
            return math.inf if high is None else float(high)
    return None


SCALES = (1.0, 30.0, 1e3)
"""Sizes of random samples: what bends far from 0 alone is not what bends at 0."""

CHECKED = 64
"""Samples of the calibration that are compared, at most."""


def differs(ann: Ann, module: nn.Module, samples: Array | None = None) -> float:
    """Largest difference of an ANN from its module, relative to the largest result, on random samples and on others.

    A softmax that was left out of the ANN is applied to what it gives.
    """
    drawn = np.random.default_rng(0).normal(size=(2, *ann.input_shape))
    given = [scale * drawn for scale in SCALES]
    if samples is not None and len(samples):
        given.append(np.asarray(samples, np.float64)[np.unique(np.linspace(0, len(samples) - 1, CHECKED).astype(int))])
    return max(_difference(ann, module, x) for x in given)


def _difference(ann: Ann, module: nn.Module, x: Array) -> float:
    from ..torch_step.wide import in_float64
    from .ann_graph import predict

    wide = copy.deepcopy(module).double()
    with torch.no_grad():
        try:
            with in_float64():
                expected: Tensor = wide(torch.from_numpy(x))
        except Exception:  # code that does not run in float64
            dtype = next((p.dtype for p in module.parameters()), torch.float32)
            expected = module(torch.from_numpy(x).to(dtype))
    wanted = expected.double().numpy().reshape(len(x), -1)
    found = predict(ann, x).reshape(len(x), -1)
    if (left_out := ann.notes.get("softmax", "")) and found.size:
        found = log_softmax(found, axis=-1)
        found = found if left_out.startswith("Log") else np.exp(found)
    return float(np.abs(found - wanted).max() / max(1.0, np.abs(wanted).max()))
