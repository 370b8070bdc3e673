"""From a captured step (a graph of ATen operators) to NIR nodes and edges.

Every value in the graph is kept as a weighted sum of NIR nodes' outputs. Adding, subtracting and scaling by a number
only change that sum; a node that takes it in gets one edge per term (NIR adds up what arrives), with a Scale node where
a factor is not 1. Operators that change nothing (dropout in evaluation mode, a view of the same shape) pass it on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import nir
import numpy as np
import torch
from torch import fx

from neurodeploy.errors import InvalidInputError, NeurodeployError, UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.nir_graph.metadata import put

from .capture import BATCH, OPERATOR, POTENTIAL, node_name
from .few_values import as_factor
from .fxgraph import Step, ancestors, applied, arguments, flat, is_random, leaves, module_of, shape_of, where
from .joins import Joins
from .known import LATE, LATE_OF, PASSES, POOLS, READ_OUT, RESHAPES, unknown
from .layers import (
    affine_per_channel,
    avg_pool,
    conv1d,
    conv2d,
    flatten,
    folded,
    for_each,
    linear,
    placed_channels,
    source_node,
    windows,
)
from .maxima import settle
from .unseen import check_calls, check_writes
from .walking import Sum
from .whole import Whole

NeuronNode = Callable[[str, tuple[int, ...]], nir.NIRNode]
"""Path and shape of a neuron layer -> its node."""


class Walk:
    """Builds nodes and edges of one captured step.

    Args:
        step: from `capture`, or folded from a sequence.
        neuron: makes the node of a neuron layer.
        paths: of all neuron layers, whose names are reserved: what stands for a layer in the step -> its module.
        dt: seconds in a step.
        most: what stands for a layer -> how many spikes it may send in a step, once its node was made.
    """

    def __init__(
        self, step: Step, neuron: NeuronNode, paths: Mapping[str, str], dt: float, most: Callable[[str], int]
    ) -> None:
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: list[tuple[str, str]] = []
        self.modules: dict[str, str] = {}
        self.results: list[str] = []
        self.late: list[str] = []
        self._early: dict[str, nir.NIRNode] = {}
        self._neuron, self._paths, self._dt = neuron, paths, dt
        self._reserved = {node_name(path) for path in paths}
        self.sums: dict[fx.Node, Sum] = {}
        self._potentials: set[fx.Node] = set()
        self.makers: dict[str, fx.Node] = {}
        self._needed: set[fx.Node] = set()
        self._constants = step.constants
        self._joins = Joins(self, step.constants, lambda name: most({node_name(site): site for site in paths}[name]))
        self._whole = Whole(self, step.constants)
        self.leaves = leaves(node for node in step.graph.nodes if node not in self._constants)
        self._run(step)

    def _run(self, step: Step) -> None:
        graph = step.graph
        results = [n for n in flat(graph.output_node().args) if isinstance(n, fx.Node)]
        late = any(str(n.target).startswith(LATE_OF) for n in graph.nodes)  # names its layer, without an edge
        self._needed = ancestors([*results, *(n for n in graph.nodes if late and str(n.target).startswith(OPERATOR))])
        check_writes(graph, self._needed, self._constants)
        for node in graph.nodes:
            if node.op == "placeholder" and node.name in step.inputs:
                name = step.inputs[node.name]
                self.nodes[name] = source_node(name, shape_of(node))
                self.sums[node] = {name: 1.0}
            elif node.op == "call_function" and node in self._needed and node not in self._constants:
                if str(node.target).startswith(POTENTIAL):
                    self._potentials.add(node)
                    continue
                self._visit(node)
        check_calls(graph)
        if results and self._potentials.issuperset(results):
            raise UnsupportedError(
                "the module returns membrane potentials only",
                allowed="the output of a layer",
                hint="return the spikes, or end in a layer that does not spike",
            )
        results = [result for result in results if result not in self._potentials]
        for index, result in enumerate(results):
            name = "output" if len(results) == 1 else f"output_{index}"
            waits = result in self._joins.tables or result in self._whole.waiting
            terms = self.sum_of(result) if waits else self.sums.get(result, {})
            if len(terms) != 1:
                raise UnsupportedError(
                    "the module returns a sum of layers" if terms else "the module returns a constant",
                    found=" + ".join(terms) or None,
                    allowed="the output of one layer",
                    hint="put a neuron or a leaky integrator behind it",
                )
            self.nodes[name] = nir.Output(np.array(shape_of(result)))
            self._connect(terms, name, shape_of(result))
            self.results.append(next(iter(terms)))
        settle(self.nodes, self.edges, self.modules, self._dt, self.makers)
        self._whole.drop_unused()

    def _visit(self, node: fx.Node) -> None:
        """One operator by itself; or, where NIR has nothing for it, as part of the whole that reaches a neuron."""
        layer = str(node.target).startswith((OPERATOR, LATE, READ_OUT))
        try:
            if self._joins.takes(node):
                return
            if any(map(self.waits, node.all_input_nodes)) and not layer:
                self._as_sums(node)
                self._whole.waits(node)
            else:
                self.sums[node] = self._call(node)
        except NeurodeployError as error:
            error.at = error.at or (node.args[0] if layer else node)
            if str(node.target).startswith(OPERATOR):
                raise  # it names its module itself
            named = error.what.startswith(where(node))
            said = error.again("" if named else f"{where(node)}: {error.what}")
            if layer or is_random(node) or not isinstance(error, UnsupportedError):
                raise said from error
            self._as_sums(node)
            self._whole.wait(node, said)

    def _as_sums(self, node: fx.Node) -> None:
        """What an operator takes of joined spikes, as sums of nodes."""
        for source in node.all_input_nodes:
            if source in self._joins.tables and source not in self.sums:
                self.sums[source] = self._joins.sum_of(source)

    def _call(self, node: fx.Node) -> Sum:
        operator = str(node.target).rpartition(".")[0]
        given = arguments(node)
        if operator == OPERATOR:
            return self._at_neuron(node, given)
        if operator in (LATE, LATE_OF):
            return self._late(node, given)
        if operator == READ_OUT:
            return self._read_out(node)
        if (scaled := as_factor(node, self.sums, self._constants, self.nodes, self.edges)) is not None:
            terms, factor = scaled
            return terms if factor is None else self.add(node, nir.Scale(factor), terms)
        if is_random(node) and operator not in PASSES:
            raise UnsupportedError(
                "random numbers in forward", found=operator, allowed="what computes the same in every run",
                hint="leave noise out in evaluation mode (if self.training: ...)",
            )  # fmt: skip
        if operator in PASSES and is_random(node) and given.get("train"):
            raise UnsupportedError(
                "dropout that is active in evaluation mode", found=f"{operator} with training=True",
                allowed="dropout that lets all pass in evaluation mode",
                hint="use torch.nn.Dropout, or give functional.dropout training=self.training",
            )  # fmt: skip
        if operator in PASSES and not given.get("train"):
            return self.sum_of(node.args[0])
        if operator in RESHAPES:
            source = self._signal(node)
            made, signal = flatten(shape_of(source), tuple(node.meta["val"].shape), BATCH), self.sum_of(source)
            return signal if made is None else self.add(node, made, signal)
        if operator in ("aten.add", "aten.add_", "aten.sub", "aten.sub_"):
            sign = -1.0 if "sub" in operator else 1.0
            return self._added(node, given["self"], given["other"], sign * float(given.get("alpha", 1)))
        if operator == "aten.rsub" and float(given.get("alpha", 1)) == 1:
            return self._added(node, given["other"], given["self"], -1.0)
        if operator in ("aten.mul", "aten.mul_", "aten.div", "aten.div_") and "rounding_mode" not in given:
            return self._product(node, given["self"], given["other"], operator)
        if operator == "aten.neg":
            return {name: -value for name, value in self.sum_of(given["self"]).items()}
        if operator in ("aten.matmul", "aten.mm", "aten.addmm"):
            return self._matrix_product(node, given)
        if operator == "aten.linear":
            made = linear(self._constant(given["weight"]), self._bias(given), shape_of(self._signal(node)))
        elif operator == "aten.conv2d":
            made = conv2d(given, self._constant(given["weight"]), self._bias(given), shape_of(self._signal(node)))
        elif operator == "aten.conv1d":
            made = conv1d(given, self._constant(given["weight"]), self._bias(given), shape_of(self._signal(node)))
        elif operator == "aten.cat":
            return self._joined(node, given)
        elif operator == "aten.batch_norm":
            return self._batch_norm(node, given)
        elif operator in POOLS:
            return self._pool(node, given)
        else:
            raise unknown(operator)
        return self.add(node, made, self.sum_of(given["input"] if "input" in given else given["self"]))

    def _joined(self, node: fx.Node, given: Mapping[str, Any]) -> Sum:
        """A concatenation along the channels: each branch is put into its place, and all are added."""
        branches, rank = given["tensors"], len(node.meta["val"].shape)
        if given.get("dim", 0) % rank != 1:
            raise UnsupportedError(
                "a concatenation that is not along the channels",
                found=f"dim={given.get('dim', 0)} of {list(node.meta['val'].shape)}",
                allowed="dim=1",
                hint="time and batch are no dimensions of one step; join layers along their channels or features",
            )
        total, first = int(node.meta["val"].shape[1]), 0
        result: dict[str, float] = {}
        for branch in branches:
            shape = shape_of(branch)
            name = self.unique(node_name(f"{module_of(node)}.{node.name}".lstrip(".")))
            self.add(node, placed_channels(first, total, shape), self.sum_of(branch), name=name, source=branch)
            result[name] = 1.0
            first += shape[0]
        return result

    def _pool(self, node: fx.Node, given: Mapping[str, Any]) -> Sum:
        """An average over windows: NIR's pool, or a convolution with ones and a Scale, or a matrix."""
        source = self._signal(node)
        before, after, terms = shape_of(source), shape_of(node), self.sum_of(source)
        if len(before) not in (2, 3) or (len(before) == 2) != ("1d" in str(node.target)):
            raise UnsupportedError(
                "an average pool on samples of another rank",
                found=list(before),
                allowed="[channels, height, width] for a pool of images, [channels, length] for one along an axis",
                hint="give the samples a channel axis (nn.Unflatten or unsqueeze in front of the pool)",
            )
        made = avg_pool(given, before) if len(before) == 3 else None
        if made is None and "output_size" in given:
            raise UnsupportedError("an adaptive pool whose windows differ in size", found=f"{before} to {after}")
        if made is not None:
            return self.add(node, made, terms)
        sums, ones = windows(given, before, after), torch.ones(1, *before, dtype=torch.float64)
        weight = torch.from_numpy(sums.weight)
        convolve = torch.conv1d if len(before) == 2 else torch.conv2d
        counted = convolve(ones, weight, None, sums.stride, sums.padding, 1, before[0])
        parts = np.rint((counted / applied(node, source, self._constants)(ones)).numpy()[0])
        if (parts == parts.flat[0]).all():
            sums.weight = sums.weight / parts.flat[0]
            return self.add(node, sums, terms)
        base = node_name(f"{module_of(node)}.{node.name}".lstrip("."))
        middle = self.add(node, sums, terms, name=self.unique(f"{base}.sums"))
        name = self.unique(node_name(module_of(node)) if module_of(node) in self.leaves else base)
        self.add(node, nir.Scale(1 / parts), middle, name=name)
        return {name: 1.0}

    def _signal(self, node: fx.Node) -> fx.Node:
        """What an operator is applied to: its first argument that is no constant."""
        return next(source for source in node.all_input_nodes if source not in self._constants)

    def _at_neuron(self, node: fx.Node, given: Mapping[str, Any]) -> Sum:
        path = str(given["path"])
        name = node_name(path)
        early = self._early.pop(name, None)
        if name in self.nodes and early is None:
            check_calls(node.graph)
        terms = self.sum_of(given["x"])
        made = early or self._neuron(path, shape_of(node))
        return self.add(node, made, terms, name=name, path=self._paths[path])

    def _late(self, node: fx.Node, given: Mapping[str, Any]) -> Sum:
        """What a layer, or the input, sent some steps before."""
        shape, steps, site = shape_of(node), int(given["steps"]), str(given["site"])
        source = node_name(site) if "x" not in given else site
        name = self.unique(f"{source}.delay")
        if source not in self.nodes:  # its spikes come back before it is reached
            self.nodes[source] = self._early[source] = self._neuron(site, shape)
        self.late.append(name)
        self.nodes[name] = nir.Delay(np.full(shape, steps * self._dt))
        self.edges.append((source, name))
        return {name: 1.0}

    def _read_out(self, node: fx.Node) -> Sum:
        """A leaky integrator that forgets all in each step: its potential is what it receives."""
        shape = shape_of(node)
        terms, path = self.sum_of(self._signal(node)), module_of(node)
        made = nir.LI(np.full(shape, self._dt), np.ones(shape), np.zeros(shape))
        return self.add(node, made, terms, name=self.unique(f"{node_name(path)}.read_out" if path else "read_out"))

    def _batch_norm(self, node: fx.Node, given: Mapping[str, Any]) -> Sum:
        if given["training"] or given["running_mean"] is None:
            raise UnsupportedError(
                "batch normalisation by the statistics of each batch", found="no running mean and variance",
                allowed="track_running_stats=True, in evaluation mode", hint="train with running statistics",
            )  # fmt: skip
        gain = 1 / np.sqrt(self._constant(given["running_var"]).astype(np.float64) + float(given["eps"]))
        if given["weight"] is not None:
            gain = gain * self._constant(given["weight"])
        offset = -gain * self._constant(given["running_mean"]).astype(np.float64)
        if given["bias"] is not None:
            offset = offset + self._constant(given["bias"])
        return self._affine(node, given["input"], gain, offset)

    def _affine(self, node: fx.Node, source: Any, gain: Array, offset: Array) -> Sum:
        """``gain * source + offset`` for each channel: folded into the layer in front, else a layer of its own."""
        terms, shape = self.sum_of(source), shape_of(source)
        name, factor = next(iter(terms.items())) if len(terms) == 1 else ("", 1.0)
        made = folded(self.nodes[name], gain * factor, offset) if name and self._only_for(name, node) else None
        if made is None:
            return self.add(node, affine_per_channel(gain, offset, shape), terms)
        made.metadata = self.nodes[name].metadata
        self.nodes[name] = made
        self.makers[name] = node
        return {name: 1.0}

    def _only_for(self, name: str, node: fx.Node) -> bool:
        """Whether nothing but ``node`` uses what the NIR node ``name`` puts out."""
        now = self.makers.get(name)
        while now is not None and now is not node:
            users = [user for user in now.users if user in self._needed]
            now = users[0] if len(users) == 1 else None
        return now is node

    def _constant_added(self, node: fx.Node, source: fx.Node, constant: Any, sign: float, scale: float) -> Sum:
        """``scale * source + sign * constant``, where the layer in front can have a bias."""
        shape = shape_of(source)
        value = np.asarray(constant if isinstance(constant, (int, float)) else self._constant(constant), np.float64)
        terms = self.sum_of(source)
        name, factor = next(iter(terms.items())) if len(terms) == 1 else ("", 1.0)
        whole = for_each(value, shape)
        if whole is not None and tuple(node.meta["val"].shape)[1:] == shape and name and self._only_for(name, node):
            per_channel = whole.reshape(shape[0], -1)
            uniform = bool((per_channel == per_channel[:, :1]).all())
            one = np.full(shape[0], scale * factor)
            made = folded(self.nodes[name], one, sign * per_channel[:, 0]) if uniform else None
            if made is not None:
                made.metadata = self.nodes[name].metadata
                self.nodes[name] = made
                self.makers[name] = node
                return {name: 1.0}
        raise UnsupportedError(
            "adding a constant",
            found=str(constant),
            allowed="behind a linear or convolutional layer that nothing else uses, one number for each channel",
            hint="give the layer in front a bias instead",
        )

    def _product(self, node: fx.Node, first: Any, second: Any, operator: str) -> Sum:
        """A signal times, or divided by, a number or a constant."""
        if "div" not in operator and (first in self._constants or isinstance(first, (int, float))):
            first, second = second, first
        if not isinstance(second, (int, float)) and second not in self._constants:
            raise UnsupportedError(
                f"{operator} of two layers", allowed="a product with a number or with parameters",
                hint="a synapse multiplies a spike by a weight; what two layers send cannot be multiplied",
            )  # fmt: skip
        terms, shape = self.sum_of(first), shape_of(first)
        value = np.asarray(second if isinstance(second, (int, float)) else self._constant(second), np.float64)
        with np.errstate(divide="ignore"):
            value = 1 / value if "div" in operator else value
        each = for_each(value, shape)
        if each is None or tuple(node.meta["val"].shape)[1:] != shape or not np.isfinite(value).all():
            raise UnsupportedError(
                f"{operator} by something that is not one finite factor for each value",
                found=f"{list(shape)} with {list(value.shape)}", allowed="a number, or one for each value or channel",
            )  # fmt: skip
        if value.size == 1:
            return {name: factor * float(value.reshape(())) for name, factor in terms.items()}
        per_channel = each.reshape(shape[0], -1)
        if (per_channel == per_channel[:, :1]).all():
            return self._affine(node, first, per_channel[:, 0].copy(), np.zeros(shape[0]))
        return self.add(node, nir.Scale(each), terms)

    def _matrix_product(self, node: fx.Node, given: Mapping[str, Any]) -> Sum:
        """``x @ W``, or ``beta b + alpha x @ W``, with constant ``W`` and ``b``."""
        source, matrix = given.get("mat1", given.get("self")), given.get("mat2", given.get("other"))
        weight = self._constant(matrix).astype(np.float64)
        shape = shape_of(source)
        if weight.ndim != 2 or len(shape) != 1:
            raise UnsupportedError(
                "a product of matrices", found=f"[batch, {', '.join(map(str, shape))}] @ {list(weight.shape)}",
                allowed="[batch, inputs] @ [inputs, outputs]", hint="put torch.nn.Flatten in front",
            )  # fmt: skip
        bias = None
        if "mat1" in given:
            weight = weight * float(given["alpha"])
            bias = np.broadcast_to(self._constant(given["self"]), (1, weight.shape[1]))[0] * float(given["beta"])
        return self.add(node, linear(np.ascontiguousarray(weight.T), bias, shape), self.sum_of(source))

    def _added(self, node: fx.Node, first: Any, second: Any, factor: float) -> Sum:
        for term, other, scale, sign in ((first, second, factor, 1.0), (second, first, 1.0, factor)):
            if isinstance(term, (int, float)) or term in self._constants:
                return self._constant_added(node, other, term, sign, scale)
        if shape_of(first) != shape_of(second):
            raise UnsupportedError(
                "adding layers of different shapes", found=[list(shape_of(first)), list(shape_of(second))]
            )
        total = dict(self.sum_of(first))
        for name, value in self.sum_of(second).items():
            total[name] = total.get(name, 0.0) + factor * value
        return total

    def no_potential(self, node: Any, user: fx.Node | None = None) -> None:
        """Refuse a membrane potential; `user` is the operator that takes it, where the caller does not name it."""
        if node in self._potentials:
            raise UnsupportedError(
                (f"{where(user)}: " if user is not None else "") + "a membrane potential is used as a signal",
                allowed="the spikes of a neuron, or a layer that does not spike",
                hint="pass the spikes on; states may only be returned or handed back to their neuron",
            )

    def waits(self, node: fx.Node) -> bool:
        """Whether a value waits for the whole that it is part of."""
        return node in self._whole.waiting

    def joined(self, node: fx.Node) -> bool:
        """Whether a value is one of joined layers."""
        return node in self._joins.taken

    def sum_of(self, node: Any) -> Sum:
        """A value as a sum of nodes, which are made where they wait.

        Raises:
            UnsupportedError: it is none.
        """
        self.no_potential(node)
        if node in self._whole.waiting:
            return self._whole.resolved(node)
        if node in self._joins.tables and node not in self.sums:
            self.sums[node] = self._joins.sum_of(node)
        if not isinstance(node, fx.Node) or node not in self.sums:
            raise UnsupportedError(
                "an operator on a parameter or constant",
                found=str(node),
                allowed="the output of a layer",
                hint="add it to a layer, multiply a layer by it, or make it a weight or a bias",
            )
        return self.sums[node]

    def _constant(self, node: Any) -> Array:
        if node not in self._constants:
            drawn = isinstance(node, fx.Node) and any(map(is_random, ancestors([node])))
            raise UnsupportedError(
                "weights that are drawn at random in every step" if drawn else "weights that depend on the input",
                found=str(node), allowed="parameters, buffers, and what is computed from them",
            )  # fmt: skip
        array = self._constants[node].detach().cpu()
        array = array if array.dtype in (torch.float32, torch.float64) else array.float()
        if not bool(torch.isfinite(array).all()):
            raise InvalidInputError("weights that are not finite", hint="check the training")
        return np.ascontiguousarray(array.numpy())

    def _bias(self, given: Mapping[str, Any]) -> Array | None:
        return None if given.get("bias") is None else self._constant(given["bias"])

    def add(
        self,
        node: fx.Node,
        made: nir.NIRNode,
        terms: Sum,
        name: str = "",
        path: str = "",
        source: Any = None,
        shape: tuple[int, ...] | None = None,
    ) -> Sum:
        """Add a node that takes the sum ``terms``, of values of ``shape``, of ``source``, or of what ``node`` takes."""
        path = path or module_of(node)
        own = path in self.leaves  # else it is functional code of a module that holds others
        name = name or self.unique(node_name(path if own else f"{path}.{node.name}".lstrip(".")))
        put(made, {"module": path})
        self.nodes[name] = made
        self.modules[name] = path
        self.makers[name] = node
        self._connect(terms, name, shape or shape_of(source or self._signal(node)))
        return {name: 1.0}

    def _connect(self, terms: Sum, target: str, shape: tuple[int, ...]) -> None:
        for source, factor in terms.items():
            if factor != 1.0:
                vector = isinstance(self.nodes[source], (nir.Linear, nir.Affine, nir.Flatten))
                sent = self._joins.sent(source) if vector else shape  # a matrix that makes an image sends a vector
                scale = self.unique(f"{source}.scale")
                self.nodes[scale] = nir.Scale(np.full(sent, factor))
                self.edges.append((source, scale))
                source = scale
            self.edges.append((source, target))

    def unique(self, base: str) -> str:
        """``base``, or with a number behind it where it is taken."""
        name, number = base, 1
        while name in self.nodes or name in self._reserved:
            number += 1
            name = f"{base}_{number}"
        return name
