"""Loihi's STDP and reward-modulated STDP on the digits, as a learner that a run drives."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neurodeploy.hwsim.chips.arch import Architecture
from neurodeploy.hwsim.prices.learning_bill import bill, by_layer
from neurodeploy.hwsim.prices.pricing import Bill
from neurodeploy.network.arrays import Array
from neurodeploy.program.program import Program
from neurodeploy.program.recording import LEARNING_WORK, Decisions

from ..setup import Setup
from .stdp import PIXELS, DigitsStdp


class LoihiLearner:
    """See `neurodeploy.learning.digits.stdp`. Portions are cut into its chunks, each of which draws its own rounding.

    Counts, all of one layer: synaptic operations are events and spikes times the neurons (spikes go to all of them, for
    inhibition), every neuron is updated in every step, and the engine's own
    (`neurodeploy.program.recording.LEARNING_WORK`).
    """

    layers = ("neurons",)
    kinds = ("events_in", "sops", "neuron_updates", "events_out", *LEARNING_WORK)

    def __init__(self, setup: Setup) -> None:
        self.task = DigitsStdp(setup.rule, setup.seed)
        self.size, self.grain = len(self.task.data.train_labels), self.task.settings.chunk
        self.description = f"{PIXELS}-{self.task.settings.neurons}"

    def learn(self, order: Array, rate: float) -> tuple[int, Array]:
        """Labels are not guessed while these rules learn, so none is right; they have no rate either."""
        del rate
        total, neurons = np.zeros(len(self.kinds), np.int64), self.task.settings.neurons
        for at in range(0, len(order), self.grain):
            done = self.task.train(order[at : at + self.grain])
            sops = (done.events + done.spikes) * neurons
            total += [
                done.events,
                sops,
                done.steps * neurons,
                done.spikes,
                *(done.work[name] for name in LEARNING_WORK),
            ]
        return 0, total[None]

    def accuracy(self) -> float:
        return self.task.accuracy()

    def decisions(self) -> Decisions:
        return self.task.decisions(self.task.data.test_images)

    def state(self) -> dict[str, Array]:
        return self.task.state()

    def restore(self, state: Mapping[str, Array]) -> None:
        self.task.restore(state)

    def program(self) -> Program:
        return self.task.program(learning=False)

    def costs(self, counts: Array, samples: int, arch: Architecture) -> Bill:
        return bill(dict(zip(self.kinds, counts.T, strict=True)), samples, arch)

    def by_layer(self, counts: Array, samples: int, arch: Architecture) -> list[Bill]:
        return by_layer(dict(zip(self.kinds, counts.T, strict=True)), samples, arch)

    def baselines(self, counts: Array, samples: int, arch: Architecture) -> dict[str, Bill]:
        """None: nothing else learns by these rules."""
        del counts, samples, arch
        return {}
