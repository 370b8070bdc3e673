"""The values of a recording while it is unrolled: identities of what depends on the input, and constants; and how an
operator is applied to them, row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from ..torch_step.wide import in_float64, wider
from . import operators as kinds
from .operators import functional, packet
from .record import is_getitem
from .terms import (
    CONSTANT,
    FEATURE,
    MIXED,
    PICK,
    TIME,
    VIEW,
    Constant,
    Group,
    MixedError,
    Term,
    Terms,
    constant_of,
    features_of,
    flat,
    grouped,
)


class Values:
    """Values by the node of the recording that made them.

    Args:
        graph: of the recording.
        origin: a node for constants that no operator made.
        over_time: whether operators may take several steps together, as a host does.
    """

    def __init__(self, graph: fx.GraphModule, origin: fx.Node, over_time: bool = False) -> None:
        self._terms, self._graph, self._origin, self._over_time = Terms(), graph, origin, over_time
        self._ids: dict[fx.Node, Any] = {}
        self._values: dict[fx.Node, Any] = {}
        self._names: dict[fx.Node, str] = {}
        self._keys: dict[fx.Node, Constant] = {}
        self._after: dict[Any, tuple[int, ...]] = {}

    def _evaluated(self, node: fx.Node) -> Any:
        """What depends on nothing but parameters, in float64 where it is computed."""
        target: Any = node.target

        def value(other: fx.Node) -> Any:
            found = self._values[other]
            if not isinstance(found, Tensor):
                return found
            if other.op == "get_attr":
                found = found.clone()
            return found.double() if found.is_floating_point() and found.dtype != torch.float64 else found

        args, named = fx.map_arg((node.args, dict(node.kwargs)), value)
        with in_float64():
            made = target(*map(wider, args), **{name: wider(item) for name, item in named.items()})
        if packet(node) in kinds.EMPTY and isinstance(made, Tensor):
            made = torch.zeros_like(made)
        return made

    def _known(self, node: fx.Node, signals: list[fx.Node]) -> Tensor | None:
        """Elementwise on tensors that hold constants alone, as states do at first; None for others."""
        values = dict[fx.Node, Tensor]()
        for signal in signals:
            held = self._terms.numbers(self._ids[signal])
            if held is None:
                return None
            values[signal] = held

        def value(other: fx.Node) -> Any:
            found = values[other] if other in values else self._values[other]
            return found.double() if isinstance(found, Tensor) and found.is_floating_point() else found

        args, named = fx.map_arg((node.args, dict(node.kwargs)), value)
        op: Any = functional(node) if kinds.writes(node) else node.target
        masks = {"aten.where": 0, "aten.masked_fill": 1}.get(packet(node).removesuffix("_"))
        if masks is not None:
            args = tuple(one != 0 if place == masks else one for place, one in enumerate(args))
        try:
            with in_float64():
                made = op(*map(wider, args), **{k: wider(v) for k, v in named.items()})
        except RuntimeError:  # outcomes of comparisons are numbers here
            return None
        return self._terms.constant(made, node)

    def _as_ids(self, value: Any) -> Tensor:
        if isinstance(value, fx.Node) and value in self._ids:
            found: Tensor = self._ids[value]
            return found
        held = self._values[value] if isinstance(value, fx.Node) else torch.tensor(float(value))
        return self._terms.constant(held, value if isinstance(value, fx.Node) else self._origin)

    def _by_rows(
        self,
        node: fx.Node,
        tensors: Sequence[Tensor],
        constants: Mapping[fx.Node, Tensor],
        made: Callable[..., Term],
        keep: Callable[[int], bool],
        needed: Sequence[int] = (),
    ) -> Tensor:
        """Apply ``made`` to every group of rows, and put what it gives in its place.

        Args:
            keep: whether a dimension may belong to the features.
            needed: dimensions that must.
        """
        shape = tuple(tensors[0].shape)
        like = features_of(self._terms, tensors)
        mixed = [d for d in needed if like[d] == MIXED or (like[d] == TIME and not self._over_time)]
        if mixed:
            raise MixedError(
                f"{packet(node)} over time or over the batch",
                found=f"dimension {mixed[0]} of {list(shape)}",
                allowed="each step and each sample by itself",
                hint="compute it behind the last neuron, or in each step",
            )
        features = [d for d in range(len(shape)) if (like[d] == FEATURE and keep(d)) or d in needed]
        outer = [d for d in range(len(shape)) if d not in features]
        order = [*outer, *features]
        inner = tuple(shape[d] for d in features)
        rows = int(np.prod([shape[d] for d in outer]))
        flattened = [t.permute(order).reshape(rows, -1) for t in tensors]
        varying = {c: v.permute(order) for c, v in constants.items()}
        groups = grouped(self._terms, flattened, packet(node))
        result: Tensor | None = None
        for group in _split_by_constants(groups, varying, len(outer)):
            each = {c: self._of_row(c, v, len(outer), int(group.rows[0])) for c, v in varying.items()}
            term = made(group, inner, each)
            ids = self._terms.ids(term)
            if result is None:
                result = torch.zeros((rows, *ids.shape[1:]), dtype=torch.int64)
            result[torch.from_numpy(group.rows)] = ids[torch.from_numpy(group.sample % term.samples)]
        assert result is not None
        result = result.reshape(*(shape[d] for d in outer), *result.shape[1:])
        if result.dim() != len(order):
            return result
        back = [order.index(d) for d in range(len(order))]
        return result.permute(back)

    def _of_row(self, node: fx.Node, spread: Tensor, outer: int, row: int) -> Constant:
        """A constant as it meets one row, as small as it was: dimensions along which it is expanded have length 1."""
        whole, steps = spread, spread.stride()
        lead = spread.shape[:outer]
        if all(steps[d] == 0 or spread.shape[d] == 1 for d in range(outer)):
            index = (0,) * outer
            if self._values[node].dim() == 0 or self._values[node].numel() == 1:
                return self._constant(node)
        else:
            index = tuple(int(i) for i in np.unravel_index(row, lead))
        inner = whole[index]
        small = tuple(slice(0, 1) if inner.stride(d) == 0 else slice(None) for d in range(inner.dim()))
        return constant_of(inner[small].clone())

    def _result_shape(self, node: fx.Node, args: Any, named: Any, inner: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one sample of the result, found on tensors without data."""

        def empty(value: Any) -> Any:
            if isinstance(value, Term):
                return torch.empty((2, *value.shape), dtype=torch.float64, device="meta")
            if isinstance(value, Constant):
                dtype = torch.float64 if value.value.is_floating_point() else value.value.dtype
                return torch.empty(value.value.shape, dtype=dtype, device="meta")
            if isinstance(value, (tuple, list)):
                return type(value)(map(empty, value))
            return value

        target: Any = node.target
        if (node, inner) not in self._after:
            made = target(*map(empty, args), **{key: empty(value) for key, value in named})
            made = made[0] if isinstance(made, (tuple, list)) else made
            self._after[node, inner] = tuple(made.shape[1:])
        return self._after[node, inner]

    def _source(self, node: Any, shape: tuple[int, ...]) -> Any:
        """The operator that first gave a tensor the features ``shape``, before it was only moved on."""
        found = now = node
        while isinstance(now, fx.Node) and now.op == "call_function" and (kinds.moves(now) or is_getitem(now)):
            value = self._ids.get(now)
            if isinstance(value, Tensor) and tuple(value.shape[value.dim() - len(shape) :]) == shape:
                found = now
            now = next((a for a in flat(now.args) if isinstance(a, fx.Node) and a in self._ids), None)
        return found

    def _value(self, content: Any, shape: tuple[int, ...], node: fx.Node) -> Term:
        """The term whose positions are these identities (of sample 0)."""
        numbers, _, inside = self._terms.decode(content)
        first = self._terms.found[int(numbers[0])] if len(numbers) else None
        whole = first is not None and (numbers == numbers[0]).all() and first.size == len(content)
        if first is not None and whole and (inside == np.arange(len(content))).all():
            if first.shape == shape:
                return first
            return self._terms.make(VIEW, (first,), shape, first.samples, node)
        distinct = [self._terms.found[int(n)] for n in dict.fromkeys(numbers.tolist())]
        if all(term.op == CONSTANT for term in distinct):
            held = {term.index: float(term.args[0].value) for term in distinct}
            array = torch.tensor([held[int(n)] for n in numbers], dtype=torch.float64).reshape(shape)
            return self._terms.make(CONSTANT, (constant_of(array),), shape, 1, node)
        place = {term.index: i for i, term in enumerate(distinct)}
        which = np.array([place[int(n)] for n in numbers])
        return self._terms.make(PICK, (tuple(distinct), which, inside), shape, self._samples(distinct), node)

    def _samples(self, values: Sequence[Any]) -> int:
        return max([value.samples for value in values if isinstance(value, Term)], default=1)

    def _constant(self, node: fx.Node) -> Constant:
        if node not in self._keys:
            self._keys[node] = constant_of(self._values[node], self._names.get(node))
        return self._keys[node]

    def _constant_part(self, node: fx.Node) -> Any:
        held = self._values[node]
        return self._constant(node) if isinstance(held, Tensor) else held


def _split_by_constants(groups: list[Group], constants: Mapping[fx.Node, Tensor], outer: int) -> list[Group]:
    """Groups whose rows meet the same constants."""
    varying = [v for v in constants.values() if any(v.stride(d) and v.shape[d] > 1 for d in range(outer))]
    if not varying:
        return groups
    result = []
    for group in groups:
        parts: dict[bytes, list[int]] = {}
        for i, row in enumerate(group.rows):
            key = b"".join(
                v[tuple(int(n) for n in np.unravel_index(int(row), v.shape[:outer]))].contiguous().numpy().tobytes()
                for v in varying
            )
            parts.setdefault(key, []).append(i)
        for places in parts.values():
            result.append(Group(group.contents, group.rows[places], group.sample[places]))
    return result
