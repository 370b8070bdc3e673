"""What takes several steps at once, as attention over time does: stages between phases, or in front of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.host import When

from ...torch_step.fxgraph import module_of
from ...usage import HostCut
from ..fold import Matching, chain_of, needed
from ..pieces import COMPARISONS
from ..record import line_of
from ..terms import CONSTANT, INPUT, NEURON, PICK, REDUCE, STATE, Chain, Term, Terms
from ..unroll import Unrolled
from .cut import CutError, Values, minimum_cut
from .regions import NUMBER, Classes, bits, consumed, leaf, linear, times, when, within, work
from .stage import Cutout, Giving, Reading, grouped, of_leaf, same_in_each_step


@dataclass(frozen=True, eq=False)
class Phases:
    """A recording whose parts that take several steps at once are inputs.

    Args:
        unrolled: the recording.
        stages: what makes these inputs.
        moved: index of a term of the recording as it was -> the same in `unrolled`; empty where nothing was cut.
    """

    unrolled: Unrolled
    stages: tuple[Cutout, ...]
    moved: Mapping[int, Term] = field(default_factory=dict)


def phases(unrolled: Unrolled, host: HostCut = "bits") -> Phases:
    """Cut a recording at what takes several steps at once.

    Args:
        host: how it is cut.

    Raises:
        UnsupportedError: a value of it that is not one for each step; names the line.
    """
    chains = needed(unrolled)
    steps = max((len(unrolled.calls[chain]) for chain in chains), default=0)
    roots: dict[int, list[Term]] = {}
    for chain in chains:
        for step, call in enumerate(unrolled.calls[chain]):
            roots.setdefault(step, []).extend([call.x] if isinstance(call.x, Term) else [])
    cutting = _Cutting(unrolled, roots, steps, host)
    if not cutting.forced:
        return Phases(unrolled, ())
    stages, hosted = cutting.cut()
    again, moved = _with_inputs(unrolled, hosted)
    return Phases(again, tuple(stages), moved)


def behind(unrolled: Unrolled, name: str, root: Term, steps: int, host: HostCut = "bits") -> Cutout:
    """The stage behind the last step that gives a value to the user.

    Args:
        root: what it gives.
        host: how it is cut.

    Raises:
        UnsupportedError: it is made of what nobody sends.
    """
    cutting = _Cutting(unrolled, {steps - 1: [root]}, steps, host)
    cutting.forced = {cutting.classes.of[root.index]}
    stages, _ = cutting.cut("behind", name)
    return stages[0]


class _Cutting:
    """The values in front of the neurons, by classes.

    Args:
        unrolled: the recording.
        roots: what neurons take, by step.
        steps: of the recording.
        host: how they are cut.
    """

    def __init__(self, unrolled: Unrolled, roots: Mapping[int, Sequence[Term]], steps: int, host: HostCut) -> None:
        self.unrolled, self.roots, self.steps, self.host = unrolled, roots, steps, host
        self.all = [one for step in roots.values() for one in step]
        self.terms = within(self.all)
        self.first = consumed(roots)
        self.classes = Classes(self.terms)
        self.matching = Matching(unrolled)
        self._times = {term.index: times(term) for term in self.terms}
        self.forced = {self.classes.of[term.index] for term in self.terms if self._joins(term)}
        for key, members in self.classes.members.items():
            if len(members) > 1 and all(m.op == PICK and not self._times[m.index] for m in members):
                self.forced |= {key} if len(_picks(members)) > 1 else set()  # of a static input, another a step
        self.forced |= self._too_early()
        self._gentle = False

    def _merge(self) -> None:
        """What a neuron takes in each step is one class, where it lies behind what the host computes in some: a state
        that begins with a constant makes other operators of the first step."""
        behind_ = {term.index for term in self.terms if self.classes.of[term.index] in self.forced}
        for term in self.terms:
            if not leaf(term) and any(one.index in behind_ for one in term.terms):
                behind_.add(term.index)
        for line in zip(*self.roots.values(), strict=False) if len({*map(len, self.roots.values())}) == 1 else ():
            if any(one.index in behind_ for one in line) and not any(map(leaf, line)):
                merged = self.classes.merge(line)
                self.forced = {merged if key in self.classes.gone else key for key in self.forced}

    def _joins(self, term: Term) -> bool:
        """Whether a value takes steps together that no delays bring together."""
        if term.op == REDUCE:
            return True
        at = self._times[term.index]
        if term.op != PICK or len(at) < 2:
            return False
        whole = self.steps > 2 and {0, self.steps - 1} <= at
        return whole or max(at) > self.first[term.index]

    def _too_early(self) -> set[int]:
        """Classes of what takes a later step than the neurons that it reaches without the host: time reversed."""
        open_ = consumed(self.roots, lambda term: leaf(term) or self.classes.of[term.index] in self.forced)
        found = set()
        for term in self.terms:
            now = open_.get(term.index)
            if now is None or leaf(term) or self.classes.of[term.index] in self.forced:
                continue
            if any(leaf(one) and (when(one) or 0) > now for one in term.terms):
                found.add(self.classes.of[term.index])
        return found

    def cut(self, schedule: When | None = None, name: str = "") -> tuple[list[Cutout], dict[int, tuple[str, Any]]]:
        """The stages; and what they give to the chip: index of a term -> name of the source, and step.

        First with all that is not linear behind them, up to the neurons, which takes the fewest barriers; where such a
        stage would wait for what it feeds, as a gate by the last spikes does, without.
        """
        before = set(self.forced)
        if schedule is None:
            self._merge()
        found = self._cut(schedule, name)
        if schedule is None and self._waits_for_itself(found[0]):
            self._gentle, self.classes, self.forced = True, Classes(self.terms), before
            found = self._cut(schedule, name)
        return found

    def _waits_for_itself(self, stages: Sequence[Cutout]) -> bool:
        """Whether a stage reads a neuron that hears of what it gives."""
        heard: dict[Chain, set[Chain]] = {}
        feeds: dict[int, set[Chain]] = {}
        for chain, calls in self.unrolled.calls.items():
            inside = [t for call in calls if isinstance(call.x, Term) for t in within([call.x])]
            heard[chain] = {chain_of(t) for t in inside if t.op in (NEURON, STATE)}
            for term in inside:
                feeds.setdefault(term.index, set()).add(chain)
        for _ in heard:
            for chain, own in heard.items():
                heard[chain] = own.union(*(heard.get(other, set()) for other in own))
        for stage in stages:
            reads = {chain_of(t) for one in stage.reads for t in within([one.term]) if t.op in (NEURON, STATE)}
            fed = {chain for one in stage.gives for t in one.terms.values() for chain in feeds.get(t.index, set())}
            if any(chain in heard.get(read, set()) | {read} for read in reads for chain in fed):
                return True
        return False

    def _cut(self, schedule: When | None, name: str) -> tuple[list[Cutout], dict[int, tuple[str, Any]]]:
        values = self._values()
        try:
            cut = minimum_cut(values, self.host)
        except CutError as error:
            line = line_of(self.classes.members[next(iter(self.forced))][0].node)
            raise UnsupportedError(
                f"{line}: what the host computes there takes a state that no chip sends",
                allowed="spikes and potentials",
            ) from error
        self._no_neuron([term for key in cut.host for term in self.classes.members[key]])  # type: ignore[index]
        reads = set(cut.reads)
        parts: list[tuple[When, tuple[Reading, ...], Giving, Any]] = []
        hosted: dict[int, tuple[str, Any]] = {}
        for number, key in enumerate(cut.gives):
            assert isinstance(key, int)
            giving = self._giving(key, name or f"{self._path(key)}.{number}")
            own = within(giving.terms.values(), lambda t: leaf(t) or self.classes.of[t.index] in reads)
            taken = dict.fromkeys(self.classes.of[t.index] for t in own if self.classes.of[t.index] in reads)
            readings = tuple(self._reading(one) for one in taken if self.classes.members[one][0].op != CONSTANT)
            if not readings:
                raise UnsupportedError("a value that the host computes depends on nothing of the network")
            outside = all(one.term.op == INPUT for one in readings)
            how: When = schedule or ("before" if outside else "phase")
            parts.append((how, readings, giving, self.classes.members[key][-1].node))
            for step, term in giving.terms.items():
                hosted[term.index] = (giving.name, None if step < 0 else step)
        return grouped(parts, self.steps), hosted

    @staticmethod
    def _no_neuron(hosted: Sequence[Term]) -> None:
        """Refuse comparisons that go on from earlier ones of the same line: a neuron that was not understood."""
        compared = {t.index: (t.name, line_of(t.node)) for t in hosted if t.name in COMPARISONS}
        for term in hosted:
            own = compared.get(term.index)
            if own is None or not own[1]:
                continue
            if any(compared.get(one.index) == own for one in within([term]) if one is not term):
                raise UnsupportedError(
                    f"{own[1]}: a neuron that is written by hand is not understood", found="what no rule says",
                    allowed="a linear leaky integrate-and-fire neuron, or one of a framework",
                    hint="no host computes neurons; write it as docs: export your own neurons",
                )  # fmt: skip

    def _path(self, key: int) -> str:
        path = module_of(self.classes.members[key][-1].node)
        return f"{path}.host" if path else "host"

    def _values(self) -> Values:
        values = Values(forced=set(self.forced))
        for key, members in self.classes.members.items():
            args = dict.fromkeys(self.classes.of[t.index] for m in members if not leaf(m) for t in m.terms)
            values.args[key] = tuple(args)
            last = members[-1]
            values.work[key] = work(last)
            values.down[key] = NUMBER * last.size
            values.up[key] = bits(last) if leaf(last) else NUMBER * last.size if self._sendable(members) else None
            if len(_picks(members)) > 1 or not (self._gentle or all(leaf(m) or linear(m) for m in members)):
                values.bent.add(key)
        values.drives = {self.classes.of[one.index] for one in self.all}
        return values

    def _sendable(self, members: Sequence[Term]) -> bool:
        """Whether the chip's synapses can make a value in every step."""
        if not all(linear(one) for one in within(members) if not leaf(one)):
            return False
        last = max(members, key=lambda t: max(self._times[t.index], default=-1))
        return same_in_each_step(self.matching, members, last, self.steps) is not None

    def _reading(self, key: int) -> Reading:
        members = self.classes.members[key]
        if leaf(members[0]):
            at = of_leaf(members)
            return Reading(max(members, key=lambda t: at[t.index]), at)
        last = max(members, key=lambda t: max(self._times[t.index], default=-1))
        each = same_in_each_step(self.matching, members, last, self.steps)
        assert each is not None
        return Reading(last, each)

    def _giving(self, key: int, name: str) -> Giving:
        members = self.classes.members[key]
        if len(members) == 1 and (self.steps > 1 or members[0] in self.all):
            return Giving(name, members[0].shape, {-1: members[0]})
        at = {self.first[term.index]: term for term in members}
        if len(at) < len(members):
            raise UnsupportedError(
                f"{line_of(members[0].node)}: what is computed over time is not one value for each step",
                found=f"{len(members)} values, taken in {len(at)} steps", allowed="one for each step, or one for all",
            )  # fmt: skip
        return Giving(name, members[0].shape, at)


