"""The nodes of a `.nir` file: each parameter checked, and completed where a default is clear; objects of `nir`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.files.hdf5 import damaged, numbers, plain, text
from neurodeploy.network.arrays import Array

from .host_nodes import from_host, stage_class, stage_of
from .max_node import max_class, max_node

if TYPE_CHECKING:
    import h5py

KNOWN_NODES = (
    "Affine", "AvgPool2d", "Conv1d", "Conv2d", "CubaLI", "CubaLIF", "Delay", "Flatten", "FromHost", "HostStage", "I",
    "IF", "Input", "LI", "LIF", "Linear", "Max", "NIRGraph", "Output", "Scale", "SumPool2d", "Threshold",
)  # fmt: skip
"""Node types that can stand in a file: those of nir 1.0.8, and our own `Max`, `HostStage`, `FromHost`."""

NEEDS = "HDF5 with a group /node that nir 1.0 can read"

NEURON_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "I": ("r",),
    "IF": ("r", "v_threshold", "v_reset"),
    "LI": ("tau", "r", "v_leak"),
    "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
    "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
    "Threshold": ("threshold",),
}
DEFAULTS = {"v_reset": 0.0, "w_in": 1.0}


def make(kind: str, metadata: Mapping[str, Any] | None = None, **parameters: Any) -> Any:
    """A node of the `nir` library; past its constructor where that refuses what we understand."""
    import nir

    cls = max_class() if kind == "Max" else getattr(nir, kind)
    try:
        return cls(**parameters, metadata=dict(metadata or {}))
    except Exception:  # the constructors raise whatever their asserts and arithmetic happen to
        node = object.__new__(cls)
        for name, value in {"input_type": {"input": None}, "output_type": {"output": None}, **parameters}.items():
            setattr(node, name, value)
        node.metadata = dict(metadata or {})
        return node


@dataclass(eq=False)
class NodeReader:
    """Reads nodes of one file; ``repairs`` collects what was unusual."""

    path: Path
    repairs: list[str]

    def repaired(self, name: str, what: str) -> None:
        """Note a repair."""
        self.repairs.append(f"node {name!r}: {what}")

    def invalid(self, name: str, what: str, found: object, allowed: object) -> InvalidInputError:
        """The error for a node without a clear meaning."""
        return InvalidInputError(
            f"{self.path}: node {name!r} {what}", found=found, allowed=allowed, hint="export the network again"
        )

    def node(self, name: str, kind: str, group: h5py.Group) -> Any:
        """One node of a graph, its parameters checked and completed."""
        metadata = read_metadata(group)
        if kind in ("Input", "Output"):
            return self.end(name, kind, group, metadata)
        if kind in NEURON_PARAMETERS:
            values = {p: self.number(name, kind, group, p, DEFAULTS.get(p)) for p in NEURON_PARAMETERS[kind]}
            return make(kind, metadata, **values)
        if kind in ("Affine", "Linear"):
            return self.linear(name, kind, group, metadata)
        if kind in ("Scale", "Delay"):
            parameter = kind.lower()
            return make(kind, metadata, **{parameter: self.number(name, kind, group, parameter, finite=True)})
        if kind == "Flatten":
            return self.flatten(name, group, metadata)
        if kind == "Max":
            return self.largest(name, group, metadata)
        if kind in ("HostStage", "FromHost"):
            return self.of_host(name, kind, group, metadata)
        if kind in ("SumPool2d", "AvgPool2d"):
            kernel = self.integers(name, kind, group, "kernel_size", least=1)
            stride = self.integers(name, kind, group, "stride", least=1, default=kernel, why="the kernel's size")
            padding = self.integers(name, kind, group, "padding", least=0, default=np.zeros(2, np.int64))
            return make(kind, metadata, kernel_size=kernel, stride=stride, padding=padding)
        return self.conv(name, kind, group, metadata)

    def end(self, name: str, kind: str, group: h5py.Group, metadata: dict[str, Any]) -> Any:
        side = kind.lower()
        where = next((k for k in ("shape", f"{side}_type") if k in group), "")
        item = group[where] if where else None
        if item is not None and hasattr(item, "keys"):
            where, item = f"{where}/{side}", item.get(side)
        shape = None if item is None else numbers(item[()])
        if shape is None or not shape.size or not _whole(shape) or (shape < 1).any() or shape.ndim > 1:
            if kind == "Output":
                self.repaired(name, "has no usable shape; taken from what arrives there")
                return make(kind, metadata, output_type={"output": np.array([1])})
            found = "nothing" if shape is None else shape.ravel()[:8].tolist()
            raise self.invalid(name, "does not say the shape of the input", found, "whole numbers from 1 on")
        if where != "shape":
            self.repaired(name, f"has its shape under {where}; read there")
        if shape.dtype.kind != "i" or shape.ndim != 1:
            shown = shape.tolist()
            shape = np.atleast_1d(shape).astype(np.int64)
            if kind == "Input":
                self.repaired(name, f"has the shape {shown}; read as {shape.tolist()}")
        return make(kind, metadata, **{f"{side}_type": {side: shape}})

    def linear(self, name: str, kind: str, group: h5py.Group, metadata: dict[str, Any]) -> Any:
        weight = self.number(name, kind, group, "weight", finite=True)
        if weight.ndim > 2 and not any(n != 1 for n in weight.shape[:-2]):
            self.repaired(name, f"has weights of shape {list(weight.shape)}; the leading ones were dropped")
            weight = weight.reshape(weight.shape[-2:])
        if weight.ndim != 2 or not weight.size:
            raise self.invalid(name, "has weights of the wrong shape", list(weight.shape), "[outputs, inputs]")
        if kind == "Linear":
            return make(kind, metadata, weight=weight)
        return make(kind, metadata, weight=weight, bias=self.bias(name, kind, group, len(weight)))

    def bias(self, name: str, kind: str, group: h5py.Group, outputs: int) -> Array:
        if "bias" not in group:
            self.repaired(name, "has no bias; assumed 0")
            return np.zeros(outputs)
        bias = self.number(name, kind, group, "bias", finite=True)
        if bias.shape == (outputs,):
            return bias
        if bias.size == outputs:
            self.repaired(name, f"has a bias of shape {list(bias.shape)}; read as [{outputs}]")
            return bias.reshape(outputs)
        if bias.size == 1:
            self.repaired(name, f"has one bias; used for all {outputs} outputs")
            return np.full(outputs, bias.reshape(-1)[0])
        raise self.invalid(name, "has a bias of the wrong shape", list(bias.shape), [outputs])

    def flatten(self, name: str, group: h5py.Group, metadata: dict[str, Any]) -> Any:
        given = None
        if "input_type" in group:
            item = group["input_type"]
            item = item.get("input") if hasattr(item, "keys") else item
            given = None if item is None else numbers(item[()])
            if given is None or not _whole(given) or given.ndim != 1 or (given < 1).any():
                self.repaired(name, "has an input_type that is no shape; taken from what arrives there")
                given = None
        start = self.integers(name, "Flatten", group, "start_dim", least=None, default=np.array([1]), size=1)
        end = self.integers(name, "Flatten", group, "end_dim", least=None, default=np.array([-1]), size=1)
        dims = {"start_dim": int(start[0]), "end_dim": int(end[0])}
        return make("Flatten", metadata, input_type={"input": given}, **dims)

    def of_host(self, name: str, kind: str, group: h5py.Group, metadata: dict[str, Any]) -> Any:
        """A stage that the host computes, or a source that it feeds."""
        if kind == "FromHost":
            shape = self.number(name, kind, group, "shape", finite=True)
            if shape.ndim > 1 or not shape.size or not _whole(shape) or (shape < 1).any():
                raise self.invalid(
                    name, "does not say its shape", shape.ravel()[:8].tolist(), "whole numbers from 1 on"
                )
            return from_host(tuple(int(n) for n in np.atleast_1d(shape)), metadata)
        graph = self.number(name, kind, group, "graph")
        if graph.ndim != 1 or not graph.size or not _whole(graph) or graph.min() < 0 or graph.max() > 255:
            raise self.invalid(name, "has no graph", f"{graph.dtype} {list(graph.shape)}", "the bytes of an ONNX model")
        words = {}
        for part in ("when", "takes", "gives"):
            if part not in group:
                raise self.missing(name, kind, part)
            words[part] = text(group[part][()]) if hasattr(group[part], "shape") else ""
        made = stage_class()(graph=graph.astype(np.uint8), **words, metadata=metadata)
        try:
            stage_of(name, made)
        except InvalidInputError as error:
            raise error.again(f"{self.path}: {error.what}") from error
        return made

    def largest(self, name: str, group: h5py.Group, metadata: dict[str, Any]) -> Any:
        shape, index = (self.number(name, "Max", group, p, finite=True) for p in ("input_shape", "index"))
        if not shape.size or shape.ndim > 1 or not _whole(shape) or (shape < 1).any():
            raise self.invalid(name, "has an input_shape that is no shape", shape.ravel()[:8].tolist(), "whole numbers")
        if index.ndim < 2 or not index.size or not _whole(index):
            raise self.invalid(name, "has no usable index", list(index.shape), "whole numbers [*output shape, k]")
        size = math.prod(int(n) for n in np.atleast_1d(shape))
        if index.min() < -1 or index.max() >= size or (index.max(axis=-1) < 0).any():
            found = f"{int(index.min())} to {int(index.max())}"
            raise self.invalid(
                name, "points beside its input", found, f"0 to {size - 1}, or -1 for none, one of each output at least"
            )
        return max_node(index, tuple(int(n) for n in np.atleast_1d(shape)), metadata)

    def conv(self, name: str, kind: str, group: h5py.Group, metadata: dict[str, Any]) -> Any:
        rank = 2 if kind == "Conv2d" else 1
        weight = self.number(name, kind, group, "weight", finite=True)
        if weight.ndim != rank + 2 or not weight.size:
            raise self.invalid(
                name,
                "has weights of the wrong shape",
                list(weight.shape),
                "[channels out, channels in / groups, " + ("height, width]" if rank == 2 else "length]"),
            )
        one = np.ones(rank, np.int64)
        stride = self.integers(name, kind, group, "stride", least=1, default=one, size=rank)
        dilation = self.integers(name, kind, group, "dilation", least=1, default=one, size=rank)
        groups = int(self.integers(name, kind, group, "groups", least=1, default=one[:1], size=1)[0])
        if weight.shape[0] % groups:
            raise self.invalid(name, "has groups that do not divide its channels", groups, f"of {weight.shape[0]}")
        shape = None
        if "input_shape" in group:
            found = numbers(group["input_shape"][()])
            if found is None or found.size != rank or not _whole(found):
                self.repaired(name, "has an input_shape that is no size; taken from what arrives there")
            else:
                shape = tuple(int(n) for n in found.ravel())
        return make(
            kind,
            metadata,
            input_shape=shape if rank == 2 or shape is None else shape[0],
            weight=weight,
            stride=stride,
            padding=self.padding(name, kind, group, rank),
            dilation=dilation,
            groups=groups,
            bias=self.bias(name, kind, group, len(weight)),
        )

    def padding(self, name: str, kind: str, group: h5py.Group, rank: int) -> Any:
        if "padding" in group:
            value = group["padding"][()]
            if numbers(value) is None:
                word = text(value)
                if word not in ("same", "valid"):
                    raise self.invalid(name, "has an unknown padding", word, "numbers, 'same' or 'valid'")
                return word
        return self.integers(name, kind, group, "padding", least=0, default=np.zeros(rank, np.int64), size=rank)

    def number(
        self,
        name: str,
        kind: str,
        group: h5py.Group,
        parameter: str,
        default: float | None = None,
        *,
        finite: bool = False,
    ) -> Array:
        """A numeric parameter; ``default`` stands in for a missing one."""
        if parameter not in group:
            if default is None:
                raise self.missing(name, kind, parameter)
            self.repaired(name, f"has no {parameter}; assumed {default:g}")
            return np.array(default)
        array = numbers(group[parameter][()]) if hasattr(group[parameter], "shape") else None
        if array is None:
            raise self.invalid(name, f"has a {parameter} that is not numeric", "text or a group", "numbers")
        if finite and not np.isfinite(array).all():
            raise self.invalid(name, f"has a {parameter} that is not finite", "inf or nan", "finite numbers")
        return array

    def integers(
        self,
        name: str,
        kind: str,
        group: h5py.Group,
        parameter: str,
        *,
        least: int | None,
        default: Array | None = None,
        why: str = "",
        size: int = 2,
    ) -> Array:
        """A parameter of ``size`` whole numbers; one number stands for all of them."""
        if parameter not in group:
            if default is None:
                raise self.missing(name, kind, parameter)
            shown = why or str(plain(default) if default.size == 1 else default.tolist())
            self.repaired(name, f"has no {parameter}; assumed {shown}")
            return default
        array = self.number(name, kind, group, parameter).ravel()
        if array.size == 0 or not _whole(array) or array.size not in (1, size):
            raise self.invalid(name, f"has a {parameter} that cannot be used", array[:4].tolist(), "whole numbers")
        whole = np.broadcast_to(array.astype(np.int64), (size,)).copy()
        if least is not None and (whole < least).any():
            raise self.invalid(name, f"has a {parameter} that is too small", int(whole.min()), f"{least} or more")
        if (np.abs(whole) > 1 << 31).any():
            raise self.invalid(name, f"has a {parameter} that is too large", int(np.abs(whole).max()), "below 2^31")
        return whole

    def missing(self, name: str, kind: str, parameter: str) -> InvalidInputError:
        return damaged(self.path, "a NIR graph", NEEDS, f"node {name!r} ({kind}) has no {parameter}")


def read_metadata(group: h5py.Group) -> dict[str, Any]:
    """The metadata of a graph or node, nested dictionaries of arrays and strings."""

    def read(part: h5py.Group) -> dict[str, Any]:
        return {k: read(v) if hasattr(v, "keys") else _value(v[()]) for k, v in part.items()}

    found = group.get("metadata")
    return read(found) if found is not None and hasattr(found, "keys") else {}


def _value(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _whole(array: Array) -> bool:
    if array.dtype.kind == "b":
        return False
    return bool(np.isfinite(array).all() and (array == np.rint(array)).all() and (np.abs(array) < 1 << 53).all())
