"""From the recording of a sequence to terms: operator by operator, on the identities of elements (`terms`).

Four kinds of operators: those that only move data run on identities as they are; elementwise ones make a term for each
combination of terms that meet; those over features (convolutions, normalisations, softmax) one for each step; and
reductions over time join the terms of several steps. What depends on parameters alone is computed, in float64.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from neurodeploy.errors import UnsupportedError

from ..torch_step.fxgraph import arguments, module_of
from ..torch_step.wide import float64, in_float64, wider
from ..torch_step.windows import POOLS
from . import operators as kinds
from .dynamic import dynamic, first_comparisons
from .operators import dims_of, functional, packet, with_parts
from .pieces import COMPARISONS, of_positive, without_surrogate
from .products import Products
from .record import Recorded, is_getitem, line_of
from .site import CALL, STATE, STEP
from .terms import (
    CONSTANT,
    FEATURE,
    INPUT,
    NEURON,
    REDUCE,
    TIME,
    Chain,
    Constant,
    Group,
    MixedError,
    Term,
    Terms,
    closure,
    constant_of,
    features_of,
    flat,
    grouped,
)
from .terms import STATE as STATE_TERM


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a neuron layer in one step.

    Args:
        term: what the layer sends.
        x: what it receives.
        handed: states that were handed in, as terms or constants.
        fresh: whether its own state was set back since its last call.
    """

    term: Term
    x: Term | Constant
    handed: tuple[Term | Constant, ...]
    fresh: bool
    node: fx.Node


@dataclass(eq=False)
class Unrolled:
    """A recording as terms.

    Args:
        terms: all of them.
        calls: of each chain, in order.
        returned: for each tensor that forward returned its identities, or the constant that it is; or why it cannot be
            followed.
    """

    terms: Terms
    calls: dict[Chain, list[Call]] = field(default_factory=dict)
    returned: list[Tensor | Constant | UnsupportedError] = field(default_factory=list)


_ABOVE = torch.ops.aten.gt.Scalar

Labels = Mapping[fx.Node, Callable[[Terms], Tensor]]
"""Node that is an input of the network -> its identities."""


def unroll(recorded: Recorded, inputs: Labels, *, over_time: bool = False) -> Unrolled:
    """Terms of a recording whose ``inputs`` are given.

    Args:
        over_time: whether operators may take several steps together, as a host does.

    Raises:
        UnsupportedError: an operator that mixes samples, or code that cannot be followed; names the line.
    """
    return _Unrolling(recorded, inputs, over_time).result


