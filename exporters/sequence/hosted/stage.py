"""A stage of the host as it is cut out of a recording, before the nodes around it have names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, fx

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.network.host import When

from ..computed import Computing
from ..fold import Matching
from ..record import line_of
from ..terms import INPUT, NEURON, STATE, Term
from .onnx_graph import Port
from .onnx_model import to_onnx
from .regions import times
from .regions import when as step_of


@dataclass(frozen=True, eq=False)
class Reading:
    """What a stage reads.

    Args:
        term: the value in the last step.
        each: the same in every step, for a stage that takes all of them: index of the term -> step.
        late: steps before that of the stage in which it was sent.
    """

    term: Term
    each: Mapping[int, int]
    late: int = 0

    @property
    def static(self) -> bool:
        """Whether it is an input that is the same in every step."""
        return self.term.op == INPUT and self.term.time is None

    @property
    def plain(self) -> bool:
        """Whether it is what a neuron, or an input, sends or holds in that step, not what synapses make of it."""
        return self.term.op in (INPUT, NEURON, STATE) and not self.late

    @property
    def port(self) -> Literal["spikes", "potential"]:
        """What of a neuron."""
        return "potential" if self.term.op == STATE else "spikes"


@dataclass(frozen=True, eq=False)
class Giving:
    """What a stage gives.

    Args:
        name: of the source that sends it to the chip, or of the value for the user.
        shape: of a sample.
        terms: step -> the value; one under -1 where it is the same in every step.
    """

    name: str
    shape: tuple[int, ...]
    terms: Mapping[int, Term]


@dataclass(frozen=True, eq=False)
class Cutout:
    """A stage.

    Args:
        when: its schedule.
        reads, gives: what goes in and out.
        steps: number of steps that it takes at once; 0 for one step a call.
        origin: operator of the recording that it ends in.
    """

    when: When
    reads: tuple[Reading, ...]
    gives: tuple[Giving, ...]
    steps: int
    origin: fx.Node

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what its graph gives: ``y0``, ``y1`` ..., or as the user reads it."""
        return tuple(one.name if self.when == "behind" else f"y{i}" for i, one in enumerate(self.gives))

    @cached_property
    def graph(self) -> Array:
        """The bytes of its ONNX graph, uint8; inputs are ``x0``, ``x1`` ..., outputs as `outputs` says.

        Raises:
            UnsupportedError: an operator that ONNX, or onnxruntime in float64, does not have.
        """
        takes = [Port(f"x{i}", one.term.shape, self.steps) for i, one in enumerate(self.reads)]
        gives = [Port(output, one.shape, 0 if -1 in one.terms else self.steps)
                 for output, one in zip(self.outputs, self.gives, strict=True)]  # fmt: skip
        if self.steps:
            return self._located(lambda: to_onnx("stage", self._of_all, takes, gives))
        return self._located(lambda: to_onnx("stage", self._of_one, takes, gives, timed=self.when == "before"))

    def _located(self, made: Callable[[], Array]) -> Array:
        try:
            return made()
        except UnsupportedError as error:
            line = line_of(self.origin)
            raise error.again(
                f"{line}{': ' if line else ''}neither the chip nor the host computes this: {error.what}",
                hint="write it by other operators, or compute it outside",
            ) from error

    def _of_one(self, *values: Tensor) -> Sequence[Tensor]:
        given = {one.term.index: value for one, value in zip(self.reads, values, strict=True)}
        computing = Computing(given, values[0].shape[0])
        return [computing.value(term) for one in self.gives for term in one.terms.values()]

    def _of_all(self, *values: Tensor) -> Sequence[Tensor]:
        given: dict[int, Tensor] = {}
        for one, value in zip(self.reads, values, strict=True):
            given |= {index: value[0 if one.static else step] for index, step in one.each.items()}
        computing = Computing(given, values[0].shape[1])
        made = []
        for giving in self.gives:
            terms = giving.terms
            if -1 in terms:
                made.append(computing.value(terms[-1]))
                continue
            zero = torch.zeros((values[0].shape[1], *giving.shape), dtype=torch.float64)
            made.append(torch.stack([computing.value(terms[t]) if t in terms else zero for t in range(self.steps)]))
        return made


def grouped(parts: Sequence[tuple[When, tuple[Reading, ...], Giving, fx.Node]], steps: int) -> list[Cutout]:
    """Stages of what is given, those that read the same as one."""
    found: dict[Any, list[tuple[When, tuple[Reading, ...], Giving, fx.Node]]] = {}
    for part in parts:
        found.setdefault((part[0], frozenset(one.term.index for one in part[1])), []).append(part)
    return [Cutout(group[0][0], group[0][1], tuple(part[2] for part in group), steps, group[-1][3])
            for group in found.values()]  # fmt: skip


def same_in_each_step(matching: Matching, members: Sequence[Term], last: Term, steps: int) -> dict[int, int] | None:
    """Index of each of these terms -> its step, where there is one a step, all of them the same; None else."""
    each: dict[int, int] = {}
    for term in members:
        at = times(term)
        if len(at) != 1:
            return None
        each[term.index] = next(iter(at))
    final = steps - 1
    fits = sorted(each.values()) == list(range(steps)) and each.get(last.index) == final
    if not fits or not all(matching.same(last, term, final - each[term.index]) for term in members):
        return None
    return each


def of_leaf(members: Sequence[Term]) -> dict[int, int]:
    """Index of each instance of a leaf -> its step."""
    return {term.index: step_of(term) or 0 for term in members}
