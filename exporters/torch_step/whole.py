"""What no operator of a step says alone: the whole between neurons, as layers of NIR (`pieces` finds what it is).

An operator that NIR has nothing for waits, and so does all that takes what it gives; where it reaches a neuron or a
result, the whole piece in front of that becomes nodes, or is refused in the words of its first operator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import nir
import numpy as np
from torch import Tensor, fx

from neurodeploy.errors import NeurodeployError, UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.nir_graph.metadata import put
from neurodeploy.nir_graph.shapes import NEURONS

from .capture import BATCH, OPERATOR, node_name
from .fxgraph import module_of, shape_of, where
from .known import LATE, READ_OUT
from .layers import affine_per_channel, folded
from .pieces import Found, Piece, Shape, compactly, dense, holds

if TYPE_CHECKING:
    from .aten import Sum, Walk


class Whole:
    """The values of a walk that wait for their whole.

    Args:
        walk: that adds nodes.
        constants: of its step.
    """

    def __init__(self, walk: Walk, constants: Mapping[fx.Node, Tensor]) -> None:
        self.waiting: dict[fx.Node, NeurodeployError] = {}
        self._walk, self._constants = walk, constants
        self._made: dict[fx.Node, Sum] = {}

    def waits(self, node: fx.Node) -> bool:
        """Whether an operator takes what waits; it then waits, too, for the same reason."""
        reason = next((self.waiting[n] for n in node.all_input_nodes if n in self.waiting), None)
        if reason is not None:
            self.waiting[node] = reason
        return reason is not None

    def resolved(self, node: fx.Node) -> Sum:
        """The value of a node that waits, as a sum of new nodes; where there is a matrix, all of them send vectors.

        Raises:
            UnsupportedError: the piece is not affine (the first operator says why), or too large.
        """
        if node not in self._made:
            self._made[node] = self._whole(node)
        return self._made[node]

    def drop_unused(self) -> None:
        """Take away linear nodes that nothing receives, since the whole behind them was said without them."""
        walk = self._walk
        while True:
            sending = {source for source, _ in walk.edges}
            kept = {*NEURONS, "Input", "Output", "Delay"}
            unused = [n for n, made in walk.nodes.items() if n not in sending and type(made).__name__ not in kept]
            if not unused:
                return
            for name in unused:
                del walk.nodes[name]
                walk.modules.pop(name, None)
            walk.edges[:] = [(a, b) for a, b in walk.edges if b not in unused]

    def _whole(self, node: fx.Node) -> Sum:
        if tuple(node.meta["val"].shape)[:1] != (BATCH,):
            raise self.waiting[node]
        sums = self._walk.sums
        far = {n for n in sums if n.op == "placeholder" or str(n.target).startswith((OPERATOR, LATE, READ_OUT))}
        best: tuple[int, Piece, list[Found | None], list[Any]] | None = None
        for ends in (far, set(sums)):
            piece = self._piece(node, ends)
            parts = piece.parts()
            if isinstance(parts, str):
                first = self.waiting[node]
                raise type(first)(first.what, found=first.found or parts, allowed=first.allowed, hint=first.hint)
            if not piece.sources:
                raise UnsupportedError(f"{where(node)}: a value that depends on no layer")
            found = [compactly(node, part, before) for part, before in zip(parts, piece.before, strict=True)]
            entries = sum(int(np.prod(b)) * int(np.prod(piece.after))
                          for b, one in zip(piece.before, found, strict=True) if one is None)  # fmt: skip
            if best is None or entries < best[0]:
                best = (entries, piece, found, parts)
            if entries == 0:
                break
        assert best is not None
        _, piece, found, parts = best
        offset = piece.offset()
        if not holds(offset, found, piece.after):  # a constant for each value needs a matrix
            sizes = [np.inf if one is not None and one.zero else float(np.prod(b))
                     for b, one in zip(piece.before, found, strict=True)]  # fmt: skip
            found[int(np.argmin(sizes))] = None
        what = f"{where(node)}: what lies between the neurons"
        made = [one or dense(part, before, piece.after, what)
                for one, part, before in zip(found, parts, piece.before, strict=True)]  # fmt: skip
        if all(one.zero for one in made):
            raise UnsupportedError(f"{where(node)}: a value that depends on no layer", allowed="what layers send")
        return self._placed(node, piece, made, offset)

    def _piece(self, node: fx.Node, ends: set[fx.Node]) -> Piece:
        piece = Piece.of(node, ends, self._constants)
        for one in piece.operators:
            self._walk.no_potential(one)
        return piece

    def _placed(self, node: fx.Node, piece: Piece, found: Sequence[Found], offset: Array) -> Sum:
        """Nodes for the maps of all sources."""
        walk = self._walk
        vectors = any(one.matrix or (one.shape != piece.after and not one.zero) for one in found)
        left = offset if offset.any() else None
        matrix = next((i for i, one in enumerate(found) if one.matrix), None)
        holder = matrix if matrix is not None else next(i for i, one in enumerate(found) if not one.zero)
        result: dict[str, float] = {}
        for index, (source, one) in enumerate(zip(piece.sources, found, strict=True)):
            if one.zero:
                continue
            terms: Sum = walk.sums[source]
            made, bias = one.node, left if index == holder else None
            if one.matrix:
                if bias is not None:
                    made = nir.Affine(made.weight, bias.reshape(-1))  # type: ignore[union-attr]
                if not made.weight.all():  # type: ignore[union-attr]
                    put(made, {"zeros": "no synapses"})
                terms = self._flat(node, terms, shape_of(source))
            elif made is None:
                terms = {name: value * one.factor for name, value in terms.items()}
                if bias is not None:
                    offsets = bias.reshape(len(bias), -1)[:, 0]
                    made = affine_per_channel(np.full(len(bias), one.factor), offsets, piece.after)
                    terms = walk.sums[source]
            elif bias is not None:
                made = folded(made, np.ones(len(bias)), bias.reshape(len(bias), -1)[:, 0])
            if made is not None:
                terms = walk.add(node, made, terms, source=source)
            if vectors and not one.matrix:
                terms = self._flat(node, terms, one.shape)
            for name, value in terms.items():
                result[name] = result.get(name, 0.0) + value
        return result

    def _flat(self, node: fx.Node, terms: Sum, shape: Shape) -> Sum:
        """The same sum as vectors, through a Flatten."""
        if len(shape) == 1:
            return terms
        flat = nir.Flatten({"input": np.array(shape)}, 0, -1)
        name = self._walk.unique(f"{node_name(module_of(node) or node.name)}.flatten")
        return self._walk.add(node, flat, terms, name=name, shape=shape)
