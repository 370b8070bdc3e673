"""A piece of a captured step between neurons, as the fixed affine map that it is, whatever operators it is made of.

What NIR has no node for (`permute`, `roll`, `unfold`, padding by reflection, code that someone wrote) is not looked up
in a list: the whole piece between two neurons is run, in float64, and asked what it does. It must be affine in each
sample by itself, which random samples show; then, of each layer that it takes, it is

- that layer as it is, times a number; or a factor for each value (Scale);
- a convolution: the weights of one output are found by differentiating, stride and padding by those of its neighbours,
  and random samples show whether all outputs are the same;
- else a matrix, found from unit vectors.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, fx

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.nir_graph.metadata import put

from .capture import BATCH
from .fxgraph import shape_of
from .known import PICK, RESHAPES
from .matrices import LARGEST, ROUNDING

_ROWS = 256
"""Pairs of samples that are computed at once."""

Shape = tuple[int, ...]


FAR = 1e3
"""How much larger samples are on which a map must still be affine."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Operators between some layers and a value.

    Args:
        sources: what they take, in the order of the graph.
        before: shape of a sample of each.
        after: of the value.
        run: ``[BATCH, *shape]`` of each source -> ``[BATCH, *after]``, in float64.
        operators: between them.
    """

    sources: tuple[fx.Node, ...]
    before: tuple[Shape, ...]
    after: Shape
    run: Callable[..., Tensor]
    operators: tuple[fx.Node, ...]

    @staticmethod
    def of(node: fx.Node, ends: Collection[fx.Node], known: Mapping[fx.Node, Tensor]) -> Piece:
        """The piece that leads to ``node`` from the nearest of ``ends``.

        Args:
            known: constants.

        Raises:
            UnsupportedError: an operator in it takes what is none of these.
        """
        inside: set[fx.Node] = set()
        sources: set[fx.Node] = set()
        stack = [node]
        while stack:
            now = stack.pop()
            if now in inside or now in sources or now in known:
                continue
            if now in ends and now is not node:
                sources.add(now)
                continue
            inside.add(now)
            if not now.all_input_nodes:
                raise UnsupportedError("an operator on something that no layer sends", found=str(now))
            stack.extend(now.all_input_nodes)
        order = [n for n in node.graph.nodes if n in inside]
        given = [n for n in node.graph.nodes if n in sources]

        def run(*values: Tensor) -> Tensor:
            found: dict[fx.Node, Any] = {s: v.clone() for s, v in zip(given, values, strict=True)}

            def value(other: fx.Node) -> Any:
                if other not in found:
                    held = known[other].detach()
                    found[other] = held.double() if held.is_floating_point() else held.clone()
                return found[other]

            for one in order:
                args, named = fx.map_arg((one.args, dict(one.kwargs)), value)
                target = _OTHERS.get(str(one.target).rpartition(".")[0], one.target)
                named = {k: torch.float64 if v is torch.float32 else v for k, v in named.items()}
                found[one] = target(*args, **named)
            made: Tensor = found[node]
            return made if made.is_floating_point() else made.double()

        return Piece(tuple(given), tuple(map(shape_of, given)), shape_of(node), run, tuple(order))

    def parts(self) -> list[Callable[[Tensor], Tensor]] | str:
        """The piece as a linear map of each source, ``[n, *before] -> [n, *after]``; or why it is not affine."""
        rng = torch.Generator().manual_seed(0)

        def drawn() -> list[Tensor]:
            return [torch.randn(BATCH, *b, generator=rng, dtype=torch.float64) for b in self.before]

        zeros = [torch.zeros(BATCH, *b, dtype=torch.float64) for b in self.before]
        try:
            with torch.no_grad():
                offset = self.run(*zeros)
                x, y = drawn(), drawn()
                fx_, fy, mirrored = self.run(*x), self.run(*y), self.run(*[-a for a in x])
                both = self.run(*[2 * a - b / 2 for a, b in zip(x, y, strict=True)])
                turned = self.run(*[a.flip(0) for a in x])
                far = self.run(*[FAR * a for a in x])
                alone = self.run(*[torch.cat([a[:1], b[1:]]) for a, b in zip(x, y, strict=True)])
        except Exception as error:  # an operator that cannot be run by itself, or in float64
            return f"it does not run in float64: {str(error).strip().split(chr(10))[0]}"
        if offset.shape != (BATCH, *self.after) or not bool(torch.isfinite(both).all()):
            return "what it gives is not finite"
        linear = 2 * (fx_ - offset) - (fy - offset) / 2 + offset
        size = max(1.0, float(both.abs().max()), float(fx_.abs().max()))
        near = ROUNDING * size
        same = float((offset[0] - offset[1]).abs().max()) <= near
        apart = float((alone - torch.cat([fx_[:1], fy[1:]])).abs().max()) <= near
        apart = apart and float((turned.flip(0) - fx_).abs().max()) <= near
        if not (same and apart):
            return "it takes the samples of a batch together, or adds something else to each"
        odd = float((mirrored + fx_ - 2 * offset).abs().max()) <= near  # what bends at 0 alone is not
        whole = float((far - offset - FAR * (fx_ - offset)).abs().max()) <= FAR * near  # nor what bends far from it
        if not (odd and whole and float((linear - both).abs().max()) <= near):
            return "it is not linear in what arrives"
        return [self._part(zeros, place, offset) for place in range(len(self.sources))]

    def offset(self) -> Array:
        """What it gives where nothing arrives, ``[*after]``."""
        with torch.no_grad():
            made: Array = self.run(*[torch.zeros(BATCH, *b, dtype=torch.float64) for b in self.before])[0].numpy()
        return made

    def _part(self, zeros: list[Tensor], place: int, offset: Tensor) -> Callable[[Tensor], Tensor]:
        def pair(x: Tensor) -> Tensor:
            return self.run(*[x if i == place else zero for i, zero in enumerate(zeros)]) - offset

        def part(x: Tensor) -> Tensor:
            count = len(x)
            x = torch.cat([x, x.new_zeros((-count % BATCH, *x.shape[1:]))])
            pairs = x.reshape(-1, BATCH, *x.shape[1:])
            made = [_mapped(pair, some) for some in torch.split(pairs, _ROWS)]
            return torch.cat(made).reshape(-1, *self.after)[:count]

        return part


def _mapped(pair: Callable[[Tensor], Tensor], pairs: Tensor) -> Tensor:
    """A function of pairs of samples for each of many pairs; operators may hold the number 2 in their arguments."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: Tensor = torch.vmap(pair)(pairs)
        return made
    except Exception:  # an operator that writes, or that torch cannot map
        return torch.stack([pair(one) for one in pairs])


