"""What a learning run drives: chains of layers, Programs, and Loihi's rules on the digits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from neurodeploy import __version__
from neurodeploy.errors import UnsupportedError
from neurodeploy.hwsim.chips.arch import Architecture
from neurodeploy.hwsim.prices.learning_bill import CLOCKED, Clocked, Extent, bill, by_layer, clocked
from neurodeploy.hwsim.prices.pricing import Bill, bill_of_run
from neurodeploy.network.arrays import Array
from neurodeploy.network.event_rules import with_rule
from neurodeploy.network.network import Population, Projection
from neurodeploy.program.count_kinds import BY_NAME, ON_CHIP, counted
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Decisions

from .data import Labelled
from .setup import LOIHI_RULES, Setup, dataset, network

_ON_CHIP = counted(*ON_CHIP)


class Learner(Protocol):
    """What a run drives."""

    @property
    def size(self) -> int:
        """Training samples."""

    @property
    def grain(self) -> int:
        """A portion is a multiple of so many samples, or ends the epoch."""

    @property
    def description(self) -> str:
        """Of the network, in a few words."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the rows of its counts."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the columns of its counts."""

    def learn(self, order: Array, rate: float) -> tuple[int, Array]:
        """Learn from these samples; how many were right before, and counts ``[layers, kinds]``."""

    def accuracy(self) -> float:
        """On the test samples."""

    def decisions(self) -> Decisions:
        """For the test samples."""

    def state(self) -> dict[str, Array]:
        """All that it will go on from."""

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on from there."""

    def program(self) -> Program:
        """What it has learned, as it is now, to run anywhere."""

    def costs(self, counts: Array, samples: int, arch: Architecture) -> Bill:
        """What these counts ``[layers, kinds]`` of so many samples cost, per sample."""

    def by_layer(self, counts: Array, samples: int, arch: Architecture) -> list[Bill]:
        """What learning costs in each layer, per sample."""

    def baselines(self, counts: Array, samples: int, arch: Architecture) -> dict[str, Bill]:
        """What other ways to learn from the same samples would have cost, by name."""


class EventLearner:
    """MPD-ED, STD-ED and the surrogate gradient on hwsim."""

    def __init__(self, setup: Setup) -> None:
        from neurodeploy.hwsim.event_learning.engine import OnChip
        from neurodeploy.hwsim.event_learning.kernels import KINDS

        data = dataset(setup)
        self.chip = OnChip(network(setup, data), setup.event_rule, setup.steps)
        self.train, self.test = data.train, data.test
        self.size, self.grain = len(self.train), 1
        shapes = (self.chip.chain.source.shape, *(layer.target.shape for layer in self.chip.chain.layers))
        sizes = ["×".join(map(str, shape)) for shape in shapes]
        self.description = "-".join([*sizes, str(self.chip.chain.classes)])
        self.extent = Extent.of_chain(self.chip.chain)
        self.layers = self.chip.layers
        self.kinds = KINDS

    def learn(self, order: Array, rate: float) -> tuple[int, Array]:
        outcome = self.chip.learn(self.train, order, rate)
        return int((outcome.predicted == self.train.labels[order]).sum()), outcome.counts.sum(axis=0)

    def accuracy(self) -> float:
        return self.decisions().accuracy(self.test.labels)

    def decisions(self) -> Decisions:
        return self.chip.decisions(self.test)

    def state(self) -> dict[str, Array]:
        return self.chip.state()

    def restore(self, state: Mapping[str, Array]) -> None:
        self.chip.restore(state)

    def program(self) -> Program:
        network, rule = self.chip.network(), self.chip.rule
        # No chip learns by the surrogate gradient. A Program's loss is that of the potentials themselves, not of
        # potentials divided by the steps, and so takes so much smaller a rate.
        slower = replace(rule, learning_rate=rule.learning_rate / self.chip.steps)
        ruled = network if rule.name == "bptt" else with_rule(network, slower)
        return Program.unplaced(ruled, {"neurodeploy": __version__, "passes": ""})

    def costs(self, counts: Array, samples: int, arch: Architecture) -> Bill:
        return bill(self._done(counts, samples), samples, arch)

    def by_layer(self, counts: Array, samples: int, arch: Architecture) -> list[Bill]:
        return by_layer(self._done(counts, samples), samples, arch)

    def baselines(self, counts: Array, samples: int, arch: Architecture) -> dict[str, Bill]:
        return {variant: bill(self._clocked(counts, samples, variant), samples, arch) for variant in CLOCKED}

    def _done(self, counts: Array, samples: int) -> dict[str, Array]:
        """What it did, by kind; the surrogate gradient is a dense engine's."""
        if self.chip.rule.name == "bptt":
            return self._clocked(counts, samples, "dense")
        return dict(zip(self.kinds, counts.T, strict=True))

    def _clocked(self, counts: Array, samples: int, variant: Clocked) -> dict[str, Array]:
        found = dict(zip(self.kinds, counts.T, strict=True))
        return clocked(self.extent, self.chip.steps, found, samples, self.chip.rule.batch, variant)


