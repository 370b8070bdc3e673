"""What no operator of a step says alone: the whole between neurons, as layers of NIR (`pieces` finds what it is).

An operator that NIR has nothing for waits, and so does all that takes what it gives; where it reaches a neuron or a
result, the whole piece in front of that becomes nodes, or is refused in the words of its first operator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import nir
import numpy as np
from torch import Tensor, fx

from neurodeploy.errors import NeurodeployError, UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.nir_graph.metadata import put, section_of
from neurodeploy.nir_graph.shapes import NEURONS

from .capture import BATCH, OPERATOR, node_name
from .fxgraph import module_of, shape_of, where
from .known import LATE, READ_OUT
from .layers import affine_per_channel, folded
from .pieces import Found, Piece, Shape, before_reshapes, channelwise, compactly, dense, holds, shaped
from .walking import Sum, Walking

SMALL = 1 << 20
"""Entries up to which a matrix is written without looking for another form."""


class Whole:
    """The values of a walk that wait for their whole.

    Args:
        walk: that adds nodes.
        constants: of its step.
    """

    def __init__(self, walk: Walking, constants: Mapping[fx.Node, Tensor]) -> None:
        self.waiting: dict[fx.Node, NeurodeployError] = {}
        self._walk, self._constants = walk, constants
        self._made: dict[fx.Node, Sum] = {}

    def waits(self, node: fx.Node) -> bool:
        """Whether an operator takes what waits; it then waits, too, for the same reason."""
        reason = next((self.waiting[n] for n in node.all_input_nodes if n in self.waiting), None)
        if reason is not None:
            self.wait(node, reason)
        return reason is not None

    def wait(self, node: fx.Node, reason: NeurodeployError) -> None:
        """Note that NIR has nothing for an operator, and why; unless it is a known layer in other words."""
        self.waiting[node] = reason
        self._settles(node)

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

    def _settles(self, node: fx.Node) -> bool:
        """Whether a value that waits is a node after all: it then waits no more, and what is behind it is not whole."""
        if not _batched(node):
            return False
        try:
            piece = self._piece(node, set(self._walk.sums))
        except UnsupportedError:
            return False
        parts = piece.parts()
        if isinstance(parts, str) or not piece.sources:
            return False
        found = self._compact(node, piece, parts)
        flat = len(piece.after) == 1
        if flat and not holds(piece.offset(), found, piece.after):
            return False
        if flat:
            found = [one or self._chain(node, part, before)
                     for one, part, before in zip(found, parts, piece.before, strict=True)]  # fmt: skip
        made = [one for one in found if one is not None and (flat or one.zero or one.shape == piece.after)]
        if len(made) < len(found) or all(one.zero for one in made) or not holds(piece.offset(), made, piece.after):
            return False
        del self.waiting[node]
        self._walk.sums[node] = self._placed(node, piece, made, piece.offset())
        return True

    def _whole(self, node: fx.Node) -> Sum:
        if not _batched(node):
            raise self.waiting[node]
        sums = self._walk.sums
        tried: list[tuple[int, int, Piece, list[Found | None], list[Any]]] = []
        layers = (OPERATOR, LATE, READ_OUT)
        far = {n for n in sums if n.op == "placeholder" or str(n.target).startswith(layers) or self._walk.joined(n)}
        for ends in (far, set(sums)):
            piece = self._piece(node, ends)
            parts = piece.parts()
            if isinstance(parts, str):
                first = self.waiting[node]
                raise first.again(found=first.found or parts)
            if not piece.sources:
                raise UnsupportedError(f"{where(node)}: a value that depends on no layer")
            found = self._compact(node, piece, parts)
            entries = sum(int(np.prod(b)) * int(np.prod(piece.after))
                          for b, one in zip(piece.before, found, strict=True) if one is None)  # fmt: skip
            tried.append((entries, len(tried), piece, found, parts))
            if entries == 0:
                break
        failed: NeurodeployError | None = None
        for _, _, piece, found, parts in sorted(tried, key=lambda one: one[:2]):
            try:
                return self._made_of(node, piece, found, parts)
            except UnsupportedError as error:
                failed = failed or error
        assert failed is not None
        raise failed

    def _made_of(self, node: fx.Node, piece: Piece, found: list[Found | None], parts: list[Any]) -> Sum:
        offset = piece.offset()
        if not holds(offset, found, piece.after):  # a constant for each value needs a matrix
            sizes = [np.inf if one is not None and one.zero else float(np.prod(b))
                     for b, one in zip(piece.before, found, strict=True)]  # fmt: skip
            found[int(np.argmin(sizes))] = None
        what = f"{where(node)}: what lies between the neurons"
        made = [one or self._chain(node, part, before) or dense(part, before, piece.after, what)
                for one, part, before in zip(found, parts, piece.before, strict=True)]  # fmt: skip
        if all(one.zero for one in made):
            raise UnsupportedError(f"{where(node)}: a value that depends on no layer", allowed="what layers send")
        return self._placed(node, piece, made, offset)

    @staticmethod
    def _compact(node: fx.Node, piece: Piece, parts: Sequence[Any]) -> list[Found | None]:
        return [compactly(node, part, before) for part, before in zip(parts, piece.before, strict=True)]

    @staticmethod
    def _chain(node: fx.Node, part: Any, before: Shape) -> Found | None:
        """A large map that is the same in all channels, as convolutions over whole channels."""
        if int(np.prod(before)) * int(np.prod(shape_of(node))) <= SMALL:
            return None
        for shape in before_reshapes(node):
            nodes = channelwise(shaped(part, shape), before, shape)
            if nodes is not None:
                return Found((int(np.prod(shape)), 1, 1), node=nodes[-1], first=tuple(nodes[:-1]))
        return None

    def _piece(self, node: fx.Node, ends: set[fx.Node]) -> Piece:
        tensors = {end for end in ends if isinstance(end.meta.get("val"), Tensor)}  # not maxima with their positions
        piece = Piece.of(node, tensors, self._constants)
        for one in piece.operators:
            self._walk.no_potential(one, next((user for user in piece.operators if one in user.all_input_nodes), node))
        return piece

    def _placed(self, node: fx.Node, piece: Piece, found: Sequence[Found], offset: Array) -> Sum:
        """Nodes for the maps of all sources."""
        vectors = any(one.matrix or (one.shape != piece.after and not one.zero) for one in found)
        left = offset if offset.any() else None
        wide = [i for i, one in enumerate(found) if one.matrix or one.shape == (offset.size, 1, 1)]
        holder = wide[0] if wide else next(i for i, one in enumerate(found) if not one.zero)
        result: dict[str, float] = {}
        for index, (source, one) in enumerate(zip(piece.sources, found, strict=True)):
            if one.zero:
                continue
            terms = self._term(node, source, one, left if index == holder else None)
            if vectors and not one.matrix:
                terms = self._flat(node, terms, one.shape)
            for name, value in terms.items():
                result[name] = result.get(name, 0.0) + value
        return result

    def _term(self, node: fx.Node, source: fx.Node, one: Found, bias: Array | None) -> Sum:
        """Nodes for the map of one source, with what is added."""
        walk, made = self._walk, one.node
        terms: Sum = walk.sums[source]
        each = None if bias is None else bias.reshape(one.shape[0], -1)[:, 0]
        if one.matrix:
            if bias is not None:
                made = nir.Affine(made.weight, bias.reshape(-1))  # type: ignore[union-attr]
            if not made.weight.all():  # type: ignore[union-attr]
                put(made, {"zeros": "no synapses"})
            terms = self._flat(node, terms, shape_of(source))
        elif made is None and each is None:
            return {name: value * one.factor for name, value in terms.items()}
        elif made is None:
            made = affine_per_channel(np.full(len(each), one.factor), each, one.shape)  # type: ignore[arg-type]
        elif each is not None:
            rules = section_of(made)
            made = folded(made, np.ones(len(each)), each)
            put(made, dict(rules))
        shape: Shape = shape_of(source)
        base = node_name(module_of(node) or node.name)
        for stage in one.first:
            terms = walk.add(node, stage, terms, name=walk.unique(f"{base}.rows"), shape=shape)
            shape = (len(stage.weight), 1, shape[2])
        return walk.add(node, made, terms, shape=shape)

    def _flat(self, node: fx.Node, terms: Sum, shape: Shape) -> Sum:
        """The same sum as vectors, through a Flatten."""
        if len(shape) == 1:
            return terms
        flat = nir.Flatten({"input": np.array(shape)}, 0, -1)
        name = self._walk.unique(f"{node_name(module_of(node) or node.name)}.flatten")
        return self._walk.add(node, flat, terms, name=name, shape=shape)


def _batched(node: fx.Node) -> bool:
    """Whether a value is one tensor of samples; `split` and the like give several."""
    value = node.meta.get("val")
    return isinstance(value, Tensor) and tuple(value.shape)[:1] == (BATCH,)