def _picked(x: Tensor, index: Tensor, shape: list[int]) -> Tensor:
    """``neurodeploy.pick``, which torch can differentiate."""
    return torch.nn.functional.pad(x.reshape(len(x), -1), (0, 1))[:, index].reshape(len(x), *shape)


_OTHERS: Mapping[str, Any] = {PICK: _picked, "aten.view": torch.reshape, "aten._unsafe_view": torch.reshape}
"""What is run in the place of operators that cannot be differentiated, or ask how numbers lie in memory."""


@dataclass(frozen=True, eq=False)
class Found:
    """What a linear map of one source is: nothing, a number, a factor for each value, a convolution, or a matrix.

    Args:
        factor: the source as it is times this number, where there is no node; 0 for nothing.
        node: without what is added.
        matrix: whether the node takes and gives vectors.
        shape: of what is given.
        first: nodes in front of `node`.
    """

    shape: Shape
    factor: float = 0.0
    node: nir.NIRNode | None = None
    matrix: bool = False
    first: tuple[nir.NIRNode, ...] = ()

    @property
    def zero(self) -> bool:
        """Whether nothing arrives."""
        return self.node is None and self.factor == 0


def compact(part: Callable[[Tensor], Tensor], before: Shape, after: Shape) -> Found | None:
    """The map without a matrix, or None."""
    x = _random(before)
    with torch.no_grad():
        y = part(x)
    near = ROUNDING * max(1.0, float(y.abs().max()))
    if not y.any():
        return Found(after)
    if before == after:
        gain = _snapped(((x * y).sum(0) / (x * x).sum(0)).numpy())
        if float((torch.from_numpy(gain) * x - y).abs().max()) <= near:
            if (gain == gain.flat[0]).all():
                return Found(after, float(gain.flat[0]))
            return Found(after, node=nir.Scale(gain))
    made = _convolution(part, before, after) if len(before) == len(after) and len(before) in (2, 3) else None
    if made is None or float((_convolved(made, x) - y).abs().max()) > near:
        return None
    return Found(after, node=made)


