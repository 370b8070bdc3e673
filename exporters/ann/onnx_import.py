"""Reading an ordinary network (an ANN) from ONNX as an `Ann`.

The graph is walked once. Every value is either known (weights, and shapes computed from them) or the result of a
layer; what is known is computed on the spot, so exporters' shape arithmetic vanishes. Whatever cannot become synapses
and thresholds is refused by the name and operator of its node.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper
from scipy import sparse

from neurodeploy.errors import InvalidInputError, NeurodeployError, UnsupportedError
from neurodeploy.network.arrays import Array

from ..torch_step.layers import flatten
from . import onnx_file, onnx_values
from .ann_graph import Add, Affine, Ann, Conv, Flatten, Layer, Matrix, Operation, Pool, Relu, Scale, folded
from .maxima import arranged, max_pool
from .onnx_maps import Call, Mapped, edged, same
from .onnx_probe import MAPS
from .onnx_values import Ref


def load(path: Path | str, sample_shape: tuple[int, ...] | None = None) -> Ann:
    """Read an ANN from an `.onnx` file.

    Args:
        sample_shape: of one sample without the batch, where the file leaves it open.

    Raises:
        MissingFileError: there is no such file, or one that holds its data is missing.
        InvalidInputError: not ONNX, damaged, or data outside the file's folder.
        UnsupportedError: an operator that cannot be converted; the message names the node.
    """
    return from_model(onnx_file.read(path), sample_shape)


def from_model(model: ModelProto, sample_shape: tuple[int, ...] | None = None) -> Ann:
    """Read an ANN from a checked model without local functions; see `load`."""
    return _Walk(model, sample_shape).ann()


class _Walk:
    def __init__(self, model: ModelProto, sample_shape: tuple[int, ...] | None) -> None:
        self.model = model
        self.layers: list[Layer] = []
        self.notes: dict[str, str] = {}
        self.values: dict[str, Array | Ref] = {}
        self.names: set[str] = set()
        self.node = NodeProto()
        graph = model.graph
        for tensor in graph.initializer:
            self.values[tensor.name] = onnx_values.array(tensor)
        inputs = [value for value in graph.input if value.name not in self.values]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise UnsupportedError(
                "the network does not have one input and one output",
                found=f"inputs {[i.name for i in inputs]}, outputs {[o.name for o in graph.output]}",
            )
        self.shape = onnx_values.input_shape(inputs[0], sample_shape)
        self.batch = self.shape[0]
        self.input = self._unique(onnx_values.plain_name(inputs[0].name) or "input")
        self.values[inputs[0].name] = Ref(self.input, self.shape)

    def ann(self) -> Ann:
        for node in self.model.graph.node:
            self.node = node
            try:
                self._visit(node)
            except NeurodeployError:
                raise
            except Exception as error:  # attributes and shapes come from the file: anything may be wrong with them
                raise InvalidInputError(
                    f"{self._where()} has parameters that do not fit",
                    found=f"{type(error).__name__}: {onnx_values.first_line(error)}",
                    hint="check the file, or export the network again",
                ) from error
        name = self.model.graph.output[0].name
        result = self.values.get(name)
        if not isinstance(result, Ref):
            raise UnsupportedError(f"the output {name!r} is not the result of a layer")
        result = self._settled(result)
        if not self.layers:
            raise UnsupportedError("the network has no layer")
        needed = {result.layer}
        for layer in reversed(self.layers):
            if layer.name in needed:
                needed.update(layer.inputs)
        layers = tuple(layer for layer in self.layers if layer.name in needed)
        return folded(arranged(Ann(self.input, self.shape[1:], layers, result.layer, notes=self.notes)))

    # ---- walking

    def _visit(self, node: NodeProto) -> None:
        if node.domain not in ("", "ai.onnx"):
            raise self._refused(f"an operator of the domain {node.domain!r}")
        given = [self.values[name] if name else None for name in node.input]
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        made: Array | Ref
        if node.op_type == "Constant":
            made = onnx_values.constant(attributes)
        elif node.op_type == "Shape" and isinstance(given[0], Ref):
            made = np.array(given[0].shape, np.int64)[attributes.get("start", 0) : attributes.get("end")]
        elif given and not any(isinstance(value, Ref) for value in given):
            made = self._known(node, [value for value in given if isinstance(value, np.ndarray)])
        else:
            if node.op_type not in _OPERATORS and node.op_type not in MAPS:
                raise self._refused("no synapse or neuron computes this")
            if node.op_type not in _PADDED:
                given = [self._settled(value) if isinstance(value, Ref) else value for value in given]
            main = next(value for value in given if isinstance(value, Ref))
            if main.final and node.op_type not in ("Identity", "Cast", "Flatten", "Reshape"):
                raise self._refused(f"it follows {main.final}", f"{main.final} as the last operator only")
            results = self._operator(node, given, attributes)
            self.values.update(zip(node.output, results, strict=False))
            return
        self.values[node.output[0]] = made

    def _operator(
        self, node: NodeProto, given: list[Any], attributes: Mapping[str, Any], own: bool = True
    ) -> list[Ref]:
        """By a layer of its own kind where there is one, else as the matrix that it is."""
        first: UnsupportedError | None = None
        try:
            if own and node.op_type in _OPERATORS:
                return [_OPERATORS[node.op_type](self, given, attributes)]
        except UnsupportedError as error:
            if node.op_type not in MAPS:
                raise
            first = error
        given = [self._settled(value) if isinstance(value, Ref) else value for value in given]
        refs = [value if isinstance(value, Ref) else None for value in given]
        constants = [None if isinstance(value, Ref) else value for value in given]
        shapes = [None if ref is None else ref.shape for ref in refs]
        call = Call(node, constants, shapes, attributes, self.model.opset_import)
        for constant in call.given:
            if constant is not None and constant.dtype.kind == "f":
                self._number(constant, "constant")
        try:
            made = MAPS[node.op_type](call)
        except UnsupportedError as error:
            found = error.what if error.found is None else f"{error.what}: {error.found}"
            raise first or self._refused(found, None if error.allowed is None else str(error.allowed)) from error
        return [self._mapped(mapped, refs) for mapped in made]

    def _mapped(self, mapped: Mapped, refs: Sequence[Ref | None]) -> Ref:
        """One output of an operator as the sum of a matrix for each of its inputs."""
        parts, bias = [], mapped.bias
        for ref, weight in zip(refs, mapped.matrices, strict=True):
            if ref is not None and weight is not None and weight.nnz:
                if weight.shape != (math.prod(mapped.shape[1:]), math.prod(ref.shape[1:])):
                    raise self._mismatch(list(weight.shape), f"{math.prod(ref.shape[1:]):,} values")
                if not bias.any() and same(weight):
                    parts.append(self._reshaped(ref, mapped.shape))
                    continue
                parts.append(self._layer(Matrix(weight, bias), (ref.layer,), mapped.shape[1:]))
                bias = np.zeros_like(bias)
        if not parts:
            raise self._refused("a result that does not depend on the input")
        final = "".join(ref.final for ref in refs if ref is not None)
        made = parts[0]
        if len(parts) > 1:
            made = self._layer(Add(), tuple(part.layer for part in parts), mapped.shape[1:])
        return replace(made, final=final)

    def _settled(self, x: Ref) -> Ref:
        """A value with what `Pad` put around it."""
        if not any(x.pads):
            return x
        weight, shape = edged(x.shape[1:], x.pads)
        return replace(self._layer(Matrix(weight, np.zeros(math.prod(shape))), (x.layer,), shape), final=x.final)

    def _known(self, node: NodeProto, given: list[Array]) -> Array:
        if node.op_type not in onnx_values.KNOWN or len(given) != len(node.input):
            raise self._refused("it is computed from constants in a way that is not known here")
        size = onnx_values.size_of(node, given)
        if size > onnx_values.LARGEST:
            raise self._refused(f"{size:,} constant values", f"{onnx_values.LARGEST:,}")
        return onnx_values.computed(node, given, self.model.opset_import)

    def _refused(self, found: str, allowed: str | None = None) -> UnsupportedError:
        return UnsupportedError(
            f"{self._where()} cannot be converted",
            found=found,
            allowed=allowed,
            hint=onnx_values.HINTS.get(self.node.op_type, onnx_values.HINT),
        )

    def _where(self) -> str:
        name = self.node.name or next(iter(self.node.output), "?")
        return f"node {name!r} ({self.node.op_type})"

    def _unique(self, name: str) -> str:
        unique, count = name, 1
        while unique in self.names or unique == "output":
            count += 1
            unique = f"{name}_{count}"
        self.names.add(unique)
        return unique

    def _layer(self, operation: Operation, inputs: tuple[str, ...], shape: tuple[int, ...]) -> Ref:
        """Append a layer with results of ``shape`` (without the batch)."""
        if math.prod(shape) > onnx_values.LARGEST or any(n < 1 for n in shape):
            raise self._refused(f"a layer of shape {list(shape)}", f"1 to {onnx_values.LARGEST:,} values")
        module = onnx_values.module_of(self.node)
        name = self._unique(module or onnx_values.plain_name(self.node.name) or self.node.op_type.lower())
        self.layers.append(Layer(name, operation, inputs, shape, module))
        return Ref(name, (self.batch, *shape))

    def _number(self, value: Array | Ref | None, what: str) -> Array:
        if not isinstance(value, np.ndarray):
            raise self._refused(f"its {what} is computed from the input", "a constant")
        array = np.asarray(value, np.float64)
        if not np.isfinite(array).all():
            raise InvalidInputError(f"{self._where()}: its {what} is not finite")
        return array

    # ---- operators; ``given`` are the inputs, one of them the result of a layer

    def conv(self, given: list[Any], attributes: Mapping[str, Any]) -> Ref:
        x: Ref = given[0]
        if not isinstance(x, Ref) or len(x.shape) != 4:
            raise self._refused("a convolution that is not over images", "[batch, channels, height, width]")
        weight = self._number(given[1], "weight")
        bias = self._number(given[2], "bias") if len(given) > 2 and given[2] is not None else np.zeros(len(weight))
        groups = int(attributes.get("group", 1))
        if weight.ndim != 4 or groups < 1 or len(weight) % groups or weight.shape[1] * groups != x.shape[1]:
            raise self._mismatch(list(weight.shape), f"{x.shape[1]} input channels in {groups} group(s)")
        stride, dilation = onnx_values.pair(attributes.get("strides")), onnx_values.pair(attributes.get("dilations"))
        pads = self._pads(x, attributes, weight.shape[2:], stride, dilation)
        weight, padding = self._symmetric(weight, pads, dilation)
        return self._convolve(x, Conv(weight, bias, stride, padding, dilation, groups))

    def _convolve(self, x: Ref, conv: Conv) -> Ref:
        size = onnx_values.extent(x.shape[2:], conv.weight.shape[2:], conv.stride, conv.padding, conv.dilation)
        if conv.bias.shape != (len(conv.weight),):
            raise self._mismatch(list(conv.bias.shape), [len(conv.weight)])
        return self._layer(conv, (x.layer,), (len(conv.weight), *size))

    def _mismatch(self, found: object, allowed: object) -> InvalidInputError:
        return InvalidInputError(f"{self._where()} does not fit its input", found=found, allowed=allowed)

    def _pads(
        self, x: Ref, attributes: Mapping[str, Any], kernel: tuple[int, ...], stride: Any, dilation: Any
    ) -> tuple[int, int, int, int]:
        """Top, left, bottom and right zeros, those of a `Pad` in front included."""
        auto = attributes.get("auto_pad", b"NOTSET").decode()
        own = [int(n) for n in attributes.get("pads", (0, 0, 0, 0))]
        if auto.startswith("SAME"):
            own = [0, 0, 0, 0]
            for axis in (0, 1):
                span = dilation[axis] * (kernel[axis] - 1) + 1
                size = x.shape[2 + axis] + x.pads[axis] + x.pads[axis + 2]
                total = max((-(-size // stride[axis]) - 1) * stride[axis] + span - size, 0)
                less, more = total // 2, total - total // 2
                own[axis], own[axis + 2] = (less, more) if auto == "SAME_UPPER" else (more, less)
        pads = [a + b for a, b in zip(own, x.pads, strict=True)]
        if min(pads) < 0 or max(pads) > max(dilation[0] * kernel[0], dilation[1] * kernel[1]) + max(x.shape[2:]):
            raise self._refused(f"padding {pads}", "0 up to the size of the image and the kernel")
        return (pads[0], pads[1], pads[2], pads[3])

    def _symmetric(
        self, weight: Array, pads: tuple[int, int, int, int], dilation: tuple[int, int]
    ) -> tuple[Array, tuple[int, int]]:
        """Equal padding on both sides: where it is not, the kernel grows by zeros on the side that has less."""
        grow = [(0, 0), (0, 0)]
        for axis in (0, 1):
            less = pads[axis] - pads[axis + 2]
            grow[axis] = (max(-less, 0), max(less, 0))
        if any(map(any, grow)) and dilation != (1, 1):
            raise self._refused(f"padding {list(pads)} with dilation", "the same padding on both sides")
        size = math.prod(weight.shape[:2]) * math.prod(weight.shape[2 + a] + sum(grow[a]) for a in (0, 1))
        if size > onnx_values.LARGEST and any(map(any, grow)):
            raise self._refused(f"a kernel of {size:,} values for the padding {list(pads)}", "equal padding around")
        return np.pad(weight, [(0, 0), (0, 0), *grow]), (max(pads[0], pads[2]), max(pads[1], pads[3]))

    def average_pool(self, given: list[Any], attributes: Mapping[str, Any]) -> Ref:
        x: Ref = given[0]
        if len(x.shape) != 4:
            raise self._refused("pooling that is not over images", "[batch, channels, height, width]")
        window, stride = onnx_values.pair(attributes["kernel_shape"]), onnx_values.pair(attributes.get("strides"))
        pads = self._pads(x, attributes, window, stride, (1, 1))
        if onnx_values.pair(attributes.get("dilations")) != (1, 1):
            raise self._refused("pooling with dilation")
        if pads != x.pads and not attributes.get("count_include_pad", 0):
            raise self._refused("average pooling that leaves its padding out", "count_include_pad=1, or no padding")
        size = [x.shape[2 + a] + pads[a] + pads[a + 2] - window[a] for a in (0, 1)]
        if attributes.get("ceil_mode", 0) and any(n % s for n, s in zip(size, stride, strict=True)):
            raise self._refused("pooling with ceil_mode", "windows that lie inside the input")
        return self._pool(x, window, stride, pads)

    def _pool(self, x: Ref, window: tuple[int, int], stride: tuple[int, int], pads: tuple[int, int, int, int]) -> Ref:
        if min(window) < 1 or x.shape[1] * math.prod(window) > onnx_values.LARGEST:
            raise self._refused(f"a window of {list(window)} on {x.shape[1]} channels")
        if pads[:2] != pads[2:]:
            taps = np.full((x.shape[1], 1, *window), 1 / math.prod(window))
            taps, padding = self._symmetric(taps, pads, (1, 1))
            return self._convolve(x, Conv(taps, np.zeros(x.shape[1]), stride, padding, groups=x.shape[1]))
        size = onnx_values.extent(x.shape[2:], window, stride, pads[:2], (1, 1))
        return self._layer(Pool(window, stride, pads[:2]), (x.layer,), (x.shape[1], *size))

    def global_average_pool(self, given: list[Any], _: Mapping[str, Any]) -> Ref:
        x: Ref = given[0]
        if len(x.shape) != 4:
            raise self._refused("pooling that is not over images", "[batch, channels, height, width]")
        size = (x.shape[2], x.shape[3])
        return self._pool(x, size, size, (0, 0, 0, 0))

    def reduce_mean(self, given: list[Any], attributes: Mapping[str, Any]) -> Ref:
        x: Ref = given[0]
        axes = given[1] if len(given) > 1 and given[1] is not None else attributes.get("axes", ())
        if sorted(int(axis) % len(x.shape) for axis in np.ravel(axes)) != [2, 3] or len(x.shape) != 4:
            raise self._refused(f"a mean over the axes {np.ravel(axes).tolist()}", "height and width of an image")
        pooled = self.global_average_pool([x], {})
        return pooled if attributes.get("keepdims", 1) else self._reshaped(pooled, pooled.shape[:2])

    def pad(self, given: list[Any], attributes: Mapping[str, Any]) -> Ref:
        x: Ref = given[0]
        pads = self._number(given[1], "padding") if len(given) > 1 else np.asarray(attributes["pads"], float)
        pads = np.asarray(pads, np.int64)
        mode = attributes.get("mode", b"constant").decode()
        value = given[2] if len(given) > 2 and given[2] is not None else attributes.get("value", 0.0)
        rank = len(x.shape)
        if len(given) > 3 and given[3] is not None:
            axes = [int(axis) % rank for axis in self._number(given[3], "axes")]
            full = np.zeros(2 * rank, np.int64)
            for index, axis in enumerate(axes):
                full[axis], full[rank + axis] = pads[index], pads[len(axes) + index]
            pads = full
        if not pads.any():
            return x
        inner = (*pads[: rank - 2], *pads[rank : 2 * rank - 2])
        if mode != "constant" or np.any(np.asarray(value) != 0) or rank != 4 or any(inner) or pads.min() < 0:
            raise self._refused(f"padding {pads.tolist()} in mode {mode}", "zeros around the image")
        top, left, bottom, right = (old + int(pads[i]) for old, i in zip(x.pads, (2, 3, 6, 7), strict=True))
        return replace(x, pads=(top, left, bottom, right))

    def gemm(self, given: list[Any], attributes: Mapping[str, Any]) -> Ref:
        weight = self._number(given[1], "weight")
        if not isinstance(given[0], Ref) or attributes.get("transA", 0):
            raise self._refused("a product with the input on the right or transposed", "input times weight")
        weight = weight if attributes.get("transB", 0) else weight.T
        constant = given[2] if len(given) > 2 and given[2] is not None else np.zeros(1)
        bias = self._number(constant, "bias") * attributes.get("beta", 1.0)
        return self._affine(given[0], weight * attributes.get("alpha", 1.0), bias)

    def matmul(self, given: list[Any], attributes: Mapping[str, Any]) -> Ref:
        if not isinstance(given[0], Ref):
            raise self._refused("a product with the input on the right", "input times weight")
        return self._affine(given[0], self._number(given[1], "weight").T, np.zeros(1))

    def _affine(self, x: Ref, weight: Array, bias: Array) -> Ref:
        if len(x.shape) != 2:
            raise self._refused(f"a linear layer on {list(x.shape)}", "[batch, features]: flatten first")
        if weight.ndim != 2 or weight.shape[1] != x.shape[1]:
            raise self._mismatch(list(weight.shape[::-1]), f"{x.shape[1]} features")
        bias = np.broadcast_to(bias, (1, len(weight)))[0].copy()
        return self._layer(Affine(weight, bias), (x.layer,), (len(weight),))

    def batch_norm(self, given: list[Any], attributes: Mapping[str, Any]) -> Ref:
        if attributes.get("training_mode", 0):
            raise self._refused("batch normalisation in training mode", "a network exported after eval()")
        gain, offset, mean, variance = (self._number(value, "statistics") for value in given[1:5])
        scale = gain / np.sqrt(variance + attributes.get("epsilon", 1e-5))
        rank = len(given[0].shape)
        shape = (len(scale), *([1] * (rank - 2)))
        return self._scaled(given[0], scale.reshape(shape), (offset - mean * scale).reshape(shape))

    def relu(self, given: list[Any], attributes: Mapping[str, Any]) -> Ref:
        return self._layer(Relu(), (given[0].layer,), given[0].shape[1:])

    def clip(self, given: list[Any], attributes: Mapping[str, Any]) -> Ref:
        bounds = [*given[1:3], None, None][:2]
        low, high = (attributes.get(n) if b is None else b for n, b in zip(("min", "max"), bounds, strict=True))
        if low is None or isinstance(low, Ref) or isinstance(high, Ref) or float(np.ravel(low)[0]) != 0:
            raise self._refused(f"clipping from {low} to {high}", "from 0 (ReLU, ReLU6)")
        ceiling = None if high is None else float(np.ravel(high)[0])
        if ceiling is not None and not ceiling > 0:
            raise self._refused(f"clipping from 0 to {ceiling}")
        if ceiling is not None and ceiling >= np.finfo(np.float32).max:
            ceiling = None
        return self._layer(Relu(ceiling), (given[0].layer,), given[0].shape[1:])

    def add(self, given: list[Any], attributes: Mapping[str, Any]) -> Ref:
        values = [value for value in given if isinstance(value, Ref)]
        if any(value.shape != values[0].shape for value in values):
            raise self._refused(f"a sum of the shapes {[list(v.shape) for v in values]}", "equal shapes")
        result = values[0]
        if len(values) > 1:
            result = self._layer(Add(), tuple(value.layer for value in values), values[0].shape[1:])
        for constant in (value for value in given if not isinstance(value, Ref)):
            result = self._scaled(result, np.ones(1), self._number(constant, "constant"))
        return result

    def concat(self, given: list[Any], attributes: Mapping[str, Any]) -> Ref:
        """Images side by side in the channels: each is put into its place by a 1 x 1 convolution, and all are added."""
        total = sum(x.shape[1] for x in given if isinstance(x, Ref) and len(x.shape) == 4)
        if int(attributes["axis"]) not in (1, -3) or any(not isinstance(x, Ref) or len(x.shape) != 4 for x in given):
            return self._operator(self.node, given, attributes, own=False)[0]
        parts, places = [], np.eye(total)[:, :, None, None]
        for x in given:
            weight, places = places[:, : x.shape[1]].copy(), places[:, x.shape[1] :]
            parts.append(self._convolve(x, Conv(weight, np.zeros(total))))
        return self.add(parts, {})

    def subtract(self, given: list[Any], attributes: Mapping[str, Any]) -> Ref:
        a, b = given
        if isinstance(a, Ref) and isinstance(b, Ref):
            return self.add([a, self._scaled(b, -np.ones(1), np.zeros(1))], {})
        if isinstance(a, Ref):
            return self._scaled(a, np.ones(1), -self._number(b, "constant"))
        return self._scaled(b, -np.ones(1), self._number(a, "constant"))

    def multiply(self, given: list[Any], attributes: Mapping[str, Any]) -> Ref:
        constants = [value for value in given if not isinstance(value, Ref)]
        if len(constants) != 1:
            raise self._refused("a product of two results", "a constant factor")
        x = next(value for value in given if isinstance(value, Ref))
        return self._scaled(x, self._number(constants[0], "factor"), np.zeros(1))

    def divide(self, given: list[Any], attributes: Mapping[str, Any]) -> Ref:
        if not isinstance(given[0], Ref):
            raise self._refused("a division by a result", "a constant divisor")
        divisor = self._number(given[1], "divisor")
        if not divisor.all():
            raise InvalidInputError(f"{self._where()} divides by zero")
        return self._scaled(given[0], 1 / divisor, np.zeros(1))

    def _scaled(self, x: Ref, scale: Array, shift: Array) -> Ref:
        parts = []
        for value in (scale, shift):
            # Without the batch; a constant of lower rank stands behind missing leading dimensions.
            value = value[0] if value.ndim == len(x.shape) and value.shape[0] == 1 else value
            if np.broadcast_shapes(value.shape, x.shape[1:]) != x.shape[1:]:
                raise self._mismatch(list(value.shape), list(x.shape[1:]))
            parts.append(value)
        if not np.isfinite(parts[0]).all() or not np.isfinite(parts[1]).all():
            raise InvalidInputError(f"{self._where()}: its constants are not finite")
        return self._layer(Scale(parts[0], parts[1]), (x.layer,), x.shape[1:])

    def _reshaped(self, x: Ref, shape: tuple[int, ...]) -> Ref:
        """The same values in another shape: a Flatten where NIR has one."""
        if shape == x.shape:
            return x
        try:
            flatten(x.shape[1:], shape, self.batch)
        except UnsupportedError:
            same = sparse.identity(math.prod(shape[1:]), format="csr")
            return self._layer(Matrix(same, np.zeros(same.shape[0])), (x.layer,), shape[1:])
        return self._layer(Flatten(), (x.layer,), shape[1:])

    def same(self, given: list[Any], attributes: Mapping[str, Any]) -> Ref:
        x: Ref = given[0]
        return x

    def dropout(self, given: list[Any], attributes: Mapping[str, Any]) -> Ref:
        if len(given) > 2 and given[2] is not None and np.any(given[2]):
            raise self._refused("dropout in training mode", "a network exported after eval()")
        return self.same(given, attributes)

    def softmax(self, given: list[Any], attributes: Mapping[str, Any]) -> Ref:
        x: Ref = given[0]
        self.notes["softmax"] = f"{self.node.op_type} behind the last layer is left out: the decision stays"
        return replace(x, final=self.node.op_type)


_PADDED = ("Conv", "AveragePool", "Pad", "Identity")
"""Operators that may read a padded value."""

_OPERATORS: Mapping[str, Callable[[_Walk, list[Any], Mapping[str, Any]], Ref]] = {
    "Add": _Walk.add,
    "AveragePool": _Walk.average_pool,
    "BatchNormalization": _Walk.batch_norm,
    "Clip": _Walk.clip,
    "Concat": _Walk.concat,
    "Conv": _Walk.conv,
    "Div": _Walk.divide,
    "Dropout": _Walk.dropout,
    "Gemm": _Walk.gemm,
    "GlobalAveragePool": _Walk.global_average_pool,
    "MatMul": _Walk.matmul,
    "Mul": _Walk.multiply,
    "Neg": lambda self, given, _: self._scaled(given[0], -np.ones(1), np.zeros(1)),
    "Pad": _Walk.pad,
    "ReduceMean": _Walk.reduce_mean,
    "Relu": _Walk.relu,
    "Sub": _Walk.subtract,
    "Sum": _Walk.add,
    **dict.fromkeys(("Cast", "Identity"), _Walk.same),
    **dict.fromkeys(("GlobalMaxPool", "MaxPool"), max_pool),
    **dict.fromkeys(("LogSoftmax", "Softmax"), _Walk.softmax),
}
