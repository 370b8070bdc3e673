"""The terms of a recording once more, with neuron layers in place of those that are written by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array

from .fold import Matching, chain_of, leaves, reached
from .lift import Lifted, UnprovenError, as_stored, below_of, lifted, proven, replace_rule
from .memoryless import memoryless
from .operators import CASTS
from .pieces import Written, elementwise, path_of, written_by_hand
from .terms import CONSTANT, INPUT, NEURON, STATE, Chain, Constant, Term, Terms, constant_of
from .unroll import Call, Unrolled

_ATEN = torch.ops.aten


def with_neurons(
    unrolled: Unrolled, taken: Iterable[str]
) -> tuple[Unrolled, dict[str, Lifted], list[UnsupportedError]]:
    """A recording whose neurons that are written by hand are neuron layers; these by what stands for them; and why what
    else follows itself over time is no linear leaky integrate-and-fire neuron.

    Args:
        taken: paths of neuron layers that are known already.
    """
    written = written_by_hand(unrolled.terms, _live(unrolled))
    layers: list[Lifted] = []
    failed: list[UnsupportedError] = []
    for one, chain in zip(written, _chains(unrolled, written, set(taken)), strict=True):
        try:
            layers.append(lifted(one, chain))
        except UnsupportedError as error:
            failed.append(error)
    proofs: dict[Chain, _Proof] = {}
    while layers:
        try:
            made = _Rewriting(unrolled, layers, proofs)
        except _SomeUnprovenError as error:
            failed += error.of
            dropped = {one.chain for one in error.of}
            layers = [layer for layer in layers if layer.chain not in dropped]
            proofs = {chain: proof for chain, proof in proofs.items() if not proof.seen & dropped}
        else:
            return made.result, {layer.chain.site: layer for layer in made.layers}, failed
    return unrolled, {}, failed


def with_thresholds(unrolled: Unrolled) -> tuple[Unrolled, dict[str, Lifted]]:
    """A recording without other neurons whose comparisons are neuron layers without memory, and these by what stands
    for them."""
    layers = memoryless(unrolled.terms, _live(unrolled))
    if not layers:
        return unrolled, {}
    made = _Rewriting(unrolled, layers, {layer.chain: _Proof(layer, frozenset()) for layer in layers})
    return made.result, {layer.chain.site: layer for layer in made.layers}


def _roots(unrolled: Unrolled) -> list[Term]:
    """The terms of what is returned, and of what the neuron layers that are known receive."""
    roots = [t for one in unrolled.returned if isinstance(one, Tensor) for t in unrolled.terms.of(one)]
    return roots + [one for calls in unrolled.calls.values() for call in calls
                    for one in (call.x, *call.handed) if isinstance(one, Term)]  # fmt: skip


def _live(unrolled: Unrolled) -> set[int]:
    """The terms that what is returned, or what a neuron layer receives, is made of."""
    found: set[int] = set()
    stack = _roots(unrolled)
    while stack:
        term = stack.pop()
        if term.index not in found:
            found.add(term.index)
            stack += term.terms
    return found


def _chains(unrolled: Unrolled, written: list[Written], taken: set[str]) -> list[Chain]:
    """A name for each layer: of the module that it stands in, numbered where several stand there."""
    counts: dict[str, int] = {}
    found, graded = [], _Graded(unrolled)
    for one in written:
        path = one.path or "neuron"
        path = f"{path}.spikes" if path in taken or graded.sends(one) else path
        counts[path] = counts.get(path, 0) + 1
        found.append(Chain(path, counts[path]))
    return found


class _Graded:
    """Which modules send something else than the spikes of the layer in them: spikes of another height, say."""

    def __init__(self, unrolled: Unrolled) -> None:
        self._returned = {t.index for one in unrolled.returned if isinstance(one, Tensor)
                          for t in unrolled.terms.of(one)}  # fmt: skip
        self._inside: dict[str, list[Term]] = {}
        self._users: dict[int, list[Term]] = {}
        for term in unrolled.terms.found:
            if elementwise(term):
                self._inside.setdefault(path_of(term), []).append(term)
            for one in term.terms:
                self._users.setdefault(one.index, []).append(term)

    def sends(self, written: Written) -> bool:
        """Whether the module that a layer stands in is one."""
        if not written.path:
            return False
        inside = self._inside.get(written.path, [])
        of_spikes = {written.spikes[-1].index}
        itself = set(of_spikes)
        for term in inside:
            parts = [one for one in term.terms if one.op != CONSTANT]
            if parts and all(one.index in of_spikes for one in parts):
                of_spikes.add(term.index)
                itself |= {term.index} if term.name in CASTS and parts[0].index in itself else set()
        within = {term.index for term in inside}
        return any(index in self._returned or any(user.index not in within for user in self._users.get(index, ()))
                   for index in of_spikes - itself)  # fmt: skip


class _SomeUnprovenError(Exception):
    """Layers whose rule is not that of all their steps: they are no neurons, and all terms are made without them."""

    def __init__(self, of: list[UnprovenError]) -> None:
        super().__init__(of)
        self.of = of


@dataclass(frozen=True, eq=False)
class _Proof:
    """A layer whose rule is that of all its steps, as long as the chains that were ``seen`` are neurons."""

    layer: Lifted
    seen: frozenset[Chain]


@dataclass(eq=False)
class _Rewriting:
    """Makes all terms again, in order.

    Args:
        proofs: of layers, from before; those that are new are added.

    Raises:
        _SomeUnprovenError: of which layers that cannot be done.
    """

    unrolled: Unrolled
    layers: list[Lifted]
    proofs: dict[Chain, _Proof]
    terms: Terms = field(default_factory=Terms)

    def __post_init__(self) -> None:
        self._made: dict[int, Term] = {}
        self._at = {one.written.spikes[t].index: (place, t)
                    for place, one in enumerate(self.layers) for t in range(len(one.written.spikes))}  # fmt: skip
        self._states: dict[int, tuple[int, int, tuple[Array, Array, Array]]] = {}
        self._starts: dict[int, tuple[int, tuple[Array, Array, Array]]] = {}
        self.layers = self._proven()
        self._find_states()
        self._again()
        self.result = self._rewritten()

    def _again(self) -> None:
        self.terms, self._made = Terms(), {}
        for term in self.unrolled.terms.found:
            self._made[term.index] = self._term(term)

    def _one_again(self, term: Term) -> Term:
        """A term made again with what it is made of, and nothing else."""
        stack = [term]
        while stack:
            one = stack[-1]
            neuron = one.index in self._at or one.index in self._made
            missing = [] if neuron else [t for t in one.terms if t.index not in self._made]
            if missing:
                stack += missing
                continue
            if one.index not in self._made:
                self._made[one.index] = self._term(one)
            stack.pop()
        return self._made[term.index]

    def _term(self, term: Term) -> Term:
        if term.index in self._at:
            place, step = self._at[term.index]
            return self._outcome(self.layers[place], self._neuron(place, step), term)
        if term.index in self._states:
            place, step, parts = self._states[term.index]
            return self._state(place, step, parts, term)
        args = self._again_of(term.args)
        if term.name in CASTS and args[0].op == NEURON and term.node.meta["val"].is_floating_point():
            sent: Term = args[0]  # spikes are numbers
            return sent
        more = {"key": None, "time": term.time, "named": self._again_of(term.named)}
        return self.terms.make(term.op, args, term.shape, term.samples, term.node, **more)

    def _again_of(self, value: Any) -> Any:
        if isinstance(value, Term):
            return self._made[value.index]
        if isinstance(value, (tuple, list)):
            return type(value)(map(self._again_of, value))
        return value

    def _neuron(self, place: int, step: int) -> Term:
        spike = self.layers[place].written.spikes[step]
        return self.terms.make(NEURON, (self.layers[place].chain,), spike.shape, spike.samples, spike.node, time=step)

    def _outcome(self, layer: Lifted, neuron: Term, term: Term) -> Term:
        low, high = layer.outcome
        if (low, high) == (0.0, 1.0):
            return neuron
        return self._sum([(high - low, neuron)], low, term)

    def _state(self, place: int, step: int, parts: tuple[Array, Array, Array], term: Term) -> Term:
        neuron = self._neuron(place, step)
        state = self.terms.make(STATE, (neuron, "v"), neuron.shape, neuron.samples, term.node)
        slope, of_spike, offset = parts
        return self._sum([(slope, state), (of_spike, neuron)], offset, term)

    def _sum(self, parts: list[tuple[Any, Term]], offset: Any, like: Term) -> Term:
        """A weighted sum of terms and a constant; what is nothing is left out."""
        total: Term | None = None
        for weight, part in parts:
            if not np.any(weight):
                continue
            if not np.all(np.asarray(weight) == 1):
                part = self._operator(_ATEN.mul.Tensor, part, self._constant(weight), like)
            total = part if total is None else self._operator(_ATEN.add.Tensor, total, part, like)
        if total is None:
            total = self._operator(_ATEN.mul.Tensor, parts[0][1], self._constant(0.0), like)
        return self._operator(_ATEN.add.Tensor, total, self._constant(offset), like) if np.any(offset) else total

    def _operator(self, op: Any, first: Term, second: Term | Constant, like: Term) -> Term:
        samples = max(first.samples, second.samples if isinstance(second, Term) else 1)
        return self.terms.make(op, (first, second), like.shape, samples, like.node)

    def _constant(self, value: Any) -> Constant:
        array = np.asarray(value, np.float64)
        if array.size and (array == array.flat[0]).all():
            array = np.asarray(array.flat[0])
        return constant_of(torch.from_numpy(np.array(array)))

    # What drives a layer

    def _proven(self) -> list[Lifted]:
        failed = list[UnprovenError]()
        matching = Matching(self.unrolled)
        for layer in self.layers:
            if layer.chain not in self.proofs:
                try:
                    met = self._find_first_drives(layer, matching)
                    self.proofs[layer.chain] = _Proof(proven(layer), frozenset(map(chain_of, met)))
                except UnprovenError as error:
                    failed.append(error)
        if failed:
            raise _SomeUnprovenError(failed)
        return [self.proofs[layer.chain].layer for layer in self.layers]

    def _find_first_drives(self, layer: Lifted, matching: Matching) -> list[Term]:
        """Note what drives the layer in steps that are not written as the last one is; return the neurons met."""
        met: list[Term] = []

        def same(reference: Term, other: Term, shift: int) -> bool:
            a, b = self._one_again(reference), self._one_again(other)
            met.extend((a, b))
            return matching.same(a, b, shift)

        last = len(layer.drives) - 1
        for step, row in enumerate(layer.drives[:-1]):
            for number, reference in enumerate(layer.drives[-1]):
                assert reference is not None
                there = row[number]
                if isinstance(there, Term) and same(reference, there, last - step):
                    continue
                spike = layer.written.spikes[step]
                inside, ends = below_of(spike, set())
                others = (one for one in [*ends, *inside] if one.op != CONSTANT and one is not spike)
                found = (one for one in others if reached(self._one_again(one)) and same(reference, one, last - step))
                row[number] = next(found, None)
        return [leaf for leaf in leaves(*met) if leaf.op != INPUT]

    def _drive(self, layer: Lifted, step: int) -> Term | Constant:
        rule, spike = layer.rule, layer.written.spikes[step]
        parts = [(1.0 if rule.common else gain, self._made[one.index])
                 for gain, one in zip(rule.gains, layer.drives[step], strict=True) if one is not None]  # fmt: skip
        added = rule.added
        if not parts:
            return constant_of(torch.zeros(spike.shape, dtype=torch.float64) + (0 if added is None else _tensor(added)))
        return self._sum(parts, 0.0 if added is None else added, spike)

    # Potentials

    def _find_states(self) -> None:
        """The terms outside of the layers that are potentials, or functions of them and of the spike."""
        self._arriving = [{one.index for drive in layer.drives[0] if drive is not None
                           for one in (drive, *below_of(drive, set())[0])} for layer in self.layers]  # fmt: skip
        labels = self._labels()
        for place, layer in enumerate(self.layers):
            if layer.rule.reset == "hard" and layer.rule.reset_time == "now":
                late = replace_rule(layer, replace(layer.rule, reset_time="next"))
                (_, missed), (_, other) = (self._used(labels, {place: one}) for one in (layer, late))
                self.layers[place] = late if other < missed else layer
        self._states, _ = self._used(labels, dict(enumerate(self.layers)))
        for place, layer in enumerate(self.layers):
            first = layer.potentials[0]
            if isinstance(first, Term) and (first.index in self._arriving[place] or not elementwise(first)):
                parts = as_stored(layer, first, 0)
                if parts is not None:
                    self._starts[first.index] = (place, parts)

    def _labels(self) -> dict[int, tuple[int, int]]:
        """Terms that depend on nothing but the potential or the spike of one step -> layer and step.

        What arrives in the first step may be the potential at once: it stays what arrives.
        """
        potentials = {one.index: (place, step) for place, layer in enumerate(self.layers)
                      for step, one in enumerate(layer.potentials) if isinstance(one, Term)}  # fmt: skip
        found, plain = self._labelled(potentials), self._labelled({})
        for index, (place, _) in list(found.items()):
            if index in self._arriving[place]:
                del found[index]
                found |= {index: plain[index]} if index in plain else {}
        return found

    def _labelled(self, potentials: Mapping[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
        found: dict[int, tuple[int, int]] = {}
        for term in self.unrolled.terms.found:
            if term.index in potentials or term.index in self._at:
                found[term.index] = potentials.get(term.index) or self._at[term.index]
            elif elementwise(term):
                parts = [one for one in term.terms if one.op != CONSTANT]
                if parts and len({found.get(one.index) for one in parts}) == 1 and parts[0].index in found:
                    found[term.index] = found[parts[0].index]
        return found

    def _used(
        self, labels: dict[int, tuple[int, int]], layers: dict[int, Lifted]
    ) -> tuple[dict[int, tuple[int, int, tuple[Array, Array, Array]]], int]:
        """What outside of these layers is made of their potentials, and how many of them cannot be said so.

        Where one of the layers holds another potential, what is returned or drives a layer is looked through.
        """
        roots = _roots(self.unrolled)
        roots += [one for layer in self.layers for row in layer.drives for one in row if one is not None]
        found: dict[int, tuple[int, int, tuple[Array, Array, Array]]] = {}
        seen, missed = set(self._at), 0
        while roots:
            term = roots.pop()
            if term.index in seen:
                continue
            seen.add(term.index)
            place, step = labels.get(term.index, (-1, -1))
            if place in layers and elementwise(term):
                parts = as_stored(layers[place], term, step)
                if parts is not None:
                    found[term.index] = (place, step, parts)
                    continue
                missed += 1
            roots += term.terms
        return found, missed

    # The result

    def _rewritten(self) -> Unrolled:
        result = Unrolled(self.terms)
        for chain, calls in self.unrolled.calls.items():
            result.calls[chain] = [
                replace(call, term=self._made[call.term.index], x=self._again_of(call.x),
                        handed=self._again_of(call.handed)) for call in calls
            ]  # fmt: skip
        for place, layer in enumerate(self.layers):
            result.calls[layer.chain] = [
                Call(self._neuron(place, step), self._drive(layer, step), (), False, spike.node)
                for step, spike in enumerate(layer.written.spikes)
            ]
        for one in self.unrolled.returned:
            result.returned.append(self._ids(one) if isinstance(one, Tensor) else one)
        return result

    def _ids(self, ids: Tensor) -> Tensor:
        """Identities of what is returned."""
        old = self.unrolled.terms
        numbers, _, _ = old.decode(ids.numpy())
        present = {int(n) for n in np.unique(numbers)}
        made = torch.empty_like(ids)
        for number in present:
            term = old.found[number]
            new = self._made[number]
            if number in self._starts:
                place, parts = self._starts[number]
                later = {i for i, (p, step, _) in self._states.items() if p == place and step}
                if later & present:
                    new = self._state(place, 0, parts, term)
            if new.samples != term.samples or new.shape != term.shape:
                raise UnsupportedError("what is returned cannot be followed through a neuron written by hand")
            where = torch.from_numpy(numbers == number)
            made[where] = ids[where] - term.first + new.first
        return made


def _tensor(value: Array) -> Tensor:
    return torch.from_numpy(np.array(value))