class _Unrolling(Products):
    def __init__(self, recorded: Recorded, inputs: Labels, over_time: bool) -> None:
        super().__init__(recorded.graph, next(iter(inputs)), over_time)
        self.result = Unrolled(self._terms)
        self._failed: dict[fx.Node, UnsupportedError] = {}
        self._chain_of: dict[int, Chain] = {}
        self._resets: dict[Chain, int] = {}
        self._dynamic = dynamic(recorded, set(inputs))
        self._dynamic = dynamic(recorded, {*inputs, *first_comparisons(recorded, self._dynamic)})
        self._compared: Counter[Hashable] = Counter()
        self._inputs, self._own = inputs, recorded.own
        with torch.no_grad(), float64():
            for node in recorded.graph.graph.nodes:
                self._run(node)
        for node in recorded.returned:
            if node in self._failed:
                self.result.returned.append(self._failed[node])
            else:
                self.result.returned.append(self._ids[node] if node in self._ids else self._constant(node))

    # Nodes

    def _run(self, node: fx.Node) -> None:
        if node in self._inputs:
            self._ids[node] = self._inputs[node](self._terms)
        elif node.op == "get_attr":
            name = str(node.target)
            value = self._own[name] if name in self._own else getattr(self._graph, name)
            self._values[node], self._names[node] = value.detach(), str(node.target)
        elif node.op == "call_function":
            if node not in self._dynamic:
                self._values[node] = self._evaluated(node)
                return
            failed = next((self._failed[n] for n in node.all_input_nodes if n in self._failed), None)
            if failed is not None:  # of use only where a neuron or a result needs it
                self._failed[node] = failed
                return
            try:
                if any(n not in self._ids and n not in self._values for n in node.all_input_nodes):
                    raise UnsupportedError("the input is used in front of its encoder, too")
                self._ids[node] = self._moved(node)
            except UnsupportedError as error:
                self._failed[node] = self._located(node, error)

    def _located(self, node: fx.Node, error: UnsupportedError) -> UnsupportedError:
        line = line_of(node)
        if not line or error.what.startswith(line):
            return error
        return error.again(f"{line}: {error.what}")

    def _moved(self, node: fx.Node) -> Any:
        """Identities of what an operator with an argument that depends on the input gives."""
        name = packet(node)
        if is_getitem(node):
            if packet(node.args[0]) in (*kinds.WITH_INDICES, *POOLS) and node.args[1] != 0:  # type: ignore[arg-type]
                raise UnsupportedError("the positions of maxima are used", allowed="the maxima themselves")
            return self._ids[node.args[0]][node.args[1]]  # type: ignore[index]
        if str(node.target).startswith(CALL):
            return self._call(node)
        if str(node.target).startswith(STATE):
            return self._state(node)
        if name in kinds.CONSTANT:
            return self._filled(node)
        if not any(isinstance(a, fx.Node) and a in self._ids for a in flat((node.args, tuple(node.kwargs.values())))):
            made = self._evaluated(node)  # constants that others write into
            return self._terms.constant(made, node)
        if kinds.writes(node):
            return self._written(node, name)
        if kinds.moves(node) and not (name in kinds.BY_INDEX and self._indexed(node)):
            return self._structural(node)
        if name in COMPARISONS:
            return self._comparison(node, name)
        if name in kinds.ELEMENTWISE or name in kinds.CASTS:
            return self._elementwise(node, name)
        if name in kinds.REDUCTIONS:
            return self._reduced(node)
        return self._over_features(node)

    def _indexed(self, node: fx.Node) -> bool:
        """Whether the places that an operator takes depend on the input."""
        return any(isinstance(a, fx.Node) and a in self._ids for a in flat(node.args[1:]))

    # Kinds of operators

    def _structural(self, node: fx.Node) -> Any:
        target: Any = node.target

        def value(other: fx.Node) -> Any:
            if other in self._ids:
                return self._ids[other]
            held = self._values[other]
            index = isinstance(held, Tensor) and not held.is_floating_point()
            return held if index or not isinstance(held, Tensor) else self._terms.constant(held, other)

        args, named = fx.map_arg((node.args, dict(node.kwargs)), value)
        named = {key: item for key, item in named.items() if key not in ("dtype", "memory_format", "layout", "device")}
        if packet(node) in kinds.SAME:
            return args[0]
        try:
            return target(*args, **named)
        except RuntimeError:
            if packet(node) != "aten.view" or not isinstance(args[1], (list, tuple)):
                raise
            moved: Any = args
            return moved[0].reshape(moved[1])  # identities may lie otherwise in memory than what they stand for

    def _filled(self, node: fx.Node) -> Any:
        """A new constant of the shape of something else (``zeros_like``)."""
        target: Any = node.target

        def value(other: fx.Node) -> Any:
            if other in self._ids:
                return torch.empty(self._ids[other].shape)
            return self._values[other]

        args, named = fx.map_arg((node.args, dict(node.kwargs)), value)
        with in_float64():
            made = target(*map(wider, args), **{k: wider(v) for k, v in named.items()})
        made = torch.zeros_like(made) if packet(node) in kinds.EMPTY else made
        return self._terms.constant(made, node)

    def _written(self, node: fx.Node, name: str) -> Any:
        """An operator that writes into its first argument."""
        given = arguments(node)
        into = self._ids[node.args[0]]  # type: ignore[index]
        if name == "aten.copy_":
            source = self._as_ids(given["src"])
            into.copy_(source.expand(into.shape) if source.dim() <= into.dim() else source.reshape(into.shape))
        elif name in ("aten.zero_", "aten.fill_"):
            held = given.get("value", 0)
            if isinstance(held, fx.Node) and held not in self._values:
                raise UnsupportedError("a tensor is filled with a number that depends on the input")
            number = float(self._values[held] if isinstance(held, fx.Node) else held)
            into.copy_(self._terms.constant(torch.full(into.shape, number), node))
        elif name == "aten.index_put_" and [i in self._ids for i in given["indices"]] == [True]:
            into.copy_(self._masked(node, into, given))
        elif name == "aten.index_put_" and not given["accumulate"]:
            where = [None if i is None else self._values[i] for i in given["indices"]]
            into[tuple(slice(None) if w is None else w for w in where)] = self._as_ids(given["values"])
        elif name in kinds.SAME_IN_PLACE:
            pass
        elif name[:-1] in kinds.ELEMENTWISE:
            into.copy_(self._elementwise(node, name[:-1]))
        else:
            raise UnsupportedError(f"{name} writes into a tensor", allowed="results as new tensors")
        return into

    def _masked(self, node: fx.Node, into: Tensor, given: Mapping[str, Any]) -> Tensor:
        """A number written where a mask is true (``v[spikes] = 0``)."""
        mask, number = self._ids[given["indices"][0]], self._values.get(given["values"])
        if mask.shape != into.shape or not isinstance(number, Tensor) or number.numel() != 1 or given["accumulate"]:
            raise UnsupportedError("values are written to places that depend on the data", allowed="one number")

        def made(group: Group, features: tuple[int, ...], _each: Any) -> Term:
            values = [self._value(content, features, node) for content in group.contents]
            args = (values[0], float(number), values[1])
            return self._terms.make(torch.ops.aten.where.ScalarSelf, args, features, self._samples(values), node)

        return self._by_rows(node, [mask, into], {}, made, keep=lambda d: d > 0)

    def _comparison(self, node: fx.Node, name: str) -> Tensor:
        """A comparison, which may be the spike of a step: of its line and module, the next one is of another step."""
        key = (line_of(node), module_of(node), name)
        with self._terms.of_step((*key, self._compared[key])):
            self._compared[key] += 1
            held = self._held(node.args[0])
            return self._elementwise(node, name) if held is None else self._first(node, held)

    def _held(self, value: Any) -> Tensor | None:
        """The numbers of an argument that is constant; None for others."""
        return self._terms.numbers(self._ids[value]) if value in self._ids else self._values[value]

    def _first(self, node: fx.Node, held: Tensor) -> Tensor:
        """A comparison of what a state is at first, ``[batch, *shape]``: it may be the spike of the first step."""
        if held.dim() < 2 or (held != held[:1]).any() or any(a in self._ids for a in node.args[1:]):
            if any(a in self._ids for a in node.all_input_nodes):
                return self._elementwise(node, packet(node))
            return self._terms.constant(self._evaluated(node), node)
        shape = tuple(held.shape[1:])
        value = self._terms.make(CONSTANT, (constant_of(held[0].double()),), shape, 1, node)
        args, named = with_parts(node, {node.args[0]: value}, self._constant_part)  # type: ignore[dict-item]
        return self._terms.ids(self._terms.make(node.target, args, shape, len(held), node, named=named))

    def _elementwise(self, node: fx.Node, name: str) -> Tensor:
        given = (*node.args, *node.kwargs.values())
        if name in kinds.SAME and node.args[0] in self._ids:
            ids, number = self._as_ids(node.args[0]), node.meta["val"].dtype.is_floating_point
            sent = number and all(term.op == INPUT for term in self._terms.of(ids))  # flags of an encoder
            if name not in kinds.CASTS or kinds.moves(node) or sent:
                return ids
        for place, neutral in kinds.NEUTRAL.get(name, ()):
            if len(node.args) == 2 and not isinstance(node.args[place], fx.Node) and node.args[place] == neutral:
                return self._as_ids(node.args[1 - place])
        return self._met(node, name, [a for a in flat(given) if isinstance(a, fx.Node) and a in self._ids])

    def _met(self, node: fx.Node, name: str, signals: list[fx.Node]) -> Tensor:
        """Elementwise: one term for each combination of terms and constants that meet."""
        constants = [a for a in flat((node.args, tuple(node.kwargs.values())))
                     if isinstance(a, fx.Node) and isinstance(self._values.get(a), Tensor)]  # fmt: skip
        distinct = list(dict.fromkeys(signals))
        known = self._known(node, distinct)
        if known is not None:
            return known
        shape = torch.broadcast_shapes(  # type: ignore[no-untyped-call]
            *(self._ids[s].shape for s in distinct),
                                       *(self._values[c].shape for c in constants))  # fmt: skip
        tensors = [self._ids[s].expand(shape) for s in distinct]
        spread = {c: self._values[c].expand(shape) for c in dict.fromkeys(constants)}

        def made(group: Group, features: tuple[int, ...], each: Mapping[fx.Node, Constant]) -> Term:
            values = [self._value(c, features, self._source(s, features))
                      for s, c in zip(distinct, group.contents, strict=True)]  # fmt: skip
            parts = {**dict(zip(distinct, values, strict=True)), **each}
            args, named = with_parts(node, parts)
            left = without_surrogate(name, args)
            if left is not None:
                return left
            positive = of_positive(name, args)
            if positive is not None:
                return self._terms.make(_ABOVE, (positive, 0), features, self._samples(values), node)
            op: Any = functional(node) if kinds.writes(node) else node.target
            return self._terms.make(op, args, features, self._samples(values), node, named=named)

        return self._by_rows(node, tensors, spread, made, keep=lambda d: d > 0)

    def _reduced(self, node: fx.Node) -> Any:
        """A reduction: over features in each step, over time by joining the terms of the steps."""
        given = arguments(node)
        source = node.args[0]
        ids = self._ids[source]  # type: ignore[index]
        dims, keep = dims_of(given, ids.dim()), bool(given.get("keepdim", False))
        like = features_of(self._terms, [ids])
        over_time = [d for d in dims if like[d] != FEATURE]
        name = packet(node)
        if over_time:
            if name in kinds.JOINS:
                ids = self._joined(node, ids, over_time)
            elif self._over_time and all(like[d] in (FEATURE, TIME) for d in dims):
                over_time = []
            else:
                raise UnsupportedError(f"{name} over time", allowed=", ".join(sorted(kinds.JOINS)))
        rest = [d for d in dims if d not in over_time]
        if rest:
            ids = self._by_rows(
                node, [ids], {}, lambda group, inner, _: self._feature_reduction(node, group, inner, ids, rest),
                keep=lambda d: d > 0, needed=rest,
            )  # fmt: skip
        if not keep:
            for d in sorted(dims, reverse=True):
                ids = ids.squeeze(d)
        return (ids, ids) if name in kinds.WITH_INDICES and "dim" in given else ids

    def _joined(self, node: fx.Node, ids: Tensor, dims: Sequence[int]) -> Tensor:
        """One term over all steps for the dimensions ``dims``, which are kept with length 1."""
        moved = ids.movedim(tuple(dims), tuple(range(len(dims))))
        parts = list(moved.reshape(-1, *moved.shape[len(dims) :]))
        name = packet(node)

        def made(group: Group, features: tuple[int, ...], _each: Any) -> Term:
            values = [self._value(content, features, node) for content in group.contents]
            return self._terms.make(REDUCE, (kinds.JOINS[name], *values), features, self._samples(values), node)

        result = self._by_rows(node, parts, {}, made, keep=lambda d: True)
        for d in sorted(dims):
            result = result.unsqueeze(d)
        return result

    def _feature_reduction(
        self, node: fx.Node, group: Group, inner: tuple[int, ...], ids: Tensor, dims: Sequence[int]
    ) -> Term:
        like = features_of(self._terms, [ids])
        features = [d for d in range(ids.dim()) if (like[d] == FEATURE and d > 0) or d in dims]
        value = self._value(group.contents[0], inner, self._source(node.args[0], inner))
        within = tuple(1 + features.index(d) for d in dims)
        after = tuple(1 if d in dims else n for d, n in zip(features, inner, strict=True))
        op, args, named = kinds.reduction(node, value, within)
        return self._terms.make(op, args, after, self._samples([value]), node, named=named)

    def _over_features(self, node: fx.Node) -> Any:
        """An operator over the features of each sample of each step."""
        signals = [
            a for a in flat((node.args, tuple(node.kwargs.values()))) if isinstance(a, fx.Node) and a in self._ids
        ]
        distinct = list(dict.fromkeys(signals))
        if packet(node) in kinds.PRODUCTS and all(a in self._ids for a in node.args[:2]):
            return self._of_matrices(node, distinct)
        if len(distinct) > 1 and len({tuple(self._ids[s].shape[:1]) for s in distinct}) > 1:
            raise UnsupportedError(f"{packet(node)} of two layers", allowed="one layer, and parameters")
        ids = self._ids[distinct[0]]
        if kinds.without_batch(node, ids.dim()):
            raise MixedError(f"{packet(node)} takes a sample without a batch: the batch, or steps, as its channels")
        needed, shift = kinds.needs(node, ids.dim(), distinct)
        if len(distinct) > 1:
            return self._of_two(node, distinct)

        like = features_of(self._terms, [ids])
        features = [d for d in range(ids.dim()) if (like[d] == FEATURE and d > 0) or d in needed]

        def made(group: Group, inner: tuple[int, ...], _each: Any) -> Term:
            value = self._value(group.contents[0], inner, self._source(distinct[0], inner))
            args, named = with_parts(node, {distinct[0]: value}, self._constant_part)
            args, named = shift(args, named, features, ids.dim())
            after = self._result_shape(node, args, named, inner)
            return self._terms.make(node.target, args, after, self._samples([value]), node, named=named)

        found = self._by_rows(node, [ids], {}, made, keep=lambda d: d > 0, needed=needed)
        return (found, found) if isinstance(node.meta.get("val"), (tuple, list)) else found

    def _call(self, node: fx.Node) -> Tensor:
        given = arguments(node)
        ids, axis, path = self._as_ids(given["x"]), int(given["axis"]), str(given["path"])
        if axis == STEP:
            return self._called(node, given, ids, path)
        steps = [self._called(node, given, each, path, first=i == 0) for i, each in enumerate(ids.unbind(axis))]
        return torch.stack(steps, axis)

    def _called(self, node: fx.Node, given: Mapping[str, Any], ids: Tensor, path: str, first: bool = True) -> Tensor:
        """One step of a neuron layer on ``[batch, *shape]``."""
        shape = tuple(ids.shape[1:])
        groups = grouped(self._terms, [ids.reshape(len(ids), -1)], f"the neuron {path!r}")
        if len(groups) != 1:
            raise MixedError(
                f"the neuron {path!r} takes several steps as if they were samples of one",
                found=f"an input of {list(ids.shape)} that holds {len(groups)} steps or layers",
                allowed="one step a call, or a layer in its multi-step mode",
                hint="hand it one step after the other, or set its step mode (SpikingJelly: set_step_mode(net, 'm'))",
            )
        x = self._value(groups[0].contents[0], shape, self._source(given["x"], shape))
        if x.samples > 1 and sorted(groups[0].sample.tolist()) != list(range(x.samples)):
            raise MixedError(
                f"the neuron {path!r} takes samples of the batch as if they were steps",
                found=f"{len(ids)} of {x.samples} samples in a call",
                allowed="all samples of the batch in each step",
                hint="check which dimension of the data is the batch and which is time (--time-axis)",
            )
        handed = tuple(self._handed(one) for one in given["handed"]) if first else ()
        chain, fresh = self._chain(node, path, handed, int(given["resets"]), first)
        calls = self.result.calls.setdefault(chain, [])
        samples = self._samples([x])
        term = self._terms.make(NEURON, (chain, x), shape, max(samples, len(ids)), node, time=len(calls))
        calls.append(Call(term, x, handed, fresh, node))
        self._chain_of[term.index] = chain
        order = torch.empty(len(ids), dtype=torch.int64)
        order[torch.from_numpy(groups[0].rows)] = torch.from_numpy(groups[0].sample)
        if term.samples == 1 or samples == 1:
            order = torch.arange(len(ids)) % term.samples
        return self._terms.ids(term)[order]

    def _chain(self, node: fx.Node, path: str, handed: tuple[Any, ...], resets: int, first: bool) -> tuple[Chain, bool]:
        """The chain that a call belongs to, and whether it starts anew."""
        of_path = [chain for chain in self.result.calls if chain.path == path]
        if not first:
            return max(of_path, key=lambda c: self.result.calls[c][-1].term.index), False
        for one in handed:
            for term in [one] if isinstance(one, Term) else []:
                for inner in closure(term):
                    if inner.op in (STATE_TERM, NEURON):
                        neuron = inner if inner.op == NEURON else inner.args[0]
                        if self._chain_of[neuron.index].path == path:
                            return self._chain_of[neuron.index], False
        if handed or not of_path or resets < 0:
            made = Chain(path, len(of_path) + 1)
            self._resets[made] = resets
            return made, False
        chain = of_path[-1]
        fresh = self._resets[chain] != resets
        self._resets[chain] = resets
        return chain, fresh

    def _handed(self, node: fx.Node) -> Term | Constant:
        if node not in self._ids:
            return self._constant(node)
        ids = self._ids[node]
        if not ids.numel():
            return constant_of(torch.zeros(0))
        groups = grouped(self._terms, [ids.reshape(len(ids), -1)], "a state")
        return self._value(groups[0].contents[0], tuple(ids.shape[1:]), node)

    def _state(self, node: fx.Node) -> Tensor:
        given = arguments(node)
        ids, name = self._ids[given["output"]], str(given["name"])
        result = torch.empty_like(ids)
        numbers = self._terms.decode(ids.numpy())[0]
        for number in np.unique(numbers):
            term = self._terms.found[int(number)]
            made = self._terms.make(STATE_TERM, (term, name), term.shape, term.samples, node)
            where = torch.from_numpy(numbers == number)
            result[where] = ids[where] - term.first + made.first
        return result