class ProgramLearner:
    """A Program that goes on learning on hwsim, in its own arithmetic, where it is placed.

    Args:
        program: with event rules on projections.
        data: samples, as any run of the Program takes them.
        arch: its chip, by whose file it is counted; None for a Program that is placed on none.

    Raises:
        UnsupportedError: a part of it cannot learn.
        InvalidInputError: samples that do not match it.
    """

    grain = 1

    def __init__(self, program: Program, data: Labelled, arch: Architecture | None) -> None:
        from neurodeploy.hwsim.event_learning.program import COUNTED, OnProgram

        names = [p.name for p in program.network.inputs]
        if len(names) != 1:
            raise UnsupportedError(
                f"{program.network.name} has several inputs, and samples to learn from are one array",
                found=", ".join(names), allowed="a Program with one input",
            )  # fmt: skip
        self.chip = OnProgram(program, data.steps, arch)
        self.data, self.size = data, len(data.train_y)
        for x, y in ((data.train_x, data.train_y), (data.test_x, data.test_y)):
            self.chip.check({"": x}, y)
        members = self.chip.part.members
        self.description = " → ".join("×".join(map(str, member.population.shape)) for member in members)
        self.layers, self.kinds, self.placed = self.chip.layers, COUNTED, arch is not None
        self.extent = Extent.of_layers([self._extent(member.population) for member in members[1:]])

    def _extent(self, population: Population) -> tuple[int, bool, list[tuple[Projection, bool, bool]]]:
        into = [s for s in self.chip.part.synapses if s.projection.target == population.name]
        back = [(s.projection, s.learns, s.sends_back) for s in into]
        return (population.size if into else 0), population.spiking, back

    def learn(self, order: Array, rate: float) -> tuple[int, Array]:
        labels = self.data.train_y
        outcome = self.chip.learn({"": self.data.train_x}, labels, order, rate)
        return int((outcome.predicted == labels[order]).sum()), outcome.counts.sum(axis=0)

    def accuracy(self) -> float:
        return self.decisions().accuracy(self.data.test_y)

    def decisions(self) -> Decisions:
        return self.chip.decisions({"": self.data.test_x})

    def state(self) -> dict[str, Array]:
        return self.chip.state()

    def restore(self, state: Mapping[str, Array]) -> None:
        self.chip.restore(state)

    def program(self) -> Program:
        return self.chip.taught()

    def costs(self, counts: Array, samples: int, arch: Architecture) -> Bill:
        """The forward pass as any run of the Program on its chip pays for it, and what learning adds."""
        own, learned = self._chip(counts), self._learning(counts)
        if not self.placed:
            return bill(own | learned, samples, arch)
        often = {name: float(array.sum()) / max(samples, 1) for name, array in (own | learned).items()}
        return bill_of_run(often, samples, arch)

    def by_layer(self, counts: Array, samples: int, arch: Architecture) -> list[Bill]:
        return by_layer(self._learning(counts), samples, arch)

    def baselines(self, counts: Array, samples: int, arch: Architecture) -> dict[str, Bill]:
        found, rule = dict(zip(self.kinds, counts.T, strict=True)), self.chip.rule
        bills: dict[str, Bill] = {}
        for variant in CLOCKED:
            engine = clocked(self.extent, self.chip.steps, found, samples, rule.batch, variant)
            learning = {name: array for name, array in engine.items() if BY_NAME[name].part == "learning"}
            bills[variant] = bill(learning, samples, arch)
        return bills

    def _learning(self, counts: Array) -> dict[str, Array]:
        found = zip(self.kinds, counts.T, strict=True)
        return {name: array for name, array in found if BY_NAME[name].part == "learning"}

    def _chip(self, counts: Array) -> dict[str, Array]:
        """What the forward pass did: of the whole chip where it is placed, else of its layers."""
        found = zip(self.kinds, counts.T, strict=True)
        forward = {name: array for name, array in found if BY_NAME[name].part == "inference"}
        if not self.placed:
            return {name: forward[name][:-1] for name in ("sops", "active_updates", "events_out")}
        known = [name for name in _ON_CHIP if name != "used_core_ns" or forward[name][-1] > 0]
        return {name: forward[name][-1:] for name in known if name in forward}


def learner(setup: Setup) -> Learner:
    """The learner of a run, from the beginning."""
    if setup.rule in LOIHI_RULES:
        from .digits.stdp_learner import LoihiLearner

        return LoihiLearner(setup)
    return EventLearner(setup)