def compactly(node: fx.Node, part: Callable[[Tensor], Tensor], before: Shape) -> Found | None:
    """The map without a matrix, to the value of ``node``, or to what that is a reshape of."""
    for after in before_reshapes(node):
        for shape in _ranked(after, len(before)):
            found = compact(shaped(part, shape), before, shape)
            if found is not None:
                return found
    return None


def before_reshapes(node: fx.Node) -> list[Shape]:
    """The shape of a value, and those that it had before it was only reshaped."""
    found = [shape_of(node)]
    while str(node.target).rpartition(".")[0] in RESHAPES and len(node.all_input_nodes) == 1:
        node = node.all_input_nodes[0]
        value = node.meta.get("val")
        if not isinstance(value, Tensor) or tuple(value.shape)[:1] != (BATCH,):
            break
        found.append(shape_of(node))
    return found


def _ranked(shape: Shape, rank: int) -> list[Shape]:
    """The shape, and with dimensions of 1 up to a rank: a sum over channels is a convolution to one channel."""
    more = rank - len(shape)
    if more <= 0 or rank > 3:
        return [shape]
    found = [shape]
    for places in combinations(range(rank), more):
        rest = iter(shape)
        found.append(tuple(1 if d in places else next(rest) for d in range(rank)))
    return found


def shaped(part: Callable[[Tensor], Tensor], shape: Shape) -> Callable[[Tensor], Tensor]:
    return lambda x: part(x).reshape(len(x), *shape)


def holds(offset: Array, found: Sequence[Found | None], after: Shape) -> bool:
    """Whether what is added can stand in the nodes that were found: one number for each channel."""
    if not offset.any() or any(one is None for one in found):
        return True
    wide = offset.reshape(offset.shape[0], -1)
    first = next((one for one in found if one is not None and not one.zero), None)
    if any(one is not None and one.shape == (offset.size, 1, 1) for one in found):
        return True
    if first is None or not bool((wide == wide[:, :1]).all()) or first.shape != after:
        return False
    return isinstance(first.node, (nir.Conv1d, nir.Conv2d)) or (first.node is None and len(after) <= 3)


def dense(part: Callable[[Tensor], Tensor], before: Shape, after: Shape, what: str) -> Found:
    """The map as a matrix.

    Raises:
        UnsupportedError: it would be too large.
    """
    inputs, outputs = int(np.prod(before)), int(np.prod(after))
    if inputs * outputs > LARGEST:
        raise UnsupportedError(
            f"{what} is too large: NIR can only say it as a matrix",
            found=f"{list(before)} to {list(after)}: {inputs:,} x {outputs:,} entries",
            allowed=f"{LARGEST:,}",
            hint="make the image smaller, have fewer channels, or put neurons in front of and behind the layer",
        )
    matrix = np.empty((outputs, inputs))
    with torch.no_grad():
        for start in range(0, inputs, 2 * _ROWS):
            columns = np.arange(start, min(start + 2 * _ROWS, inputs))
            rows = torch.zeros(len(columns), inputs, dtype=torch.float64)
            rows[range(len(columns)), columns] = 1
            matrix[:, columns] = _snapped(part(rows.reshape(-1, *before)).reshape(-1, outputs).numpy().T)
        x = _random(before)
        right = part(x).reshape(3, -1).numpy()
    error = float(np.abs(x.reshape(3, -1).numpy() @ matrix.T - right).max())
    if error > ROUNDING * max(1.0, float(np.abs(right).max())):
        raise UnsupportedError(
            f"{what} is not linear in each sample by itself",
            allowed="sums of what arrives, times weights, for each sample of the batch apart",
        )
    return Found(after, node=nir.Linear(matrix), matrix=True)


