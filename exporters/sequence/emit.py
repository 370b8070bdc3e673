"""One folded step as a graph of ATen operators, as `torch.export` gives it for a module that computes one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from operator import getitem
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from neurodeploy.errors import UnsupportedError

from ..torch_step.capture import BATCH, neuron_operator, potential_operator
from ..torch_step.fxgraph import Step, where
from .fold import Folded, call_of, chain_of
from .record import line_of
from .terms import CONSTANT, INPUT, NEURON, PICK, REDUCE, STATE, VIEW, Chain, Constant, Term


def emit(folded: Folded, read: Sequence[Chain | Term], hosted: Mapping[int, str] | None = None) -> Step:
    """The step as a graph, whose results are what is read.

    Args:
        read: neuron layers, and terms of the last step: linear layers behind the last neuron, or what a host reads.
        hosted: index of a term that a host computes -> name of the source that sends it.
    """
    writing = _Writing(folded, hosted or {})
    for chain in folded.chains:
        writing.neuron(chain)
    writing.graph.output(tuple(writing.neuron(r) if isinstance(r, Chain) else writing.read_out(r) for r in read))
    return writing.step


@dataclass(eq=False)
class _Writing:
    folded: Folded
    hosted: Mapping[int, str]
    graph: fx.Graph = field(default_factory=fx.Graph)
    step: Step = field(init=False)
    _nodes: dict[int, fx.Node] = field(default_factory=dict)
    _constants: dict[Any, fx.Node] = field(default_factory=dict)
    _neurons: dict[Chain, fx.Node] = field(default_factory=dict)
    _now: Term | None = None

    def __post_init__(self) -> None:
        self.step = Step(self.graph, {}, {})

    def neuron(self, chain: Chain) -> fx.Node:
        """The call of a neuron layer."""
        if chain not in self._neurons:
            drive = self.folded.drives[chain]
            x = self.value(drive)
            self._now = drive
            self._neurons[chain] = self._operator(neuron_operator(), (x, chain.site), (), drive.node)
        return self._neurons[chain]

    def read_out(self, term: Term) -> fx.Node:
        """A linear layer whose value is read; what neurons and inputs send is read as it is."""
        if term.op == INPUT and (term.time is None or term.time == self.folded.last):
            return self.value(term)
        if term.op in (NEURON, STATE) and call_of(term) == self.folded.last:
            return self.neuron(chain_of(term))
        made = self.value(term)
        self._now = term
        return self._operator(_read_out(), (made,), (), term.node)

    def value(self, term: Term) -> fx.Node:
        """The node of a term of the last step."""
        if term.index in self.hosted:
            return self._fed(self.hosted[term.index], term)
        if term.index not in self._nodes:
            before, self._now = self._now, term
            try:
                self._nodes[term.index] = self._made(term)
            except UnsupportedError as error:
                error.at = error.at or term
                raise
            self._now = before
        return self._nodes[term.index]

    def _made(self, term: Term) -> fx.Node:
        last = self.folded.last
        if term.op == INPUT:
            name = term.args[0] if term.args else "input"
            given = self._fed(name, term)
            late = 0 if term.time is None else last - term.time
            return given if late == 0 else self._operator(_late(), (given, name, late), (), term.node)
        if term.op in (NEURON, STATE):
            chain, late = chain_of(term), last - call_of(term)
            if term.op == STATE:
                if late:
                    raise _past_state(term)
                return self._operator(potential_operator(), (self.neuron(chain),), (), term.node)
            if late == 0:
                return self.neuron(chain)
            return self._late_neuron(chain, term, late)
        if term.op == VIEW:
            return self._operator(
                torch.ops.aten.reshape.default, (self.value(term.args[0]), [BATCH, *term.shape]), (), term.node
            )
        if term.op == PICK:
            return self._picked(term)
        if term.op in (CONSTANT, REDUCE):
            raise UnsupportedError(
                f"{where(term.node)}: a constant stands in the place of a signal" if term.op == CONSTANT
                else f"{where(term.node)}: several steps are joined in front of a neuron",
                found=str(term.args[0]) if term.op == REDUCE else "a constant, or where a state begins that is not a"
                " neuron's", allowed="what one step sends, and what earlier steps sent",
                hint="join steps behind the last neuron; let neurons alone keep states from step to step",
            )  # fmt: skip
        args, named = self._argument(term.args), tuple((k, self._argument(v)) for k, v in term.named)
        return self._operator(term.op, args, named, term.node)

    def _late_neuron(self, chain: Chain, term: Term, late: int) -> fx.Node:
        shape = torch.empty((BATCH, *term.shape), device="meta")
        node = self.graph.create_node("call_function", _late_of(), (chain.site, late), {}, name="late")
        return self._known(node, shape, term.node)

    def _fed(self, name: str, term: Term) -> fx.Node:
        """What comes from outside of the step under a name: from the user, or from a host."""
        key = ("input", name)
        if key not in self._constants:
            node = self.graph.create_node("placeholder", name, name="input" if name == "input" else "fed")
            self.step.inputs[node.name] = name
            self._constants[key] = self._known(node, torch.empty((BATCH, *term.shape), device="meta"), term.node)
        return self._constants[key]

    def _picked(self, term: Term) -> fx.Node:
        sources, which, inside = term.args
        joined = self._concatenated(sources, which, inside, term)
        if joined is not None:
            return joined
        if any(source.op == CONSTANT for source in sources):
            zeros = [not bool(s.args[0].value.any()) for s in sources if s.op == CONSTANT]
            if not all(zeros) or len(sources) - len(zeros) != 1:
                raise UnsupportedError(
                    f"{line_of(term.node)}: constants are joined to a layer", allowed="zeros around one layer"
                )
            (place,) = (i for i, source in enumerate(sources) if source.op != CONSTANT)
            inside = np.where(which == place, inside, -1)
            sources, which = (sources[place],), np.zeros_like(which)
        if len(sources) == 1:
            args = (self.value(sources[0]), torch.from_numpy(inside.astype(np.int64)), list(term.shape))
            index = self._placed(args[1], term.node)
            return self._operator(_pick(), (args[0], index, args[2]), (), term.node)
        parts = []
        for place, source in enumerate(sources):
            index = self._placed(torch.from_numpy(np.where(which == place, inside, -1).astype(np.int64)), term.node)
            parts.append(self._operator(_pick(), (self.value(source), index, list(term.shape)), (), term.node))
        total = parts[0]
        for part in parts[1:]:
            total = self._operator(torch.ops.aten.add.Tensor, (total, part), (), term.node)
        return total

    def _concatenated(self, sources: Any, which: Any, inside: Any, term: Term) -> fx.Node | None:
        """Layers one after the other along their first dimension."""
        starts = np.flatnonzero(np.diff(which, prepend=-1))
        blocks = [sources[int(which[s])] for s in starts]
        sizes = [block.size for block in blocks]
        fits = len(term.shape) > 0 and all(
            block.shape[1:] == term.shape[1:] and len(block.shape) == len(term.shape) and block.op != CONSTANT
            for block in blocks
        )
        if len(blocks) < 2 or not fits or sum(sizes) != len(which):
            return None
        if any((inside[s : s + n] != np.arange(n)).any() for s, n in zip(starts, sizes, strict=True)):
            return None
        parts = [self.value(block) for block in blocks]
        return self._operator(torch.ops.aten.cat.default, (parts, 1), (), term.node)

    def _argument(self, value: Any) -> Any:
        if isinstance(value, Term) and value.op == CONSTANT:
            return self._placed(value.args[0].value.reshape(1, *value.shape), value.node)
        if isinstance(value, Term):
            return self.value(value)
        if isinstance(value, Constant):
            if value.key not in self._constants:
                self._constants[value.key] = self._placed(value.value, None)
            return self._constants[value.key]
        if isinstance(value, (tuple, list)):
            return [self._argument(item) for item in value]
        return value

    def _placed(self, value: Tensor, origin: fx.Node | None) -> fx.Node:
        node = self.graph.create_node("placeholder", "constant", name="constant")
        self.step.constants[node] = value
        return self._known(node, value.to("meta"), origin)

    def _operator(
        self, target: Any, args: tuple[Any, ...], named: tuple[tuple[str, Any], ...], origin: fx.Node
    ) -> fx.Node:
        base = origin.name.rstrip("0123456789").rstrip("_") or "operator"
        node = self.graph.create_node("call_function", _overload(target), tuple(args), dict(named), name=base)
        values, keywords = fx.map_arg((node.args, node.kwargs), lambda n: n.meta["val"])
        with torch.no_grad():
            made = node.target(*_floats(values), **keywords)  # type: ignore[operator]
        known = self._known(node, made, origin)
        if not isinstance(made, (tuple, list)):
            return known
        first = self.graph.create_node("call_function", getitem, (known, 0), {}, name=base)
        return self._known(first, made[0], origin)

    def _known(self, node: fx.Node, value: Any, origin: fx.Node | None) -> fx.Node:
        node.meta["val"], node.meta["term"] = value, self._now
        if origin is not None:
            node.meta.update({k: origin.meta[k] for k in ("nn_module_stack", "custom") if k in origin.meta})
        return node


def _floats(values: Any) -> Any:
    """Tensors without data in one type of floats, so that operators take them together."""
    if isinstance(values, Tensor):
        return values.float() if values.is_floating_point() else values
    if isinstance(values, (tuple, list)):
        return type(values)(map(_floats, values))
    return values


def _overload(target: Any) -> Any:
    return getattr(target, "_opoverload", target)


def _past_state(term: Term) -> UnsupportedError:
    return UnsupportedError(
        f"{line_of(term.node)}: a membrane potential of an earlier step is used as a signal",
        allowed="spikes of earlier steps, or what a layer that does not spike sends",
    )


def _custom(name: str, schema: str, compute: Any, fake: Any) -> Any:
    made = torch.library.custom_op(f"neurodeploy::{name}", compute, mutates_args=(), schema=schema)
    made.register_fake(fake)
    return made


@cache
def _late() -> Any:
    return _custom(
        "late", "(Tensor x, str site, int steps) -> Tensor", lambda x, site, steps: x.clone(),
        lambda x, site, steps: torch.empty_like(x),
    )  # fmt: skip


@cache
def _late_of() -> Any:
    made = _custom(
        "late_of", "(str site, int steps) -> Tensor", lambda site, steps: torch.zeros(1),
        lambda site, steps: torch.empty(1),
    )  # fmt: skip
    return made._opoverload


@cache
def _read_out() -> Any:
    return _custom("read_out", "(Tensor x) -> Tensor", lambda x: x.clone(), lambda x: torch.empty_like(x))


@cache
def _pick() -> Any:
    def compute(x: Tensor, index: Tensor, shape: list[int]) -> Tensor:
        flat = torch.nn.functional.pad(x.reshape(len(x), -1), (0, 1))
        return flat[:, index].reshape(len(x), *shape)

    return _custom(
        "pick", "(Tensor x, Tensor index, int[] shape) -> Tensor", compute,
        lambda x, index, shape: x.new_empty((x.shape[0], *shape)),
    )  # fmt: skip
