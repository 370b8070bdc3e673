"""Operators on two layers that are not elementwise: products of matrices, as in attention."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, fx

from .operators import packet, with_parts
from .terms import FEATURE, MIXED, TIME, MixedError, features_of, grouped
from .values import Values

_PRODUCT = torch.ops.aten.matmul.default


class Products(Values):
    """Values that such operators give."""

    def _of_two(self, node: fx.Node, signals: list[fx.Node]) -> Tensor:
        """An operator on two layers that is not elementwise, of samples by themselves."""
        shapes = [self._ids[s].shape for s in signals]
        tensors = [self._ids[s].reshape(shapes[0][0], -1) for s in signals]
        groups = grouped(self._terms, tensors, packet(node))
        result: Tensor | None = None
        for group in groups:
            values = [self._value(c, tuple(s[1:]), self._source(n, tuple(s[1:])))
                      for c, s, n in zip(group.contents, shapes, signals, strict=True)]  # fmt: skip
            args, named = with_parts(node, dict(zip(signals, values, strict=True)), self._constant_part)
            after = self._result_shape(node, args, named, tuple(shapes[0][1:]))
            term = self._terms.make(node.target, args, after, self._samples(values), node, named=named)
            ids = self._terms.ids(term)
            result = torch.zeros((shapes[0][0], *ids.shape[1:]), dtype=torch.int64) if result is None else result
            result[torch.from_numpy(group.rows)] = ids[torch.from_numpy(group.sample % term.samples)]
        assert result is not None
        return result

    def _of_matrices(self, node: fx.Node, signals: list[fx.Node]) -> Tensor:
        """A product of matrices that both depend on the input, as in attention: ``[..., m, k] [..., k, n]``."""
        a, b = (self._ids[node.args[i]] for i in (0, 1))  # type: ignore[index]
        vector = b.dim() == 1 or (packet(node) == "aten.mv")
        a, b = a.unsqueeze(0) if a.dim() == 1 else a, b.unsqueeze(-1) if vector else b
        lead = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])  # type: ignore[no-untyped-call]
        a, b = a.expand(*lead, *a.shape[-2:]), b.expand(*lead, *b.shape[-2:])
        like = [features_of(self._terms, [one]) for one in (a, b)]
        rank = len(lead)
        wrong = {MIXED} if self._over_time else {MIXED, TIME}
        if any(what in wrong for one in like for what in one[rank:]):
            raise MixedError(
                f"{packet(node)} over time or over the batch", found=f"{list(a.shape)} and {list(b.shape)}",
                allowed="each step and each sample by itself",
            )  # fmt: skip
        inner = [d for d in range(1, rank) if all(one[d] == FEATURE for one in like)]
        outer = [d for d in range(rank) if d not in inner]
        order = (*outer, *inner, rank, rank + 1)
        rows = int(np.prod([lead[d] for d in outer]))
        shapes = [tuple(one.shape[d] for d in (*inner, rank, rank + 1)) for one in (a, b)]
        groups = grouped(self._terms, [one.permute(order).reshape(rows, -1) for one in (a, b)], packet(node))
        after = (*shapes[0][:-1], shapes[1][-1])
        result = torch.zeros((rows, *after), dtype=torch.int64)
        for group in groups:
            values = [self._value(content, shape, self._source(source, shape)) for content, shape, source in
                      zip(group.contents, shapes, node.args[:2], strict=True)]  # fmt: skip
            term = self._terms.make(_PRODUCT, tuple(values), after, self._samples(values), node)
            result[torch.from_numpy(group.rows)] = self._terms.ids(term)[torch.from_numpy(group.sample % term.samples)]
        result = result.reshape(*(lead[d] for d in outer), *after)
        back = [order.index(d) for d in range(rank + 2)]
        result = result.permute(back)
        return result.squeeze(-1) if vector else result