def _convolution(part: Callable[[Tensor], Tensor], before: Shape, after: Shape) -> nir.NIRNode | None:
    """The convolution that gives the outputs in the middle; whether it gives all is for the caller to see."""
    rank = len(before) - 1
    x = torch.zeros(1, *before, dtype=torch.float64, requires_grad=True)
    try:
        y = part(x)[0]
        middle: tuple[Any, ...] = tuple(n // 2 for n in after[1:])
        rows = [_row(y[(o, *middle)], x) for o in range(after[0])]
        rng = torch.Generator().manual_seed(2)
        mixed = torch.randn(after[0], generator=rng, dtype=torch.float64)
        starts: list[list[int]] = []
        for d in range(rank):
            step = 1 if middle[d] + 1 < after[1 + d] else -1
            other: tuple[Any, ...] = tuple(m + step if i == d else m for i, m in enumerate(middle))
            row = _row((mixed * y[(slice(None), *other)]).sum(), x) if after[1 + d] > 1 else None
            found = None if row is None else _box(row)
            starts.append([step, found[d][0]] if found else [])
    except Exception:  # nothing that torch differentiates
        return None
    weight = np.stack([_snapped(row.numpy()) for row in rows])
    box = _box(torch.from_numpy(np.abs(weight).sum(0)))
    if box is None:
        return None
    kernel, strides, paddings = weight, [], []
    for d, (low, high) in enumerate(box):
        stride = (starts[d][1] - low) * starts[d][0] if starts[d] else 1
        if stride < 1:
            return None
        size, count = before[1 + d], after[1 + d]
        padding = stride * middle[d] - low
        kernel = np.take(kernel, range(low, high + 1), axis=2 + d)
        front = max(0, -padding)
        padding = max(0, padding)
        room = size + 2 * padding - stride * (count - 1)
        more = max(0, front + high - low + 1 - room)  # a last window that reaches further than the first
        front, padding, room = front + more, padding + more, room + 2 * more
        back = max(0, room - stride + 1 - (front + high - low + 1))
        kernel = np.pad(kernel, [(front, back) if a == 2 + d else (0, 0) for a in range(kernel.ndim)])
        strides.append(stride)
        paddings.append(padding)
    kernel, groups = _grouped(kernel)
    if kernel.size >= np.prod(before) * np.prod(after) and kernel.size > after[0] * before[0]:
        return None
    bias = np.zeros(after[0])
    if rank == 1:
        return nir.Conv1d(before[1], kernel, strides[0], paddings[0], 1, groups, bias)
    return nir.Conv2d((before[1], before[2]), kernel, tuple(strides), tuple(paddings), (1, 1), groups, bias)


def _random(shape: Shape) -> Tensor:
    """Three samples without values near 0."""
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x + x.sign() / 2


def _snapped(values: Array) -> Array:
    """Numbers without the rounding of taking away what a map adds: 1 for 1.0000000000000002."""
    plain = values.round(12)
    found: Array = np.where(np.abs(plain - values) <= 1e-14 * np.maximum(np.abs(values), 1), plain, values)
    return found


def channelwise(part: Callable[[Tensor], Tensor], before: Shape, after: Shape) -> list[nir.NIRNode] | None:
    """A map that does the same to each channel, as convolutions over whole channels; None where it is another.

    One that is a map of the rows and one of the columns takes two, in groups: ``[C H', 1, H, 1]`` gives every new row,
    ``[C H' W', 1, 1, W]`` every value of it, in the order of a flattened image.
    """
    if len(before) != 3 or len(after) != 3 or before[0] != after[0]:
        return None
    (channels, h, w), (_, h2, w2) = before, after
    if h * w * h2 * w2 > LARGEST:
        return None
    x = _random(before)
    with torch.no_grad():
        units = torch.eye(h * w, dtype=torch.float64).reshape(-1, 1, h, w)
        some = [part(u.expand(-1, channels, -1, -1))[:, 0].reshape(-1, h2 * w2) for u in torch.split(units, _ROWS)]
        matrix = torch.cat(some).T  # [H' W', H W]
        y = part(x).reshape(3, channels, -1)
    if float((x.reshape(3, channels, -1) @ matrix.T - y).abs().max()) > ROUNDING * max(1.0, float(y.abs().max())):
        return None
    whole = _snapped(matrix.numpy()).reshape(h2, w2, h, w)
    i, j, k, m = np.unravel_index(np.abs(whole).argmax(), whole.shape)
    rows, columns = whole[:, j, :, m], whole[i, :, k, :] / whole[i, j, k, m]
    near = ROUNDING * float(np.abs(whole).max())
    if np.abs(np.einsum("ik,jm->ijkm", rows, columns) - whole).max() <= near:
        stages = [
            ((h, w), np.tile(rows[:, None, :, None], (channels, 1, 1, 1)), channels),
            ((1, w), np.tile(columns[:, None, None, :], (channels * h2, 1, 1, 1)), channels * h2),
        ]
    else:
        stages = [((h, w), np.tile(whole.reshape(-1, 1, h, w), (channels, 1, 1, 1)), channels)]
    if sum(weight.size for _, weight, _ in stages) > LARGEST:
        return None
    made: list[nir.NIRNode] = []
    for size, weight, groups in stages:
        node = nir.Conv2d(size, weight, (1, 1), (0, 0), (1, 1), groups, np.zeros(len(weight)))
        put(node, {"zeros": "no synapses"})
        made.append(node)
    return made


def _row(value: Tensor, x: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(value, x, retain_graph=True, allow_unused=True)
    return torch.zeros_like(x)[0].detach() if found is None else found[0].detach()


def _box(row: Tensor) -> list[tuple[int, int]] | None:
    """First and last position of what is not 0, along each axis behind the channels."""
    where = row.abs() > 1e-13 * max(1e-300, float(row.abs().max()))
    if not bool(where.any()):
        return None
    found = []
    for d in range(1, row.dim()):
        lines = where.movedim(d, 0).flatten(1).any(1).nonzero().flatten()
        found.append((int(lines[0]), int(lines[-1])))
    return found


def _grouped(kernel: Array) -> tuple[Array, int]:
    """The kernel in as many groups as it falls into, without the zeros between them."""
    c_out, c_in = kernel.shape[:2]
    for groups in range(int(np.gcd(c_out, c_in)), 1, -1):
        if c_out % groups or c_in % groups:
            continue
        a, b = c_out // groups, c_in // groups
        blocks = [kernel[g * a : (g + 1) * a, g * b : (g + 1) * b] for g in range(groups)]
        if sum(np.count_nonzero(block) for block in blocks) == np.count_nonzero(kernel):
            return np.concatenate(blocks), groups
    return kernel, 1


def _convolved(made: Any, x: Tensor) -> Tensor:
    convolve: Any = torch.conv1d if isinstance(made, nir.Conv1d) else torch.conv2d
    weight = torch.from_numpy(np.ascontiguousarray(made.weight))
    result: Tensor = convolve(x, weight, None, made.stride, made.padding, 1, made.groups)
    return result