def _picks(members: Sequence[Term]) -> set[tuple[bytes, bytes]]:
    """Which places these terms take of others."""
    return {(m.args[1].tobytes(), m.args[2].tobytes()) for m in members if m.op == PICK}


def _with_inputs(unrolled: Unrolled, hosted: Mapping[int, tuple[str, Any]]) -> tuple[Unrolled, dict[int, Term]]:
    """The recording with inputs in the place of some terms; and what became of each term."""
    old, made = unrolled.terms, dict[int, Term]()
    terms = Terms()

    def again(value: Any) -> Any:
        if isinstance(value, Term):
            return made[value.index]
        if isinstance(value, (tuple, list)):
            return type(value)(map(again, value))
        return value

    for term in old.found:
        if term.index in hosted:
            name, step = hosted[term.index]
            made[term.index] = terms.make(INPUT, (name,), term.shape, term.samples, term.node, time=step)
            continue
        kept = {"time": term.time, "named": again(term.named)}
        made[term.index] = terms.make(term.op, again(term.args), term.shape, term.samples, term.node, **kept)
    result = Unrolled(terms)
    for chain, calls in unrolled.calls.items():
        result.calls[chain] = [
            replace(call, term=made[call.term.index], x=again(call.x), handed=again(call.handed)) for call in calls
        ]
    result.returned = [_ids(one, old, made) if isinstance(one, Tensor) else one for one in unrolled.returned]
    return result, made


def _ids(ids: Tensor, old: Terms, made: Mapping[int, Term]) -> Tensor:
    numbers = old.decode(ids.numpy())[0]
    result = torch.empty_like(ids)
    for number in np.unique(numbers):
        term = old.found[int(number)]
        where = torch.from_numpy(numbers == number)
        result[where] = ids[where] - term.first + made[term.index].first
    return result
